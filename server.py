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
import ipaddress
import logging
import math
import os
import platform
import random
import re
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

import aiofastnet
import msgspec
import uvloop
from aiohttp import web
from msgspec import Struct
from msgspec.structs import fields, replace
from prometheus_client import CollectorRegistry
from rich.console import Console

from actors.actor import SYSTEM
from actors.keys import user_key
from actors.policy import Policy
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
from protocol.gateway.options import Options, Parser, SettingsError, flag
from protocol.gateway.pages import Site
from protocol.gateway.passwords import Passwords
from protocol.gateway.runner import Runner
from protocol.gateway.settings import GatewaySettings, Rate
from protocol.wordpress import BrokenExport
from store.base import Store, StoreMismatch, StoreUnavailable
from store.embedded import EmbeddedError, EmbeddedPostgres
from store.postgres import migrate, open_postgres

VERSION: Final = "0.1.0"
HANDLERS_TIMEOUT_S: Final = 1.0
"""For so long requests under way may go on when the server stops."""
STOP_TIMEOUT_S: Final = 4.8
"""Everything has ended by then, or is ended: within the 5 s that are promised."""
BACKLOG: Final = 1024
GARBAGE_THRESHOLDS: Final = (10_000, 50, 100)
"""The actors' state is many objects that live long and form no cycles; looked through as often as Python would by
default, it cost a third of the throughput under load. A look at the newest 10,000 stops everyone for some 3 ms."""
MAY_BE_ZERO: Final = ("port", "edit_window_s")
SECRET_BYTES_MIN: Final = 32
"""What RFC 7518 asks of a key for HS256."""
RESERVED_KINDS: Final = ("applause",)
"""What reactions may not be called: the rows of others are."""

log = logging.getLogger("plaudit")


# -- settings


class ServerSettings(Struct, frozen=True, kw_only=True):
    """Of the process; those of the gateway and of the actors stand beside what they govern."""

    host: str = "127.0.0.1"
    port: int = 8080
    data_dir: Path = Path("data")
    database_url: str | None = None
    redis_url: str | None = None
    workers: int = 1
    title: str = "Plaudit"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Struct, frozen=True):
    server: ServerSettings
    gateway: GatewaySettings
    """With an empty secret, unless one is configured: the database has its own."""
    policy: Policy


HELP: Final = MappingProxyType(
    {
        "host": "address to listen on",
        "port": "port to listen on; 0 is any that is free",
        "data_dir": "directory of the embedded Postgres",
        "database_url": "use this Postgres (15 or newer) instead of the embedded one: postgresql://…",
        "redis_url": "for several workers; clusters come with a later version",
        "workers": "number of processes; clusters come with a later version, until then 1",
        "title": "name of the blog that the server shows",
        "log_level": "debug, info, warning or error",
        "public_url": "where clients reach the server, if not by the address they ask for: https://…",
        "allowed_origins": "other sites whose pages may use this server, as https://example.org; * is any",
        "trusted_proxies": "networks whose X-Forwarded-For is believed, as 10.0.0.0/8; unix is a Unix socket",
        "secret": "what tokens are signed with, 32 characters or more; by default one kept in the database",
        "host_jwt_secret": "secret shared with the host site, whose users sign in with its tokens (HS256)",
        "host_jwks_url": "or the address of the host site's public keys",
        "guests": "let people comment with just a name",
        "sign_up": "let people make accounts here",
        "reaction_kinds": "reactions that a post can be given",
        "edit_window_s": "for so long an author may edit a comment",
        "erased_comments": "what is left of a deleted account's comments: anonymous keeps the text, tombstone does not",
        "operation_ttl_s": "for so long a repeated operation id gets the first result",
        "access_ttl_s": "life of an access token",
        "refresh_ttl_s": "life of a refresh token: who stays away for longer signs in again",
        "guest_ttl_s": "life of a guest's refresh token: who stays away for longer is another guest",
        "account_rate": "writes of one account",
        "address_rate": "requests of one address",
        "socket_rate": "commands of one WebSocket",
        "sign_in_rate": "sign-ups, sign-ins and guests of one address",
        "frame_bytes_max": "largest WebSocket frame or request body",
        "header_timeout_s": "time to send a request's head",
        "body_timeout_s": "time to send a request's body",
        "connections_per_address_max": "sockets and event streams open from one address",
        "subscriptions_max": "posts that one WebSocket follows",
        "ping_interval_s": "how often an idle WebSocket is tried",
    }
)


def read_settings(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[Settings, argparse.Namespace]:
    """The settings, and the command with its arguments.

    Raises:
        SettingsError: Something is misspelt, is of another type, or does not go with the rest.
    """
    options = Options({"the server": ServerSettings, "clients": GatewaySettings, "the site's rules": Policy}, HELP)
    also = ("--help", "--version", "--dry-run", "--author")
    arguments = options.parse(_parser(options), argv, also=also, commands=COMMANDS)
    values = {"secret": b"", **options.values(arguments, environ)}

    def part(struct: type[Any]) -> Any:
        return struct(**{field.name: values[field.name] for field in fields(struct) if field.name in values})

    settings = Settings(part(ServerSettings), part(GatewaySettings), part(Policy))
    for wrong in _contradictions(settings):
        raise SettingsError(wrong)
    return settings, arguments


def _parser(options: Options) -> argparse.ArgumentParser:
    parser = Parser(
        prog="server.py",
        usage="%(prog)s [COMMAND] [OPTIONS]",
        description="Live comments and reactions. Without a command: serve.",
        epilog="A flag counts before the variable that is named with it, and that before the file, where an option is"
        " called as its flag without the dashes. The commands want the server stopped.",
    )
    options.add_to(parser)
    parser.add_argument("--version", action="version", version=f"Plaudit {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    importer = commands.add_parser(
        "import",
        usage="server.py import wordpress FILE [--dry-run] [--author HANDLE] [OPTIONS]",
        help="bring posts and comments from elsewhere",
    )
    importer.add_argument("source", choices=["wordpress"], metavar="wordpress", help="what the file is an export of")
    importer.add_argument("file", type=Path, metavar="FILE")
    importer.add_argument("--dry-run", action="store_true", help="read all of it, change nothing")
    importer.add_argument("--author", metavar="HANDLE", help="the account whose posts they become; else nobody's")
    role = commands.add_parser(
        "role", usage="server.py role HANDLE ROLE [OPTIONS]", help="give an account another role"
    )
    role.add_argument("handle", metavar="HANDLE")
    roles = ["member", "author", "moderator", "admin"]
    role.add_argument("role", choices=roles, metavar="ROLE", help=", ".join(roles))
    password = commands.add_parser(
        "password",
        usage="server.py password HANDLE [OPTIONS]",
        help="give an account a new password, which is asked for, or read as a line of the input",
    )
    password.add_argument("handle", metavar="HANDLE")
    commands.add_parser(
        "new-epoch",
        usage="server.py new-epoch [OPTIONS]",
        help="after a restored backup: let every client reload what it has",
    )
    for command in commands.choices.values():
        options.add_to(command)
    return parser


def _contradictions(settings: Settings) -> Iterator[str]:
    """What no single type can say: bounds, forms, and relations between values."""
    server, gateway, policy = settings.server, settings.gateway, settings.policy
    for part in (server, gateway, policy):
        yield from _out_of_bounds(part)
    if server.port > 65_535:
        yield "--port must be at most 65535"
    if server.workers != 1 or server.redis_url is not None:
        yield "--workers above 1 and --redis-url come with a later version of Plaudit; this one is a single process"
    yield from _malformed(settings)
    if gateway.host_jwt_secret is not None and gateway.host_jwks_url is not None:
        yield "--host-jwt-secret and --host-jwks-url exclude each other"
    if gateway.access_ttl_s >= gateway.refresh_ttl_s:
        yield "--access-ttl must be less than --refresh-ttl"


def _out_of_bounds(part: Struct) -> Iterator[str]:
    for field in fields(part):
        value = getattr(part, field.name)
        may_be_zero = field.name in MAY_BE_ZERO
        for number in (value.per_s, value.burst) if isinstance(value, Rate) else (value,):
            if type(number) in (int, float) and not (0 < number < math.inf or (number == 0 and may_be_zero)):
                yield f"{flag(field.name)} must be {'0 or more' if may_be_zero else 'more than 0'}"


def _malformed(settings: Settings) -> Iterator[str]:
    gateway = settings.gateway
    for name, url, schemes in (
        ("database_url", settings.server.database_url, ("postgresql", "postgres")),
        ("public_url", gateway.public_url, ("https", "http")),
        ("host_jwks_url", gateway.host_jwks_url, ("https", "http")),
    ):
        if url is not None and not url.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            yield f"{flag(name)} must begin with {schemes[0]}://"
    for name, secret in (("secret", gateway.secret), ("host_jwt_secret", (gateway.host_jwt_secret or "").encode())):
        if 0 < len(secret) < SECRET_BYTES_MIN:
            yield f"{flag(name)} must have at least {SECRET_BYTES_MIN} characters"
    for origin in gateway.allowed_origins:
        if origin != "*" and not re.fullmatch(r"https?://[^/?#\s]+", origin):
            yield f"--allowed-origins: {origin} is not like https://example.org"
    for network in gateway.trusted_proxies:
        if network != "unix" and not _is_network(network):
            yield f"--trusted-proxies: {network} is not like 10.0.0.0/8"
    for kind in settings.policy.reaction_kinds:
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,29}", kind) or kind in RESERVED_KINDS:
            yield f"--reaction-kinds: {kind} cannot be the name of one"


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


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
    host, port = listener.getsockname()[:2]
    # Nobody can open the address that stands for all.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    url = settings.gateway.public_url or f"http://{f'[{host}]' if ':' in host else host}:{port}"
    data = settings.server.data_dir.absolute() if settings.server.database_url is None else "the configured database"
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]Plaudit {VERSION}[/] is ready; Ctrl-C ends it.", markup=True)
    console.print(f"  the blog             {url.rstrip('/')}/")
    console.print(f"  the API reference    {url.rstrip('/')}/docs")
    console.print(f"  the data             {data}")


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
COMMANDS: Final[Mapping[str | None, Work]] = MappingProxyType(
    {
        None: serve,
        "import": import_posts,
        "role": change_role,
        "password": change_password,
        "new-epoch": change_epoch,
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
            runner.run(until_signalled(COMMANDS[arguments.command](settings, arguments)))
    except asyncio.CancelledError:
        return 0 if arguments.command is None else 130
    except OwnedByAnother:
        return complain("another Plaudit serves this database")
    except (StartError, EmbeddedError, StoreMismatch, StoreUnavailable, DomainError) as error:
        return complain(error)
    return 0


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).partition(" (")[0]


def complain(reason: object) -> int:
    print(f"plaudit: {' '.join(str(reason).split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
