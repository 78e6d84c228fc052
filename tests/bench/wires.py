"""What is said to each server, as ready-made bytes, so that one generator drives them all.

A publication is a comment whose text bears its number and the time that it was due, where the generator finds them
behind ``MARK``; every server delivers the same one, in what its own wire puts around it.
"""

import msgspec
from msgspec import Raw, Struct

from protocol.centrifuge import encode_push
from protocol.delivery import Published
from protocol.gateway.frames import text_frame
from protocol.views import Author, CommentChanged, CommentView

MARK = b'"body":"No '
COMMENT_BYTES = 200
CHANNEL = "post:1"
CENTRIFUGO_CHANNEL = "post-1"
"""Of no namespace: those have to be configured."""
WORDS = "Two sentences and a thought in each are what people write under an article, more often than not. " * 2


class Wire(Struct, frozen=True):
    """How a watcher speaks to a server; see ``watch.c``."""

    opening: bytes
    hello: bytes
    """After the head of the answer."""
    ready: bytes
    """What is in the answer of a server that will deliver from now on."""
    ping: bytes = b""
    pong: bytes = b""
    events: bool = False
    """Whether Server-Sent Events are delivered, rather than frames of a WebSocket."""


def client_frame(payload: bytes) -> bytes:
    """A text frame. RFC 6455, 5.3: a client masks; masking with zero is the identity."""
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x81" + length + b"\0\0\0\0" + payload


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: bench", *headers, "", "")).encode()


def upgrade(path: str) -> bytes:
    key = "AAAAAAAAAAAAAAAAAAAAAA=="
    return get(
        path, "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"
    )


def centrifuge(channel: str) -> Wire:
    """The Centrifuge protocol: ours and Centrifugo's."""
    hello = b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"%b"}}' % channel.encode()
    return Wire(
        opening=upgrade("/connection/websocket"),
        hello=client_frame(hello),
        ready=b'"subscribe":{',
        ping=b"{}",
        pong=client_frame(b"{}"),
    )


def event_stream(post: str) -> Wire:
    """Ours over Server-Sent Events."""
    return Wire(opening=get(f"/v1/posts/{post}/events"), hello=b"", ready=b"\nretry: ", events=True)


def bare(path: str) -> Wire:
    """A WebSocket on which a server says when it will deliver, and nothing else."""
    return Wire(opening=upgrade(path), hello=b"", ready=b"ready")


SOCKETIO = Wire(
    opening=upgrade("/socket.io/?EIO=4&transport=websocket"),
    # Engine.IO's packet 4 (message), of Socket.IO's packet 0 (connect); its pings are the digit 2.
    hello=client_frame(b"40"),
    ready=b"40{",
    ping=b"2",
    pong=client_frame(b"3"),
)
FLOOR_ANSWER = b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + text_frame(b"ready")


def text(number: int, due_us: int) -> str:
    """What a comment says: 200 bytes, and no Markdown."""
    return f"No {number:010} at {due_us:016}. {WORDS}"[:COMMENT_BYTES]


def publication(number: int, due_us: int) -> bytes:
    """What we publish of such a comment, for who has nothing to publish of his own."""
    said = text(number, due_us)
    view = CommentView(
        id="1",
        post="1",
        parent=None,
        author=Author(id="1", handle="person1", name="person1", url=None),
        body=said,
        html=f"<p>{said}</p>\n",
        created_at="2026-01-01T00:00:00.000Z",
        edited_at=None,
        state="visible",
        kind="comment",
        offset=number + 1,
    )
    return msgspec.json.encode(CommentChanged(comment=Raw(msgspec.json.encode(view))))


def frame(number: int, due_us: int) -> bytes:
    """The frame that we send of it."""
    return text_frame(push(number, due_us))


def push(number: int, due_us: int) -> bytes:
    return encode_push(CHANNEL, Published(number + 1, publication(number, due_us)))


# -- how a server is told ---------------------------------------------------------------------------------------------


def writer(token: str) -> Wire:
    """Of who writes comments on our server."""
    return _connected(b'{"token":"%b"}' % token.encode())


def _connected(connect: bytes) -> Wire:
    """Of a client of the Centrifuge protocol that has subscribed to nothing."""
    return Wire(
        opening=upgrade("/connection/websocket"),
        hello=client_frame(b'{"id":1,"connect":%b}' % connect),
        ready=b'"connect":{',
        ping=b"{}",
        pong=client_frame(b"{}"),
    )


def comment(post: str, number: int, due_us: int) -> bytes:
    """The command that has our server publish it."""
    data = msgspec.json.encode({"post": post, "body": text(number, due_us)})
    return client_frame(b'{"id":%d,"rpc":{"method":"comment.create","data":%b}}' % (number + 2, data))


def centrifugo_publisher() -> Wire:
    """Of who may publish whatever there is."""
    return _connected(b"{}")


def centrifugo_publish(number: int, data: bytes) -> bytes:
    """The command that has Centrifugo publish it."""
    return client_frame(
        b'{"id":%d,"publish":{"channel":"%b","data":%b}}' % (number + 2, CENTRIFUGO_CHANNEL.encode(), data)
    )
