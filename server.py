"""The composition root: reads the configuration, puts the parts together, runs them until a signal.

    settings → the listening socket → embedded Postgres → migrations → store ─┬─ node (the actors) → gateway
                                                                              └─ private Redis → parent → workers
                                                          each worker: store → bus → node → gateway

Each part is a context manager inside the one before it, so that they end in the opposite order: first nothing new is
let in, then what is under way is finished and written, and Postgres goes last. One worker is this very process;
several are child processes, which are told what to do over a channel (``actors/runtime/parent.py``).
"""

import argparse
import asyncio
import errno
import gc
import logging
import os
import resource
import secrets
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import msgspec
import uvloop
from aiohttp import web
from msgspec import Struct
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from actors.runtime.node import Node
from actors.runtime.ownership import OwnedByAnother
from actors.runtime.parent import READY, REFUSED, UNAVAILABLE, Leash, Parent, Place, WorkersFailed
from administration import asked_password, change_epoch, change_password, change_role, import_file, show_cluster
from parts import (
    PATIENCE_S,
    RETRY_S,
    Database,
    StartError,
    Terminal,
    local_url,
    never,
    node_label,
    open_database,
    open_node,
    reason_of,
)
from protocol.errors import DomainError
from protocol.gateway.accepting import Acceptor, Census
from protocol.gateway.app import make_app
from protocol.gateway.options import SettingsError
from protocol.gateway.overview import ClusterUnreachable
from protocol.gateway.pages import Site
from protocol.gateway.runner import Runner
from protocol.gateway.settings import GatewaySettings
from settings import VERSION, ServerSettings, Settings, agreed, differing, read_settings
from store.base import Store, StoreMismatch, StoreRefused, StoreUnavailable
from store.bus import BusUnavailable
from store.children import child_setup
from store.embedded import EmbeddedError
from store.embedded_redis import EmbeddedRedis, EmbeddedRedisError
from store.postgres import open_postgres

HANDLERS_TIMEOUT_S: Final = 1.0
"""For so long requests under way may go on when the server stops."""
STOP_TIMEOUT_S: Final = 4.8
"""Everything has ended by then, or is ended: within the 5 s that are promised."""
BACKLOG: Final = 1024
GARBAGE_THRESHOLDS: Final = (40_000, 12, 100)
"""The actors' state is many objects that live long and form no cycles; looked through as often as Python would by
default, it cost a third of the throughput under load. A look at the newest 40,000 stops everyone for some 10 ms."""
LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
STDIN: Final = 0
WORKER: Final = "--as-worker"
"""The first argument of a worker process, before its number; for nobody's use but the parent's."""

log = logging.getLogger("plaudit")


# -- parts of a worker


@contextmanager
def bound_socket(host: str, port: int) -> Iterator[socket.socket]:
    """The listening socket, made before all else: a busy port is found at once, and who comes early waits."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        reason = "it is in use by another program" if error.errno == errno.EADDRINUSE else reason_of(error)
        raise StartError(f"cannot listen on port {port} of {host}: {reason}") from error
    with listener:
        listener.setblocking(False)
        yield listener


async def agree(store: Store, mine: Mapping[str, str], *, patience_s: float = 0.0) -> None:
    """Raises ``StartError`` if, ``patience_s`` from now, others still live who began with other settings."""
    give_up = time.monotonic() + patience_s
    while names := differing(await store.agree(mine), mine):
        if time.monotonic() >= give_up:
            if "--redis-url" in names:
                raise StartError("another Plaudit serves this database: to serve it together, give all one --redis-url")
            raise StartError(f"another Plaudit serves this database with another {', '.join(names)}: all must agree")
        await asyncio.sleep(RETRY_S)


async def use_language(store: Store, language: str) -> None:
    """Have search go by ``language``, which takes time if it went by another. Raises ``StartError``."""
    try:
        await store.finding.use_language(language)
    except StoreRefused as error:
        raise StartError(f"--search-language: {error}") from None


@asynccontextmanager
async def listening(
    app: web.Application,
    listener: socket.socket,
    settings: GatewaySettings,
    *,
    leave: Callable[[], Awaitable[None]],
    census: Census | None,
) -> AsyncIterator[None]:
    """The gateway on its socket, which others may share that take part in ``census``.

    On leaving nothing new is let in; then ``leave`` is called, while all who are there are still served, each once
    more on its connection; then what is under way has a second to finish.
    """
    runner = Runner(app, settings, shutdown_timeout=HANDLERS_TIMEOUT_S)
    await runner.setup()
    assert runner.server is not None
    try:
        acceptor = Acceptor(listener, runner.server, census)
        acceptor.start()
        try:
            yield
        finally:
            acceptor.stop()
            runner.leave()
            await leave()
    finally:
        await runner.cleanup()


@asynccontextmanager
async def open_worker(
    settings: Settings,
    store: Store,
    listener: socket.socket,
    *,
    label: str,
    census: Census | None = None,
    replaces: bool = False,
) -> AsyncIterator[Node]:
    """All that one worker is: its actors, and the gateway before them."""
    registry = CollectorRegistry()
    redis_url = settings.server.redis_url
    async with open_node(settings, store, registry, label=label, redis_url=redis_url, replaces=replaces) as node:
        gateway = settings.gateway
        if not gateway.secret:
            gateway = replace(gateway, secret=(await store.meta()).secret)
        app = make_app(
            node,
            gateway,
            clock=time.time,
            timer=time.monotonic,
            token_bytes=secrets.token_bytes,
            registry=registry,
            site=Site(
                title=settings.server.title,
                guests=gateway.guests,
                sign_up=gateway.sign_up,
                reaction_kinds=settings.policy.reaction_kinds,
                edit_window_s=settings.policy.edit_window_s,
            ),
            version=VERSION,
        )
        async with listening(app, listener, gateway, leave=node.hand_over, census=census):
            yield node


# -- serving


async def serve(settings: Settings, _: argparse.Namespace) -> None:
    """Run until cancelled. Raises ``StartError`` if something ends that all rests on."""
    Hangup(partial(log.warning, "SIGHUP is ignored: nobody could take over meanwhile; restart the server")).expect()
    with bound_socket(settings.server.host, settings.server.port) as listener:
        async with open_database(settings.server) as database:
            if settings.server.workers == 1:
                await serve_alone(settings, listener, database)
            else:
                await serve_with_workers(settings, listener, database)


async def serve_alone(settings: Settings, listener: socket.socket, database: Database) -> None:
    mine = agreed(settings, redis="none" if settings.server.redis_url is None else "shared")
    label = node_label(listener)
    await database.store.expire(node=f"{label}/")
    await agree(database.store, mine, patience_s=PATIENCE_S)
    await use_language(database.store, settings.policy.search_language)
    async with open_worker(settings, database.store, listener, label=f"{label}/1"):
        await agree(database.store, mine)
        announce(settings, listener)
        raise StartError(await database.ended())


async def serve_with_workers(settings: Settings, listener: socket.socket, database: Database) -> None:
    async with AsyncExitStack() as stack:
        server, ended = replace(settings.server, database_url=database.url), [database.ended]
        label = node_label(listener)
        # Whoever seems to live where we listen now was killed.
        await database.store.expire(node=f"{label}/")
        mine = agreed(settings, redis=f"that of {label}" if server.redis_url is None else "shared")
        await agree(database.store, mine, patience_s=PATIENCE_S)
        await use_language(database.store, settings.policy.search_language)
        if server.redis_url is None:
            redis = await stack.enter_async_context(EmbeddedRedis(server.data_dir))
            server = replace(server, redis_url=redis.url)
            ended.append(redis.ended)
        counts = stack.enter_context(Census.file(server.workers))
        told = Assignment(replace(settings, server=server), mine, listener.fileno(), counts)
        parent = Parent(server.workers, Workers(told, label, database.store))
        Hangup(parent.restart).expect()
        await stack.enter_async_context(parent.running())
        # Before the workers end, or who comes then would wait here for nobody.
        stack.enter_context(closing(listener))
        announce(settings, listener)
        raise StartError(await first(*ended, parent.failed))


async def first(*reasons: Callable[[], Awaitable[str]]) -> str:
    """What the first of ``reasons`` says that comes to be known."""
    waiting = [asyncio.ensure_future(reason()) for reason in reasons]
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        for each in waiting:
            each.cancel()


class Assignment(Struct, frozen=True):
    """What a worker is told by its parent. Not on its command line, which everyone on the machine can read."""

    settings: Settings
    """With the addresses of the database and of Redis, whoever runs these."""
    agreed: dict[str, str]
    listener: int
    """The file descriptor of the listening socket, which it has from its parent."""
    counts: int
    """The file descriptor of the workers' ``Census``."""
    number: int = 0
    label: str = ""
    replaces: bool = False
    """Whether it takes another's place."""


class Workers:
    """The parent's ``Caretaker``."""

    def __init__(self, told: Assignment, node: str, store: Store) -> None:
        self._told = told
        """What is the same for all."""
        self._node = node
        self._store = store

    async def spawn(self, place: Place, channel: int) -> Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, WORKER, str(place.number)),
            stdin=channel,
            pass_fds=[self._told.listener, self._told.counts],
            # Ctrl-C in a terminal goes to its whole foreground group, but it is the parent who ends the workers.
            start_new_session=True,
            # One that hangs does not see its channel end.
            preexec_fn=child_setup(None, signal.SIGKILL),
        )

    def assignment(self, place: Place, *, replaces: bool) -> bytes:
        told = replace(self._told, number=place.number, label=self._label(place), replaces=replaces)
        return msgspec.json.encode(told, enc_hook=str)

    async def reaped(self, place: Place) -> None:
        await self._store.expire(node=self._label(place))

    def _label(self, place: Place) -> str:
        # No label may begin with another one: that is how they are looked for.
        return f"{self._node}/{place.number}.{place.serial:04}"


async def work() -> int:
    """A worker's life, as its parent wants it, until cancelled. Returns its status if it cannot begin."""
    try:
        channel = socket.socket(fileno=sys.stdin.fileno())
    except OSError:
        return complain(f"{WORKER} is for the server's own use: see --workers")
    leash = Leash(orphaned=partial(os._exit, 1))
    await asyncio.get_running_loop().create_connection(lambda: leash, sock=channel)
    told = msgspec.json.decode(await leash.assignment, type=Assignment, dec_hook=lambda _, path: Path(path))
    configure_log(told.settings.server, f"[{told.number}] {LOG_FORMAT}")
    url = told.settings.server.database_url
    assert url is not None
    listener = socket.socket(fileno=told.listener)
    census = Census(told.counts, told.settings.server.workers, me=told.number)
    try:
        async with (
            open_postgres(url) as store,
            open_worker(
                told.settings, store, listener, label=told.label, census=census, replaces=told.replaces
            ) as node,
        ):
            await agree(store, told.agreed)
            leash.look = node.look
            leash.say(READY)
            await never()
    except COMPLAINTS as error:
        leash.say(one_line(error))
        return UNAVAILABLE if isinstance(error, StoreUnavailable | BusUnavailable) else REFUSED
    return 0


def announce(settings: Settings, listener: socket.socket) -> None:
    url = settings.gateway.public_url or local_url(*listener.getsockname()[:2])
    data = settings.server.data_dir.absolute() if settings.server.database_url is None else "the configured database"
    console = Terminal(highlight=False, soft_wrap=True)
    console.print(f"[bold]Plaudit {VERSION}[/] is ready; Ctrl-C ends it.", markup=True)
    console.print(f"  the blog             {url.rstrip('/')}/")
    console.print(f"  the API reference    {url.rstrip('/')}/docs")
    console.print(f"  the data             {data}")
    if settings.server.workers > 1:
        console.print(f"  the workers          {settings.server.workers}")


Work = Callable[[Settings, argparse.Namespace], Coroutine[Any, Any, None]]
WORKS: Final[Mapping[str | None, Work]] = MappingProxyType(
    {
        None: serve,
        "import": import_file,
        "role": change_role,
        "password": change_password,
        "new-epoch": change_epoch,
        "cluster": show_cluster,
    }
)


# -- the process

T = TypeVar("T")


async def until_signalled(work: Coroutine[Any, Any, T]) -> T:
    """Do ``work`` until it ends or SIGINT or SIGTERM cancels it; then it has some seconds, or until a second one."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def end() -> None:
        # Of no matter any more: a terminal that is closed may send both.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, os._exit, 128 + number)
        loop.call_later(STOP_TIMEOUT_S, abandon)
        task.cancel()

    def abandon() -> None:
        log.error("not everything ended in time; nothing that was acknowledged is lost")
        os._exit(1)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    return await work


class Hangup:
    """What SIGHUP does: ``asked``; but what SIGTERM does if the terminal that we were started in has gone away.

    Nobody would know any more of a server that went on there.
    """

    def __init__(self, asked: Callable[[], None]) -> None:
        self._asked = asked
        self._terminal = os.isatty(STDIN)
        self._ended = False

    def expect(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._heard)

    def _heard(self) -> None:
        if not self._terminal or os.isatty(STDIN):
            self._asked()
        elif not self._ended:
            # Once: both the shell and the kernel may tell us, and a second SIGTERM does not wait for what is under way.
            self._ended = True
            signal.raise_signal(signal.SIGTERM)


def raise_file_limit() -> None:
    """A connection takes a descriptor, and a process may have 1,024 by default: let it have as many as it can get."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # Some systems say that there is no limit, and have one.
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def run(work: Coroutine[Any, Any, T]) -> T:
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(until_signalled(work))


def configure_log(settings: ServerSettings, format: str) -> None:
    logging.basicConfig(level=settings.log_level.upper(), format=format)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Returns the exit status: 2, with one line, for what the operator must mend."""
    try:
        settings, arguments = read_settings(argv, environ)
        if arguments.command == "password":
            # While there is no loop yet: reading blocks, and Ctrl-C must end it.
            arguments.password = asked_password()
    except SettingsError as error:
        return complain(error)
    except KeyboardInterrupt:
        return 130
    configure_log(settings.server, LOG_FORMAT)
    raise_file_limit()
    try:
        run(WORKS[arguments.command](settings, arguments))
        sys.stdout.flush()
    except asyncio.CancelledError:
        return 0 if arguments.command is None else 130
    except BrokenPipeError:
        return unread()
    except COMPLAINTS as error:
        return complain(error)
    return 0


def main_of_a_worker() -> int:
    try:
        return run(work())
    except asyncio.CancelledError:
        return 0


COMPLAINTS: Final = (
    *(StartError, EmbeddedError, EmbeddedRedisError, OwnedByAnother, StoreMismatch, StoreUnavailable, BusUnavailable),
    *(WorkersFailed, ClusterUnreachable, DomainError),
)
"""What is the operator's to mend, and told in one line."""


def one_line(reason: object) -> str:
    if isinstance(reason, OwnedByAnother):
        return "another Plaudit serves this database"
    return " ".join(str(reason).split())


def unread() -> int:
    """The status of what SIGPIPE ends: whoever read what is printed has seen enough."""
    # The interpreter would find that what is left cannot be written, and say so.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE


def complain(reason: object) -> int:
    print(f"plaudit: {one_line(reason)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main_of_a_worker() if sys.argv[1:2] == [WORKER] else main(sys.argv[1:], os.environ))
