"""One WebSocket conversation: bytes in, actions out. No I/O; time is an argument, in seconds of one monotonic clock.

What a session must know of the world it learns through its methods, and what is to be done it says as an action. The
actions of ``receive`` come one at a time, and each is to be done before the next is taken: a client may send its
first subscriptions along with its token, and what they mean depends on who the token is.

A conversation is *opening* until its client is authenticated, then *open*, then *closed*::

    opening   connect → Authenticate → open      anything else, or 10 s → closed
    open      every other command                second connect, silence after a ping, expiry, abuse → closed
"""

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from msgspec import Raw, Struct

from protocol import centrifuge as wire
from protocol.buckets import TokenBucket
from protocol.channels import key_of
from protocol.commands import Command, Person
from protocol.cursor import Cursor, bare
from protocol.decode import decode_command
from protocol.delivery import PRESENT_LISTED_MAX, Attached, Presence, Published
from protocol.errors import (
    BAD_REQUEST,
    EXPIRED,
    INVALID_TOKEN,
    NO_PONG,
    STALE,
    TOO_MANY_REQUESTS,
    DomainError,
    Refused,
)

# Joined into one list; above it a client is to count instead.
HISTORY_PAGE_MAX: Final = 500


class Limits(Struct, frozen=True, kw_only=True):
    """What one conversation may take."""

    commands_per_s: float = 100.0
    commands_burst: int = 300
    refusals_max: int = 1_000
    """Commands refused by rate, without one that passed between them, after which the connection is closed."""
    subscriptions_max: int = 128
    connect_timeout_s: float = 10.0
    expiry_grace_s: float = 25.0
    """An SDK asks for a new token when the old one ends; this is the time it has to bring it."""
    ping_interval_s: float = 25.0
    pong_timeout_s: float = 20.0
    """Far above the worst stall of the loop, or one stall drops every connection."""


# -- actions ----------------------------------------------------------------------------------------------------------


class Send(Struct, frozen=True):
    """Write one reply."""

    reply: bytes


class Ping(Struct, frozen=True):
    """Write the ping."""


class Authenticate(Struct, frozen=True):
    """Find out who ``token`` is; then ``authenticated`` or ``not_authenticated``."""

    id: int
    token: str | None
    refresh: bool


class Ask(Struct, frozen=True):
    """Ask an actor; then ``answer``. Does not hold up what follows."""

    id: int
    key: str
    command: Command
    op: str | None


class Subscribe(Struct, frozen=True):
    """Attach to a stream; then ``subscribed`` or ``unsubscribed``. Does not hold up what follows."""

    id: int
    channel: str
    since: Cursor | None
    must_recover: bool


class Unsubscribe(Struct, frozen=True):
    """Detach from a stream, also while attaching to it; then send ``reply``."""

    channel: str
    reply: bytes


class ListPresence(Struct, frozen=True):
    """Find who is subscribed, on all workers; then ``present``. Does not hold up what follows."""

    id: int
    channel: str
    count_only: bool


class ReadHistory(Struct, frozen=True):
    """Read a page of changes; then ``history``. ``since`` None asks for the position alone."""

    id: int
    channel: str
    since: Cursor | None
    limit: int


class Close(Struct, frozen=True):
    """End the connection; the last action."""

    code: int
    reason: str


Action = Send | Ping | Authenticate | Ask | Subscribe | Unsubscribe | ListPresence | ReadHistory | Close


# -- the conversation -------------------------------------------------------------------------------------------------


class Session:
    """The state of one conversation."""

    def __init__(self, client: str, limits: Limits, now: float, *, version: str = "plaudit") -> None:
        self.client = client
        self._limits = limits
        self._version = version
        self._state: Literal["opening", "open", "closed"] = "opening"
        self._person: Person | None = None
        self._epochs: dict[str, str | None] = {}
        """Channels subscribed to, with the stream's epoch; None while attaching."""
        self._commands = TokenBucket(limits.commands_per_s, limits.commands_burst, now)
        self._refusals = 0
        self._connect_by = now + limits.connect_timeout_s
        self._expires_at: float | None = None
        self._ping_at = float("inf")
        self._pong_by: float | None = None

    # -- what the client says

    def receive(self, frame: bytes, now: float) -> Iterator[Action]:
        """What a text frame asks for, in order; lazily, each action to be done before the next is taken."""
        self.heard()
        try:
            for command in wire.decode_commands(frame):
                if self._state == "closed":
                    return
                action = self._handle(command, now)
                if action is not None:
                    yield action
        except wire.MalformedMessage:
            yield self._close(*BAD_REQUEST)

    def heard(self) -> None:
        """The client lives; any frame says so, or that nothing was read from it."""
        self._pong_by = None

    def _handle(self, command: wire.Command | wire.Unreadable, now: float) -> Action | None:
        if isinstance(command, wire.Unreadable):
            if self._state == "opening":
                return self._close(*BAD_REQUEST)
            return Send(error_reply(command.id, Refused("bad_request", command.reason)))
        request = command.request()
        if request is None and command.id == 0:
            return None  # The answer to a ping.
        if command.id == 0:
            return self._close(*BAD_REQUEST)
        if self._state == "opening":
            if isinstance(request, wire.ConnectRequest):
                return Authenticate(command.id, request.token or None, refresh=False)
            return self._close(*BAD_REQUEST)
        if isinstance(request, wire.ConnectRequest):
            return self._close(*BAD_REQUEST)
        if retry_after_s := self._commands.take(now):
            return self._refuse_by_rate(command.id, retry_after_s)
        self._refusals = 0
        try:
            return self._perform(command.id, request)
        except Refused as refusal:
            return Send(error_reply(command.id, refusal))

    def _refuse_by_rate(self, id: int, retry_after_s: float) -> Action:
        self._refusals += 1
        if self._refusals > self._limits.refusals_max:
            return self._close(*TOO_MANY_REQUESTS)
        return Send(error_reply(id, too_many_requests(retry_after_s)))

    def _perform(self, id: int, request: wire.Request | None) -> Action:
        match request:
            case wire.RpcRequest(method, data):
                assert self._person is not None
                return Ask(id, *decode_command(method, data, self._person))
            case wire.SubscribeRequest():
                return self._subscribe(id, request)
            case wire.UnsubscribeRequest(channel):
                self._epochs.pop(channel, None)
                return Unsubscribe(channel, wire.encode_reply(wire.Reply(id, unsubscribe=wire.Empty())))
            case wire.PresenceRequest(channel):
                return ListPresence(id, self._subscribed_channel(channel), count_only=False)
            case wire.PresenceStatsRequest(channel):
                return ListPresence(id, self._subscribed_channel(channel), count_only=True)
            case wire.HistoryRequest():
                return self._history(id, request)
            case wire.RefreshRequest(token):
                return Authenticate(id, token or None, refresh=True)
            case wire.PingRequest():
                return Send(wire.encode_reply(wire.Reply(id, ping=wire.Empty())))
            case wire.PublishRequest():
                raise Refused("permission_denied", "to write, call an RPC")
            case wire.SubRefreshRequest() | wire.SendRequest():
                raise Refused("not_available")
            case wire.ConnectRequest() | None:
                raise Refused("method_not_found")

    def _subscribe(self, id: int, request: wire.SubscribeRequest) -> Subscribe:
        key_of(request.channel)
        if request.channel in self._epochs:
            raise Refused("already_subscribed")
        if len(self._epochs) >= self._limits.subscriptions_max:
            raise Refused("limit_exceeded", f"at most {self._limits.subscriptions_max} subscriptions a connection")
        self._epochs[request.channel] = None
        since = Cursor(bare(request.epoch), request.offset) if request.recover else None
        return Subscribe(id, request.channel, since, bool(request.flag & wire.REJECT_UNRECOVERED))

    def _history(self, id: int, request: wire.HistoryRequest) -> ReadHistory:
        channel = self._subscribed_channel(request.channel)
        if request.reverse:
            raise Refused("not_available", "a stream is read forward")
        if request.limit == 0:
            return ReadHistory(id, channel, None, 0)
        epoch = self._epochs[channel]
        assert epoch is not None
        since = Cursor(bare(request.since.epoch) or epoch, request.since.offset) if request.since else Cursor(epoch, 0)
        limit = HISTORY_PAGE_MAX if request.limit < 0 else min(request.limit, HISTORY_PAGE_MAX)
        return ReadHistory(id, channel, since, limit)

    def _subscribed_channel(self, channel: str) -> str:
        """``channel``, if its stream is being delivered: whoever may not read it must not see who does."""
        key_of(channel)
        if self._epochs.get(channel) is None:
            raise Refused("permission_denied", "subscribe to the channel first")
        return channel

    # -- what the world answers

    def authenticated(self, request: Authenticate, person: Person, ttl_s: float | None, now: float) -> Action:
        """The token is ``person``'s, for another ``ttl_s`` seconds (None: for ever)."""
        if self._person is not None and person.id != self._person.id:
            return self._close(*INVALID_TOKEN)
        self._person = person
        self._expires_at = None if ttl_s is None else now + ttl_s
        expires, ttl = ttl_s is not None, max(1, int(ttl_s or 0))
        if request.refresh:
            refreshed = wire.RefreshResult(self.client, self._version, expires, ttl if expires else 0)
            return Send(wire.encode_reply(wire.Reply(request.id, refresh=refreshed)))
        self._state = "open"
        self._ping_at = now + self._limits.ping_interval_s
        connected = wire.ConnectResult(
            self.client,
            self._version,
            ping=max(1, round(self._limits.ping_interval_s)),
            pong=True,
            expires=expires,
            ttl=ttl if expires else 0,
        )
        return Send(wire.encode_reply(wire.Reply(request.id, connect=connected)))

    def not_authenticated(self, request: Authenticate, error: DomainError) -> Action:
        """The token is nobody's, or authentication failed."""
        if error.code == "token_expired":
            # On connect the SDK then fetches another and tries again; a connection it only closes.
            return self._close(*EXPIRED) if request.refresh else Send(error_reply(request.id, error))
        if error.meaning.temporary:
            return Send(error_reply(request.id, error))
        return self._close(*INVALID_TOKEN)

    def subscribed(self, request: Subscribe, attached: Attached, first: int) -> bytes:
        """The reply, with the ``first`` so many publications of the first page.

        Raises:
            Refused: ``unrecoverable_position``: the client wants no subscription that has a gap.
        """
        if request.must_recover and request.since is not None and not attached.recovered:
            self.unsubscribed(request.channel)
            raise Refused("unrecoverable_position")
        if request.channel in self._epochs:
            self._epochs[request.channel] = attached.epoch
        # The SDKs move their position to the reply's offset before they handle its publications: it is the
        # position recovered from, so that one that dies between the two asks for them again.
        result = wire.SubscribeResult(
            epoch=attached.epoch,
            offset=attached.offset,
            recoverable=True,
            positioned=True,
            was_recovering=request.since is not None,
            recovered=attached.recovered,
            publications=wire.publications_of(attached.first[:first]),
            data=Raw(attached.counters),
        )
        return wire.encode_reply(wire.Reply(request.id, subscribe=result))

    def unsubscribed(self, channel: str) -> None:
        """The stream could not be attached, or is no longer."""
        self._epochs.pop(channel, None)

    # -- time

    def wake(self, now: float) -> Ping | Close | None:
        """What is due by ``now``; to be asked at ``due`` or later, again until it is None."""
        match self._state:
            case "opening":
                return self._close(*STALE) if now >= self._connect_by else None
            case "open":
                return self._wake_open(now)
            case "closed":
                return None

    def _wake_open(self, now: float) -> Ping | Close | None:
        if self._pong_by is not None and now >= self._pong_by:
            return self._close(*NO_PONG)
        if self._expires_at is not None and now >= self._expires_at + self._limits.expiry_grace_s:
            return self._close(*EXPIRED)
        if now >= self._ping_at:
            self._ping_at = now + self._limits.ping_interval_s
            # A deadline that is running stays: with pings closer together it would move on for ever.
            if self._pong_by is None:
                self._pong_by = now + self._limits.pong_timeout_s
            return Ping()
        return None

    @property
    def due(self) -> float:
        """When ``wake`` may next have something to say."""
        if self._state == "opening":
            return self._connect_by
        expiry = float("inf") if self._expires_at is None else self._expires_at + self._limits.expiry_grace_s
        return min(self._ping_at, float("inf") if self._pong_by is None else self._pong_by, expiry)

    def end(self) -> None:
        """Nothing is received or due any more."""
        self._state = "closed"

    def _close(self, code: int, reason: str) -> Close:
        self.end()
        return Close(code, reason)


# -- replies that need no state ---------------------------------------------------------------------------------------


def too_many_requests(retry_after_s: float) -> Refused:
    return Refused("too_many_requests", f"retry after {max(0.1, retry_after_s):.1f} s", retry_after_s=retry_after_s)


def error_reply(id: int, error: DomainError) -> bytes:
    return wire.encode_reply(wire.Reply(id, error=wire.error_of(error)))


def answer(id: int, outcome: object) -> bytes:
    """The reply to ``Ask``: what the actor answered (its JSON, if it is bytes), or its refusal."""
    if isinstance(outcome, DomainError):
        return error_reply(id, outcome)
    data = Raw(outcome) if isinstance(outcome, bytes) else outcome
    return wire.encode_reply(wire.Reply(id, rpc=wire.RpcResult(data)))


def present(request: ListPresence, presence: Presence) -> bytes:
    """The reply to ``ListPresence``; a list of more than ``PRESENT_LISTED_MAX`` is not given."""
    if request.count_only:
        stats = wire.PresenceStatsResult(num_clients=presence.clients, num_users=presence.users)
        return wire.encode_reply(wire.Reply(request.id, presence_stats=stats))
    if presence.clients > PRESENT_LISTED_MAX:
        crowd = Refused("not_available", f"more than {PRESENT_LISTED_MAX} clients: ask for presence_stats")
        return error_reply(request.id, crowd)
    listed = {client: _client_info(client, person) for client, person in presence.listed}
    return wire.encode_reply(wire.Reply(request.id, presence=wire.PresenceResult(listed)))


def _client_info(client: str, person: Person) -> wire.ClientInfo:
    if person.id == 0:
        return wire.ClientInfo(user="", client=client)
    return wire.ClientInfo(user=str(person.id), client=client, conn_info={"handle": person.handle, "name": person.name})


def history(request: ReadHistory, page: Sequence[Published], cursor: Cursor, *, recovered: bool) -> bytes:
    """The reply to ``ReadHistory``: a page, and the position after it."""
    if request.since is not None and not recovered:
        return error_reply(request.id, Refused("unrecoverable_position"))
    result = wire.HistoryResult(wire.publications_of(page), cursor.epoch, cursor.offset)
    return wire.encode_reply(wire.Reply(request.id, history=result))
