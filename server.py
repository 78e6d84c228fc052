"""The composition root: reads the configuration, puts the parts together, runs them until a signal.

    settings → embedded Postgres → migrations → store → node (the actors) → gateway → the listening socket

Each part is a context manager inside the one before it, so that they end in the opposite order: first nothing new is
let in, then what is under way is finished and written, and Postgres goes last.
"""

import argparse
import asyncio
import errno
import gc
import getpass
import logging
import os
import platform
import random
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import aiofastnet
import msgspec
import uvloop
from aiohttp import web
from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from rich.console import Console

from actors.actor import SYSTEM
from actors.keys import user_key
from actors.runtime.env import Env
from actors.runtime.metrics import Metrics
from actors.runtime.node import Node
from actors.runtime.ownership import OwnedByAnother
from protocol import requests, text
from protocol.accounts import AccountView, EditAccount, ReadAccount
from protocol.commands import Person
from protocol.errors import DomainError
from protocol.gateway.app import make_app
from protocol.gateway.importing import import_wordpress, progress_bar, report_table, survey
from protocol.gateway.options import SettingsError
from protocol.gateway.overview import ClusterUnreachable, fetch_cluster, overview
from protocol.gateway.pages import Site
from protocol.gateway.passwords import Passwords
from protocol.gateway.runner import Runner
from protocol.gateway.settings import GatewaySettings
from protocol.gateway.tokens import Tokens
from protocol.wordpress import BrokenExport
from settings import VERSION, ServerSettings, Settings, read_settings
from store.base import Store, StoreMismatch, StoreUnavailable
from store.embedded import EmbeddedError, EmbeddedPostgres, running_url
from store.postgres import migrate, open_postgres

HANDLERS_TIMEOUT_S: Final = 1.0
"""For so long requests under way may go on when the server stops."""
STOP_TIMEOUT_S: Final = 4.8
"""Everything has ended by then, or is ended: within the 5 s that are promised."""
CLUSTER_TOKEN_TTL_S: Final = 60
BACKLOG: Final = 1024
GARBAGE_THRESHOLDS: Final = (10_000, 50, 100)
"""The actors' state is many objects that live long and form no cycles; looked through as often as Python would by
default, it cost a third of the throughput under load. A look at the newest 10,000 stops everyone for some 3 ms."""

log = logging.getLogger("plaudit")


# -- parts


class StartError(Exception):
    """The server cannot start, or cannot go on; the message is one line for the operator."""


class Database(NamedTuple):
    store: Store
    ended: Callable[[], Awaitable[str]]
    """Waits for as long as the database lives; then says why it ended."""


@asynccontextmanager
async def open_database(settings: ServerSettings) -> AsyncIterator[Database]:
    """The store, migrated; in the embedded Postgres unless another is configured."""
    async with AsyncExitStack() as stack:
        url, ended = settings.database_url, _never
        if url is None:
            postgres = await stack.enter_async_context(EmbeddedPostgres(settings.data_dir))
            url, ended = postgres.url, postgres.ended
        await migrate(url, epoch=secrets.token_hex(16), secret=secrets.token_bytes(32))
        store = await stack.enter_async_context(open_postgres(url))
        if settings.database_url is None:
            # The data directory is ours alone, so whoever still seems to live in it was killed.
            await store.expire(node=platform.node())
        yield Database(store, ended)


async def _never() -> str:
    return str(await asyncio.get_running_loop().create_future())


@asynccontextmanager
async def open_node(settings: Settings, store: Store, registry: CollectorRegistry) -> AsyncIterator[Node]:
    """The actors of all posts and people."""
    env = Env(clock=time.time, monotonic=_seconds_with_sleep, rng=random.Random())
    async with Node.running(store, env, settings.policy, Metrics(registry), node=platform.node()) as node:
        yield node


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


@asynccontextmanager
async def listening(app: web.Application, listener: socket.socket, settings: GatewaySettings) -> AsyncIterator[None]:
    """The gateway on its socket. On leaving nothing new is let in, and what is under way has a second to finish."""
    runner = Runner(app, settings, shutdown_timeout=HANDLERS_TIMEOUT_S)
    await runner.setup()
    assert runner.server is not None
    try:
        loop = asyncio.get_running_loop()
        server = await aiofastnet.create_server(loop, runner.server, sock=listener, backlog=BACKLOG)
        try:
            yield
        finally:
            server.close()
    finally:
        await runner.cleanup()


# -- commands


async def serve(settings: Settings, _: argparse.Namespace) -> None:
    """Run until cancelled. Raises ``StartError`` if the database ends."""
    registry = CollectorRegistry()
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(bound_socket(settings.server.host, settings.server.port))
        database = await stack.enter_async_context(open_database(settings.server))
        node = await stack.enter_async_context(open_node(settings, database.store, registry))
        gateway = settings.gateway
        if not gateway.secret:
            gateway = replace(gateway, secret=(await database.store.meta()).secret)
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
        await stack.enter_async_context(listening(app, listener, gateway))
        announce(settings, listener)
        raise StartError(await database.ended())


def announce(settings: Settings, listener: socket.socket) -> None:
    url = settings.gateway.public_url or local_url(*listener.getsockname()[:2])
    data = settings.server.data_dir.absolute() if settings.server.database_url is None else "the configured database"
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]Plaudit {VERSION}[/] is ready; Ctrl-C ends it.", markup=True)
    console.print(f"  the blog             {url.rstrip('/')}/")
    console.print(f"  the API reference    {url.rstrip('/')}/docs")
    console.print(f"  the data             {data}")


def local_url(host: str, port: int) -> str:
    """Where a server that listens there is reached from this machine."""
    # Nobody can open the address that stands for all.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def import_posts(settings: Settings, arguments: argparse.Namespace) -> None:
    console = Console(highlight=False)
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
    async with open_database(settings.server) as database:
        await database.store.new_epoch()
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
        Console(highlight=False, markup=False).print(overview(view))


async def secret_of_database(settings: ServerSettings) -> bytes:
    """Of the database that is configured, or that the running server embeds."""
    async with open_postgres(settings.database_url or running_url(settings.data_dir), pool_size=1) as store:
        return (await store.meta()).secret


@asynccontextmanager
async def node_alone(settings: Settings) -> AsyncIterator[Node]:
    """The actors without a gateway before them."""
    async with (
        open_database(settings.server) as database,
        open_node(settings, database.store, CollectorRegistry()) as node,
    ):
        yield node


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
        "import": import_posts,
        "role": change_role,
        "password": change_password,
        "new-epoch": change_epoch,
        "cluster": show_cluster,
    }
)


async def until_signalled(work: Coroutine[Any, Any, None]) -> None:
    """Do ``work`` until it ends or SIGINT or SIGTERM cancels it; then it has some seconds, or until a second one."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def end() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, os._exit, 128 + number)
        loop.call_later(STOP_TIMEOUT_S, abandon)
        task.cancel()

    def abandon() -> None:
        log.error("not everything ended in time; nothing that was acknowledged is lost")
        os._exit(1)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    await work


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
    logging.basicConfig(
        level=settings.server.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(until_signalled(WORKS[arguments.command](settings, arguments)))
    except asyncio.CancelledError:
        return 0 if arguments.command is None else 130
    except OwnedByAnother:
        return complain("another Plaudit serves this database")
    except (StartError, ClusterUnreachable, EmbeddedError, StoreMismatch, StoreUnavailable, DomainError) as error:
        return complain(error)
    return 0


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).partition(" (")[0]


def complain(reason: object) -> int:
    print(f"plaudit: {' '.join(str(reason).split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
