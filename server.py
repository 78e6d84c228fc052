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
import getpass
import hashlib
import logging
import os
import platform
import random
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
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import uvloop
from aiohttp import web
from msgspec import Struct
from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from rich.console import Console

from actors.actor import SYSTEM
from actors.keys import slot_of, user_key
from actors.lease import LEASE_TTL_S
from actors.runtime.env import Env
from actors.runtime.metrics import BusFigures, Metrics
from actors.runtime.node import Node
from actors.runtime.ownership import OwnedByAnother
from actors.runtime.parent import READY, REFUSED, UNAVAILABLE, Leash, Parent, Place, WorkersFailed
from actors.timelines import TIMELINE_ALARM, next_tending
from protocol import requests, text
from protocol.accounts import AccountView, EditAccount, ReadAccount
from protocol.commands import Person
from protocol.edgelist import Edge, handle_of
from protocol.errors import DomainError
from protocol.gateway.accepting import Acceptor, Census
from protocol.gateway.app import make_app
from protocol.gateway.importing import import_wordpress, progress_bar, report_table, survey
from protocol.gateway.importing_edges import EdgeReport, JunkFound, count_edges, edge_table, import_edges
from protocol.gateway.options import SettingsError
from protocol.gateway.overview import ClusterUnreachable, fetch_cluster, overview
from protocol.gateway.pages import Site
from protocol.gateway.passwords import Passwords
from protocol.gateway.runner import Runner
from protocol.gateway.settings import GatewaySettings
from protocol.gateway.tokens import Tokens
from protocol.graph import FOLLOWING_MAX
from protocol.wordpress import BrokenExport
from settings import VERSION, ServerSettings, Settings, agreed, differing, read_settings
from store.base import Store, StoreMismatch, StoreRefused, StoreUnavailable
from store.bus import BusUnavailable
from store.children import child_setup
from store.edges import EdgeWriter, FollowsTooMany, Named, Rules, Served
from store.embedded import CONNECTIONS_MAX, EmbeddedError, EmbeddedPostgres, running_url
from store.embedded_redis import EmbeddedRedis, EmbeddedRedisError
from store.postgres import PostgresStore, migrate, open_postgres
from store.redis import RedisBus
from store.redis_exchange import open_exchange
from store.rows import AlarmRow

HANDLERS_TIMEOUT_S: Final = 1.0
"""For so long requests under way may go on when the server stops."""
STOP_TIMEOUT_S: Final = 4.8
"""Everything has ended by then, or is ended: within the 5 s that are promised."""
CLUSTER_TOKEN_TTL_S: Final = 60
BACKLOG: Final = 1024
GARBAGE_THRESHOLDS: Final = (10_000, 50, 100)
"""The actors' state is many objects that live long and form no cycles; looked through as often as Python would by
default, it cost a third of the throughput under load. A look at the newest 10,000 stops everyone for some 3 ms."""
CONNECTIONS_PER_WORKER: Final = 12
"""To Postgres: eight to read, one each to write, for the lease and to push, one while it starts."""
PATIENCE_S: Final = LEASE_TTL_S + 1.0
"""For so long those who were killed may still seem to live."""
RETRY_S: Final = 0.2
LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
STDIN: Final = 0
WORKER: Final = "--as-worker"
"""The first argument of a worker process, before its number; for nobody's use but the parent's."""

log = logging.getLogger("plaudit")


# -- parts


class StartError(Exception):
    """The server cannot start, or cannot go on; the message is one line for the operator."""


class Database(NamedTuple):
    store: PostgresStore
    url: str
    ended: Callable[[], Awaitable[str]]
    """Waits for as long as the database lives; then says why it ended."""


@asynccontextmanager
async def open_database(settings: ServerSettings) -> AsyncIterator[Database]:
    """The store, migrated; in the embedded Postgres unless another is configured."""
    async with AsyncExitStack() as stack:
        url, ended = settings.database_url, _never
        if url is None:
            # Besides the workers: this process, and in a restart one worker more.
            connections_max = max(CONNECTIONS_MAX, CONNECTIONS_PER_WORKER * (settings.workers + 2))
            postgres = await stack.enter_async_context(
                EmbeddedPostgres(settings.data_dir, connections_max=connections_max)
            )
            url, ended = postgres.url, postgres.ended
        await migrate(url, epoch=secrets.token_hex(16), secret=secrets.token_bytes(32))
        store = await stack.enter_async_context(open_postgres(url))
        if settings.database_url is None:
            # The data directory is ours alone, so whoever still seems to live in it was killed.
            await store.expire(node="")
        yield Database(store, url, ended)


async def _never() -> str:
    return str(await asyncio.get_running_loop().create_future())


def node_label(listener: socket.socket | None = None) -> str:
    """How the workers of this process are told from those of others: machines can have the same name.

    The next server that has the address of ``listener`` gets the same label: while one listens there no other can.
    """
    unique = secrets.token_hex(4)
    if listener is not None:
        with suppress(OSError):  # Only Linux tells which kernel this is, and which of its networks.
            kernel = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
            place = f"{kernel} {Path('/proc/self/ns/net').readlink()} {listener.getsockname()}"
            unique = hashlib.blake2b(place.encode(), digest_size=4).hexdigest()
    return f"{platform.node()}:{unique}"


@asynccontextmanager
async def open_node(
    settings: Settings,
    store: Store,
    registry: CollectorRegistry,
    *,
    label: str,
    redis_url: str | None = None,
    replaces: bool = False,
) -> AsyncIterator[Node]:
    """The actors: all of them, or with a Redis those that fall to this one of several workers.

    One that ``replaces`` another begins without Redis if need be, as the others go on without it.
    """
    env = Env(clock=time.time, monotonic=_seconds_with_sleep, rng=random.Random())
    metrics = Metrics(registry)
    site_url = settings.gateway.public_url or ""
    async with AsyncExitStack() as stack:
        bus, exchange = None, None
        if redis_url is not None:
            cluster = (await store.meta()).epoch
            bus = RedisBus(redis_url, BusFigures(metrics), cluster=cluster, may_be_away=replaces)
            exchange = await stack.enter_async_context(open_exchange(redis_url))
        running = Node.running(
            *(store, env, settings.policy, metrics),
            node=label,
            bus=bus,
            exchange=exchange,
            site_url=site_url,
            replaces=replaces,
        )
        yield await stack.enter_async_context(running)


def _seconds_with_sleep() -> float:
    """A lease runs out while the machine is suspended, which Linux' plain monotonic clock does not count."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


@contextmanager
def bound_socket(host: str, port: int) -> Iterator[socket.socket]:
    """The listening socket, made before all else: a busy port is found at once, and who comes early waits."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        reason = "it is in use by another program" if error.errno == errno.EADDRINUSE else _reason(error)
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
            await _never()
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


# -- commands


class Terminal(Console):
    """Where it prints to; ``BrokenPipeError`` says that nobody reads there any more, as it does for ``print``."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def local_url(host: str, port: int) -> str:
    """Where a server that listens there is reached from this machine."""
    # Nobody can open the address that stands for all.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def import_file(settings: Settings, arguments: argparse.Namespace) -> None:
    await (import_graph if arguments.source == "graph" else import_posts)(settings, arguments)


async def import_posts(settings: Settings, arguments: argparse.Namespace) -> None:
    console = Terminal(highlight=False)
    try:
        found = survey(arguments.file)
    except BrokenExport as error:
        raise StartError(f"cannot import {arguments.file}: {error}") from error
    except OSError as error:
        raise StartError(f"cannot read {arguments.file}: {_reason(error)}") from error
    if arguments.dry_run:
        console.print(report_table(found, dry_run=True))
        return
    async with node_alone(settings) as node:
        by = SYSTEM if arguments.author is None else _person(await account(node, arguments.author))
        with progress_bar(console) as progress:
            by = replace(by, role="admin")
            report = await import_wordpress(arguments.file, node, by=by, progress=progress)
    console.print(report_table(report))


async def import_graph(settings: Settings, arguments: argparse.Namespace) -> None:
    console = Terminal(highlight=False)
    file, undirected = arguments.file, arguments.undirected
    try:
        total = count_edges(file, undirected=undirected)
        async with database_alone(settings.server) as store, store.edges.importing(edge_rules(settings)) as writer:
            with progress_bar(console) as progress:
                await import_edges(file, _People(writer), total, undirected=undirected, progress=progress)
    except JunkFound as error:
        for junk in error.first:
            print(f"line {junk.line} {junk.reason}", file=sys.stderr)
        raise StartError(f"cannot import {file}: {error}; nothing was imported") from error
    except FollowsTooMany as error:
        raise StartError(f"cannot import {file}: {error}, more than {FOLLOWING_MAX:,}; nothing was imported") from error
    except Served as error:
        raise OwnedByAnother from error
    except OSError as error:
        raise StartError(f"cannot read {file}: {_reason(error)}") from error
    added = writer.added
    report = EdgeReport(edges=total, people=added.people, added=added.edges, left_out=added.left_out)
    console.print(edge_table(report))


def edge_rules(settings: Settings) -> Rules:
    now_ms = int(time.time() * 1000)

    def tending(account_id: int) -> AlarmRow:
        key = user_key(account_id)
        return AlarmRow(slot=slot_of(key), actor=key, name=TIMELINE_ALARM, due_ms=next_tending(account_id, now_ms))

    return Rules(
        strategy=settings.policy.timelines,
        celebrity_followers=settings.policy.celebrity_followers,
        following_max=FOLLOWING_MAX,
        now_ms=now_ms,
        tending=tending,
    )


class _People:
    """The ``EdgeTarget`` before a writer of the store."""

    def __init__(self, writer: EdgeWriter) -> None:
        self._writer = writer
        self.finish = writer.finish

    async def add(self, edges: Sequence[Edge]) -> None:
        await self._writer.add([(Named(one, handle_of(one)), Named(other, handle_of(other))) for one, other in edges])


async def change_role(settings: Settings, arguments: argparse.Namespace) -> None:
    async with node_alone(settings) as node:
        view = await account(node, arguments.handle)
        await edit(node, EditAccount(account=int(view.id), role=arguments.role))
    print(f"{view.handle} is {arguments.role} now, from the next refresh of a token on")


async def change_password(settings: Settings, arguments: argparse.Namespace) -> None:
    async with node_alone(settings) as node:
        view = await account(node, arguments.handle)
        if view.kind != "member":
            raise StartError(f"{view.handle} signs in without a password")
        passwords = Passwords()
        try:
            password_hash = await passwords.hash(arguments.password)
        finally:
            passwords.close()
        await edit(node, EditAccount(account=int(view.id), password_hash=password_hash, end_sessions=True))
    print(f"{view.handle} has a new password, and is signed out everywhere")


def asked_password() -> str:
    """A new password: typed twice at a terminal, else the first line of the input. Raises ``SettingsError``."""
    if sys.stdin.isatty():
        password = getpass.getpass("New password: ")
        if getpass.getpass("Once more: ") != password:
            raise SettingsError("these were two passwords")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    try:
        return text.plain(msgspec.convert(password, requests.Password))
    except (msgspec.ValidationError, DomainError):
        raise SettingsError("a password has 8 to 256 characters, of text") from None


async def change_epoch(settings: Settings, _: argparse.Namespace) -> None:
    async with database_alone(settings.server) as store:
        await store.new_epoch()
    print("every client will reload what it has")


async def show_cluster(settings: Settings, arguments: argparse.Namespace) -> None:
    """Ask a worker, as an admin: who knows the secret may sign for one."""
    secret = settings.gateway.secret or await secret_of_database(settings.server)
    tokens = Tokens(secret, clock=time.time, token_bytes=secrets.token_bytes)
    token, _ = tokens.access(SYSTEM, "command line", CLUSTER_TOKEN_TTL_S)
    view = await fetch_cluster(arguments.url or local_url(settings.server.host, settings.server.port), token)
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(view)).decode())
    else:
        # What is no terminal has no width.
        Terminal(highlight=False, markup=False, width=None if sys.stdout.isatty() else 120).print(overview(view))


async def secret_of_database(settings: ServerSettings) -> bytes:
    """Of the database that is configured, or that the running server embeds. Raises ``StartError`` if none runs."""
    try:
        url = settings.database_url or running_url(settings.data_dir)
    except EmbeddedError as error:
        needed = "the server's own options (--database-url or --data-dir), or its --secret"
        raise StartError(f"cannot read the server's secret from its database: {error}; give {needed}") from error
    async with open_postgres(url, pool_size=1) as store:
        return (await store.meta()).secret


@asynccontextmanager
async def node_alone(settings: Settings) -> AsyncIterator[Node]:
    """The actors without a gateway before them."""
    async with (
        database_alone(settings.server) as store,
        open_node(settings, store, CollectorRegistry(), label=f"{node_label()}/command") as node,
    ):
        yield node


@asynccontextmanager
async def database_alone(settings: ServerSettings) -> AsyncIterator[PostgresStore]:
    """The store, while no server uses it. Raises ``OwnedByAnother`` if one does.

    That is asked before anything else: workers would give slots to whoever joins them, and wait for its answers.
    """
    async with open_database(settings) as database:
        give_up = time.monotonic() + PATIENCE_S
        while any(worker.lease_s > 0 for worker in (await database.store.owners()).live):
            if time.monotonic() >= give_up:
                raise OwnedByAnother
            await asyncio.sleep(RETRY_S)
        yield database.store


async def account(node: Node, handle: str) -> AccountView:
    """The account of a handle. Raises ``StartError`` if there is none."""
    account_id = await node.resolve("handle", handle.lower())
    if account_id is None:
        raise StartError(f"there is no account {handle}")
    view: AccountView = await node.ask(user_key(account_id), ReadAccount(account=account_id), SYSTEM)
    return view


async def edit(node: Node, command: EditAccount) -> None:
    await node.ask(user_key(command.account), command, SYSTEM)


def _person(view: AccountView) -> Person:
    return Person(id=int(view.id), handle=view.handle, name=view.name, role=view.role, url=view.url)


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


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).partition(" (")[0]


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
