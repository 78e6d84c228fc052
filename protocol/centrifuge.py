"""The messages of the Centrifuge client protocol in JSON, and their codec.

https://github.com/centrifugal/protocol/blob/master/definitions/client.proto is the source of names and shapes. A frame
holds objects joined by newlines: commands one way, replies the other. A reply repeats the id of its command; a push has
none; ``{}`` is the ping, and the answer to it. Fields that this server does not know are skipped, because newer
clients send them.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from protocol.delivery import Published
from protocol.errors import DomainError

REJECT_UNRECOVERED: Final = 2
"""Bit of ``SubscribeRequest.flag``: refuse the subscription rather than start from the head."""

Number = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Text = Annotated[str, Meta(max_length=16_384)]


class MalformedMessage(Exception):
    """What arrived is no frame of the protocol: the conversation cannot go on."""


# -- commands ---------------------------------------------------------------------------------------------------------


class ConnectRequest(Struct, frozen=True):
    token: Text = ""


class SubscribeRequest(Struct, frozen=True):
    channel: Text = ""
    recover: bool = False
    epoch: Text = ""
    offset: Number = 0
    flag: int = 0


class UnsubscribeRequest(Struct, frozen=True):
    channel: Text = ""


class RpcRequest(Struct, frozen=True):
    method: Text = ""
    data: Raw = Raw()


class PresenceRequest(Struct, frozen=True):
    channel: Text = ""


class PresenceStatsRequest(Struct, frozen=True):
    channel: Text = ""


class StreamPosition(Struct, frozen=True):
    offset: Number = 0
    epoch: Text = ""


class HistoryRequest(Struct, frozen=True):
    channel: Text = ""
    limit: int = 0
    since: StreamPosition | None = None
    reverse: bool = False


class RefreshRequest(Struct, frozen=True):
    token: Text = ""


class PingRequest(Struct, frozen=True):
    pass


class PublishRequest(Struct, frozen=True):
    channel: Text = ""


class SubRefreshRequest(Struct, frozen=True):
    channel: Text = ""


class SendRequest(Struct, frozen=True):
    pass


Request = (
    ConnectRequest
    | SubscribeRequest
    | UnsubscribeRequest
    | RpcRequest
    | PresenceRequest
    | PresenceStatsRequest
    | HistoryRequest
    | RefreshRequest
    | PingRequest
    | PublishRequest
    | SubRefreshRequest
    | SendRequest
)


class Command(Struct, frozen=True):
    """What a client sends: an id and one request. With neither, it is the answer to a ping."""

    id: Annotated[int, Meta(ge=0, le=(1 << 32) - 1)] = 0
    rpc: RpcRequest | None = None
    connect: ConnectRequest | None = None
    subscribe: SubscribeRequest | None = None
    unsubscribe: UnsubscribeRequest | None = None
    presence: PresenceRequest | None = None
    presence_stats: PresenceStatsRequest | None = None
    history: HistoryRequest | None = None
    refresh: RefreshRequest | None = None
    ping: PingRequest | None = None
    publish: PublishRequest | None = None
    sub_refresh: SubRefreshRequest | None = None
    send: SendRequest | None = None

    def request(self) -> Request | None:
        """The one request; of several the first counts."""
        return (
            self.rpc
            or self.connect
            or self.subscribe
            or self.unsubscribe
            or self.presence
            or self.presence_stats
            or self.history
            or self.refresh
            or self.ping
            or self.publish
            or self.sub_refresh
            or self.send
        )


_commands: Final = msgspec.json.Decoder(Command)


class Unreadable(NamedTuple):
    """A command that says which it is, but not what can be done: a field of the wrong type, half of an emoji."""

    id: int
    reason: str


def decode_commands(frame: bytes) -> Iterator[Command | Unreadable]:
    """The commands of a frame, in order.

    Raises:
        MalformedMessage: What follows is no JSON, or not told apart: invalid UTF-8, nesting without end, no id.
    """
    commands = _decoded_at_once(frame)
    if commands is not None:
        yield from commands
        return
    # Line by line, to find the one at fault.
    for line in filter(bytes.strip, frame.split(b"\n")):
        try:
            command: Command | Unreadable = _commands.decode(line)
        except (ValueError, RecursionError) as error:
            command = Unreadable(_id_of(line), str(error))
        yield command


def _decoded_at_once(frame: bytes) -> list[Command] | None:
    try:
        return _commands.decode_lines(frame)
    except (ValueError, RecursionError):
        return None


def _id_of(line: bytes) -> int:
    """The id of a command that cannot be read as one. The library's own parser takes lone surrogates."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(str(error)) from None
    id = content.get("id") if isinstance(content, dict) else None
    if not isinstance(id, int) or isinstance(id, bool) or not 0 < id < 1 << 32:
        raise MalformedMessage("a command without an id")
    return id


# -- replies ----------------------------------------------------------------------------------------------------------


class Error(Struct, frozen=True, omit_defaults=True):
    code: int
    message: str
    temporary: bool = False


class ConnectResult(Struct, frozen=True, omit_defaults=True):
    client: str
    version: str
    ping: int
    """Seconds between pings."""
    pong: bool
    """Whether a ping is to be answered."""
    expires: bool = False
    ttl: int = 0
    """Seconds after which the client is to refresh its token."""


class RefreshResult(Struct, frozen=True, omit_defaults=True):
    client: str
    version: str
    expires: bool = False
    ttl: int = 0


class Publication(Struct, frozen=True, omit_defaults=True):
    data: Raw
    offset: int | None = None


class SubscribeResult(Struct, frozen=True, omit_defaults=True):
    epoch: str
    offset: int = 0
    recoverable: bool = False
    positioned: bool = False
    was_recovering: bool = False
    recovered: bool = False
    publications: list[Publication] = []
    data: Raw | UnsetType = UNSET


class ClientInfo(Struct, frozen=True, omit_defaults=True):
    user: str
    client: str
    conn_info: dict[str, str] = {}


class PresenceResult(Struct, frozen=True):
    presence: dict[str, ClientInfo]


class PresenceStatsResult(Struct, frozen=True):
    num_clients: int
    num_users: int


class HistoryResult(Struct, frozen=True):
    publications: list[Publication]
    epoch: str
    offset: int


class RpcResult(Struct, frozen=True):
    data: Any


class Empty(Struct, frozen=True):
    """The result of what has nothing to say but that it was done."""


class Reply(Struct, frozen=True, omit_defaults=True):
    id: int
    error: Error | None = None
    connect: ConnectResult | None = None
    subscribe: SubscribeResult | None = None
    unsubscribe: Empty | None = None
    rpc: RpcResult | None = None
    presence: PresenceResult | None = None
    presence_stats: PresenceStatsResult | None = None
    history: HistoryResult | None = None
    refresh: RefreshResult | None = None
    ping: Empty | None = None


PING: Final = b"{}"
_encoder: Final = msgspec.json.Encoder()


def encode_reply(reply: Reply) -> bytes:
    return _encoder.encode(reply)


def error_of(error: DomainError) -> Error:
    """An error as the protocol has it: the number is stable, the message is for people."""
    return Error(error.meaning.number, error.detail, error.meaning.temporary)


def publications_of(items: Iterable[Published]) -> list[Publication]:
    return [Publication(Raw(item.data), item.offset) for item in items]


def encode_push(channel: str, item: Published) -> bytes:
    """A publication on a channel that the client has subscribed to."""
    # By hand: the parts are JSON already, and this runs for every event of every stream.
    name = _encoder.encode(channel)
    if item.offset is None:
        return b'{"push":{"channel":%b,"pub":{"data":%b}}}' % (name, item.data)
    return b'{"push":{"channel":%b,"pub":{"data":%b,"offset":%d}}}' % (name, item.data, item.offset)
