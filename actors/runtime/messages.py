"""What workers say to each other over the bus, and its bytes (MessagePack).

Every message names the process that sent it. A worker's id is a UUID whose first half names its process: after it was
declared dead a process goes on under a new id, but listens at the same inbox.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

from actors.actor import ReadCounters, ReadHead, ReadUnread, ShowPost
from actors.runtime.activation import Delivery, packed
from actors.runtime.outbox import decode_message, encode_message
from protocol import accounts, commands, graph, notifications, timelines
from protocol.commands import Command, Person
from protocol.delivery import Published
from protocol.errors import ERRORS, DomainError, Overloaded, Refused, Unavailable
from store.feeds import Saved

VERSION = 2
"""Of these messages; what has another is passed over."""


class Message(Struct, frozen=True, array_like=True, tag=True):
    """Anything that one worker says to another."""


# -- requests ---------------------------------------------------------------------------------------------------------


class Request(Message, frozen=True):
    """Put a command to an actor of yours. ``id`` rises within its sender, and is the same when sent again."""

    id: int
    oldest: int
    """The lowest id that the sender still waits for: what is below must not be done any more."""
    epoch: int
    """Of the claim under which it is to be done: under a later one it may be older than what was done elsewhere."""
    key: str
    method: str
    command: bytes
    by: Person
    op: str | None


class Answered(Message, frozen=True):
    id: int
    answer: bytes
    """JSON of the type that the command answers."""


class NotAnswered(Message, frozen=True):
    """The command was refused, or its outcome is not known."""

    id: int
    code: str
    detail: str
    retry_after_s: float | None


class NotMine(Message, frozen=True):
    """Nothing was done: the actor is not there by the claim of ``epoch``, or about to leave. Look who owns it."""

    id: int
    epoch: int


# -- who is there -----------------------------------------------------------------------------------------------------


class Here(Message, frozen=True):
    """The sender is on this bus. If it ``asks``, so should the receiver say."""

    asks: bool


# -- ownership --------------------------------------------------------------------------------------------------------


class Claimed(Message, frozen=True):
    """``worker`` owns these slots: slot → epoch."""

    worker: UUID
    slots: dict[int, int]


class Look(Message, frozen=True):
    """Workers came or went, or slots are free: read the table."""


class Released(Message, frozen=True):
    """These slots are free: slot → the worker that should claim it, and the epoch of the claim that is over."""

    slots: dict[int, tuple[UUID, int]]
    keys: list[str] = []
    """Actors that were in memory there, those asked last first: they are loaded before somebody asks again."""


class Leaving(Message, frozen=True):
    """``worker`` is about to end: nothing should go to it any more."""

    worker: UUID


# -- streams ----------------------------------------------------------------------------------------------------------


class Interest(Struct, frozen=True, array_like=True):
    """What one worker wants of one stream."""

    key: str
    watchers: int
    offset: int | None
    """Where it stands; None: wherever the stream stands."""
    restart: bool
    """Send everything beyond ``offset`` (again)."""


class Watch(Message, frozen=True):
    """The sender has subscribers of streams of yours. Repeated while that is so."""

    interests: list[Interest]


class Unwatch(Message, frozen=True):
    """Nobody is subscribed there any more."""

    keys: list[str]


class Watched(Message, frozen=True):
    """The answer to an interest: the relay stands at ``offset``, and goes on from there."""

    key: str
    offset: int
    sent: bool
    """Whether everything before was sent to you; else it is not in memory any more, and to be read from the store."""
    latest: bytes
    """JSON of what the stream shows besides: ``Latest``."""


class NotWatched(Message, frozen=True):
    """The streams are not here. Look who owns them."""

    keys: list[str]


class Relayed(Message, frozen=True):
    """What a stream published, in order; without an offset it is volatile."""

    key: str
    items: list[Published]


# -- feeds ------------------------------------------------------------------------------------------------------------


class PostHint(Message, frozen=True):
    """A post was published, edited or deleted. It may be lost: sweeps find the post, too."""

    saved: Saved


class TiesHint(Message, frozen=True):
    """Somebody began or ended to follow, block or mute."""

    reader: int


# -- among gateways ---------------------------------------------------------------------------------------------------


class AuthorChanged(Message, frozen=True):
    """Someone has another name now; ``name`` None: is shown nowhere any more."""

    id: int
    handle: str
    name: str | None
    url: str | None


class Told(Message, frozen=True):
    """Not a question, but to be answered as one, with nothing: it was heard."""

    id: int
    subject: str
    data: bytes


class Question(Message, frozen=True):
    id: int
    subject: str
    data: bytes


class Contribution(Message, frozen=True):
    """The answer of one of those who were asked, or told."""

    id: int
    data: bytes


Any_ = (
    Request | Answered | NotAnswered | NotMine | Here | Claimed | Look | Released | Leaving
    | Watch | Unwatch | Watched | NotWatched | Relayed | PostHint | TiesHint
    | AuthorChanged | Told | Question | Contribution
)  # fmt: skip

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[int, bytes, list[Any_]])


def encode(message: Message) -> bytes:
    """What may stand for it in packets, as ``Raw``: encoded once for several receivers."""
    return _encoder.encode(message)


def packet(process: bytes, messages: Sequence[Message | Raw]) -> bytes:
    """What ``process`` says, in order."""
    return _encoder.encode((VERSION, process, messages))


def unpacked(data: bytes) -> tuple[bytes, Sequence[Any]]:
    """The process that sent a packet, and its messages. Raises ``ValueError`` if no worker of this version did."""
    try:
        version, process, messages = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    if version != VERSION:
        raise ValueError(f"version {version}")
    return process, messages


def process_of(worker: UUID) -> bytes:
    """The half of a worker's id that names its process."""
    return worker.bytes[:8]


def inbox_of(process: bytes) -> str:
    return f"w:{process.hex()}"


# -- commands and answers ---------------------------------------------------------------------------------------------


def _subclasses(kind: type[Command]) -> Iterator[type[Command]]:
    for subclass in kind.__subclasses__():
        yield from _subclasses(subclass)
        yield subclass


_KINDS: tuple[type[Command], ...] = (
    *_subclasses(commands.PostCommand),
    *_subclasses(accounts.UserCommand),
    *_subclasses(graph.GraphCommand),
    graph.ReadRelationships,
    timelines.NoteReads,
    *_subclasses(notifications.OwnCommand),
    ReadHead,
    ReadUnread,
    ShowPost,
    ReadCounters,
)
ASKABLE: Mapping[str, type[Command]] = MappingProxyType({kind.method: kind for kind in _KINDS})
"""The commands that one worker may send another, by method; beside these, deliveries."""


def encode_command(command: Command) -> bytes:
    """Raises ``Refused`` for what no message can carry."""
    if isinstance(command, Delivery):
        payloads = [(id, encode_message(message)) for id, message in command.messages]
        return msgspec.msgpack.encode((command.slot, payloads))
    assert command.method in ASKABLE, command.method
    return packed(command)


def decode_command(method: str, data: bytes) -> Command:
    """Raises ``ValueError`` for what no worker wrote."""
    try:
        if method == Delivery.method:
            slot, payloads = msgspec.msgpack.decode(data, type=tuple[int, list[tuple[int, bytes]]])
            return Delivery(slot=slot, messages=tuple((id, decode_message(payload)) for id, payload in payloads))
        return msgspec.msgpack.decode(data, type=ASKABLE[method])
    except (msgspec.MsgspecError, KeyError) as error:
        raise ValueError(str(error)) from None


def encode_answer(answer: Any) -> bytes:
    return msgspec.json.encode(answer)


def decode_answer(command: Command, answer: bytes) -> Any:
    """Raises ``ValueError`` for what no worker wrote."""
    kind = None if isinstance(command, Delivery) else command.answers
    try:
        return msgspec.json.decode(answer, type=kind)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None


def not_answered(id: int, error: DomainError) -> NotAnswered:
    return NotAnswered(id, error.code, error.detail, error.retry_after_s)


def error_of(refusal: NotAnswered) -> DomainError:
    """The error as the actor's host raised it."""
    if refusal.code not in ERRORS:
        return Unavailable()
    if refusal.code == "overloaded":
        return Overloaded(refusal.detail, retry_after_s=refusal.retry_after_s or 1.0)
    if refusal.code == "unavailable":
        return Unavailable(refusal.detail, retry_after_s=refusal.retry_after_s or 1.0)
    return Refused(refusal.code, refusal.detail, retry_after_s=refusal.retry_after_s)
