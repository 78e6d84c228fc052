"""What an operator may choose: read from flags, variables and a file into one frozen value, and checked as a whole."""

import argparse
import hashlib
import ipaddress
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from actors.policy import Policy
from protocol.gateway.options import Options, Parser, SettingsError, flag
from protocol.gateway.settings import TICKET_TTL_S, GatewaySettings, Rate

VERSION: Final = "0.1.0"
COMMANDS: Final = ("import", "role", "password", "new-epoch", "cluster")
"""Without one: serve."""
WORKERS_MAX: Final = 64
MAY_BE_ZERO: Final = ("port", "edit_window_s")
SECRET_BYTES_MIN: Final = 32
"""What RFC 7518 asks of a key for HS256."""
RESERVED_KINDS: Final = ("applause",)
"""What reactions may not be called: the rows of others are."""


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
        "redis_url": "use this Redis (6.2 or newer) between workers and machines, and with other systems: redis://…",
        "workers": "number of processes that serve",
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
        "timelines": "how followers get posts: push, pull, hybrid (push but for celebrities) or adaptive (by habits)",
        "celebrity_followers": "who has so many is a celebrity",
        "search_language": "how words are found: english, german … or simple; any text search configuration",
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
    also = ("--help", "--version", "--dry-run", "--author", "--undirected", "--json", "--url")
    arguments = options.parse(_parser(options), argv, also=also, commands=COMMANDS)
    for wrong in _misplaced(arguments):
        raise SettingsError(wrong)
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
        " called as its flag without the dashes. The commands want the server stopped, but for cluster.",
    )
    options.add_to(parser)
    parser.add_argument("--version", action="version", version=f"Plaudit {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    importer = commands.add_parser(
        "import",
        usage="server.py import wordpress FILE [--dry-run] [--author HANDLE] [OPTIONS]\n"
        "       server.py import graph FILE [--undirected] [OPTIONS]",
        help="bring posts and comments, or who follows whom, from elsewhere",
    )
    importer.add_argument(
        "source",
        choices=["wordpress", "graph"],
        metavar="SOURCE",
        help="wordpress: the file is an export of it; graph: it is an edge list, of which a line has the host site's"
        " ids of two users, and says that the first follows the second",
    )
    importer.add_argument("file", type=Path, metavar="FILE")
    importer.add_argument("--dry-run", action="store_true", help="wordpress: read all of it, change nothing")
    importer.add_argument(
        "--author", metavar="HANDLE", help="wordpress: the account whose posts they become; else nobody's"
    )
    importer.add_argument("--undirected", action="store_true", help="graph: whom one follows, follows back")
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
    cluster = commands.add_parser(
        "cluster",
        usage="server.py cluster [--json] [--url URL] [OPTIONS]",
        help="show the workers, leases, slots, busiest actors and the bus of a running server",
    )
    cluster.add_argument("--json", action="store_true", help="for programs: as GET /v1/cluster answers it")
    cluster.add_argument("--url", metavar="URL", help="where a worker listens; by default at --host and --port")
    for command in commands.choices.values():
        options.add_to(command)
    return parser


def _misplaced(arguments: argparse.Namespace) -> Iterator[str]:
    """Flags of one kind of import that are given to another."""
    source = arguments.source if arguments.command == "import" else None
    if source == "graph" and arguments.dry_run:
        yield "--dry-run is for wordpress"
    if source == "graph" and arguments.author is not None:
        yield "--author is for wordpress"
    if source == "wordpress" and arguments.undirected:
        yield "--undirected is for graph"


def _contradictions(settings: Settings) -> Iterator[str]:
    """What no single type can say: bounds, forms, and relations between values."""
    server, gateway, policy = settings.server, settings.gateway, settings.policy
    for part in (server, gateway, policy):
        yield from _out_of_bounds(part)
    if server.port > 65_535:
        yield "--port must be at most 65535"
    if server.workers > WORKERS_MAX:
        yield f"--workers must be at most {WORKERS_MAX}"
    yield from _malformed(settings)
    if gateway.host_jwt_secret is not None and gateway.host_jwks_url is not None:
        yield "--host-jwt-secret and --host-jwks-url exclude each other"
    if policy.operation_ttl_s < TICKET_TTL_S:
        # That a ticket is used up is remembered as an operation.
        yield f"--operation-ttl must be at least {TICKET_TTL_S}"
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
        ("redis_url", settings.server.redis_url, ("redis", "rediss", "unix")),
        ("public_url", gateway.public_url, ("https", "http")),
        ("host_jwks_url", gateway.host_jwks_url, ("https", "http")),
    ):
        if url is not None and not url.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            yield f"{flag(name)} must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}"
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


# -- what must be the same everywhere

AGREED: Final = ("allowed_origins", "guests", "sign_up", "secret", "host_jwt_secret", "host_jwks_url")
"""Of the gateway; beside these all of the policy."""


def agreed(settings: Settings, redis: str) -> dict[str, str]:
    """What all who serve one database must have the same: flag → value, or a digest of it where it is a secret.

    ``redis`` says which Redis is between them.
    """
    values = {name: getattr(settings.gateway, name) for name in AGREED}
    values |= {field.name: getattr(settings.policy, field.name) for field in fields(settings.policy)}
    written = {flag(name): msgspec.json.encode(value) for name, value in values.items()}
    for name in ("secret", "host_jwt_secret"):
        written[flag(name)] = hashlib.blake2b(written[flag(name)], digest_size=8).hexdigest().encode()
    return {"--redis-url": redis} | {name: value.decode() for name, value in written.items()}


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The flags of which both say something, and not the same: another version may know more of them."""
    return sorted(name for name in one.keys() & other.keys() if one[name] != other[name])
