"""The map of the parts, asserted: who may import whom, and what only the roots may take from the system."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]


class Part(NamedTuple):
    """Modules whose names begin with one of ``prefixes``, and what of our own they may import."""

    prefixes: tuple[str, ...]
    ours: tuple[str, ...]
    pure: bool = False
    """Without I/O, tasks and clocks: values in, values out."""


# The first part that a module belongs to is the one that counts.
ASKED = (
    "store.base",
    "store.feeds",
    "store.finding",
    "store.graph",
    "store.notifications",
    "store.rows",
    "store.timelines",
)
"""What the store is asked, without what answers."""

PARTS = (
    Part(("protocol.gateway",), ours=("protocol",)),
    Part(("protocol",), ours=("protocol",), pure=True),
    Part(("store",), ours=("store",)),
    Part(
        ("actors.runtime",),
        ours=("actors", "protocol", "store.bus", "store.exchange", *ASKED),
    ),
    Part(
        ("actors",),
        ours=("actors", "protocol", *ASKED),
        pure=True,
    ),
    Part(("settings",), ours=("actors.policy", "protocol.gateway.options", "protocol.gateway.settings")),
    Part(("parts",), ours=("actors", "store", "settings")),
    Part(("administration",), ours=("actors", "protocol", "store", "settings", "parts")),
    Part(("server",), ours=("actors", "protocol", "store", "settings", "parts", "administration")),
)
NEVER = {"protocol": "protocol.gateway", "actors": "protocol.gateway"}
"""Part → what it may not import though a prefix would allow it; its own subpackage excepted."""

OURS = ("actors", "protocol", "store", "settings", "parts", "administration", "server", "tests")
ROOTS = ("parts", "administration", "server")
"""What puts the others together, and hands them what they may not take from the system."""

ONLY = {
    "aiohttp": ("protocol.gateway", "server"),
    "aiohttp_sse": ("protocol.gateway",),
    "aiofastnet": ("protocol.gateway.accepting",),
    "uvloop": ("server",),
    "argparse": ("protocol.gateway.options", "settings", "administration", "server"),
    "asyncpg": ("store.postgres",),
    "redis": ("store.redis",),
    "psutil": ("store",),
    "argon2": ("protocol.gateway",),
    "jwt": ("protocol.gateway",),
    "pyroaring": ("actors",),
}
"""Package → the only modules that may import it."""

IMPURE = (
    *("asyncio", "socket", "socketserver", "ssl", "select", "selectors", "http", "urllib.request", "ftplib", "smtplib"),
    *("subprocess", "multiprocessing", "threading", "concurrent", "queue", "signal", "os", "sys", "io", "pathlib"),
    *("shutil", "tempfile", "sqlite3", "time", "random", "secrets", "aiohttp", "asyncpg", "redis"),
)

HANDED_IN = {"time": set[str](), "secrets": set[str](), "random": {"Random"}, "uuid": {"UUID", "uuid5"}}
"""Modules of clocks, chance and new ids → what may be used of them below the roots, which hand the rest in."""

OWN_SURROUNDINGS = {"environ", "environb", "getenv", "getenvb", "putenv", "urandom", "getrandom"}
"""What of ``os`` may not be used there."""

CALLS_HANDED_IN = ("Random", "now", "utcnow", "today")
"""What may not be called there: it would read the clock, or seed a generator by chance."""


class Breach(NamedTuple):
    line: int
    what: str


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def imports(tree: ast.Module, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """(line, full name) of everything imported anywhere in the module, under ``TYPE_CHECKING`` too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        if isinstance(node, ast.ImportFrom):
            package = module.split(".") if is_package else module.split(".")[:-1]
            above = package[: len(package) - node.level + 1] if node.level else []
            for alias in node.names:
                yield node.lineno, ".".join([*above, *([node.module] if node.module else []), alias.name])


def uses(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """(line, module, name) of what is used of imported modules: ``os.environ``, ``from time import monotonic``."""
    modules_by_name: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules_by_name |= {alias.asname or alias.name: alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield node.lineno, node.module, alias.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules_by_name:
            yield node.lineno, modules_by_name[node.value.id], node.attr


def breaches(source: str, module: str, is_package: bool = False) -> list[Breach]:
    """What in the source of ``module`` goes against the map."""
    tree = ast.parse(source)
    part = next(part for part in PARTS if within(module, part.prefixes))
    found = []
    for line, name in imports(tree, module, is_package):
        if within(name, OURS) and not within(name, part.ours):
            found.append(Breach(line, f"imports {name}"))
        for outside, inside in NEVER.items():
            if within(module, (outside,)) and not within(module, (inside,)) and within(name, (inside,)):
                found.append(Breach(line, f"imports {name}"))
        for package, allowed in ONLY.items():
            if within(name, (package,)) and not within(module, allowed):
                found.append(Breach(line, f"imports {package}, which only {' and '.join(allowed)} may"))
        if part.pure and within(name, IMPURE) and name != "random.Random":
            found.append(Breach(line, f"imports {name}, but is pure"))
    if module not in ROOTS:
        found += taken_from_the_system(tree)
    return sorted(set(found))


def taken_from_the_system(tree: ast.Module) -> Iterator[Breach]:
    """Clocks, chance, new ids and the environment; and names rebound for the whole module."""
    for line, module, name in uses(tree):
        if name not in HANDED_IN.get(module, {name}) or (module == "os" and name in OWN_SURROUNDINGS):
            yield Breach(line, f"takes {module}.{name} itself")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
            if called in CALLS_HANDED_IN:
                yield Breach(node.lineno, f"calls {called}() itself")
        if isinstance(node, ast.Global):
            yield Breach(node.lineno, f"rebinds {', '.join(node.names)} for the whole module")


def modules() -> Iterator[Path]:
    for directory in ("actors", "protocol", "store"):
        yield from (ROOT / directory).rglob("*.py")
    for name in ("settings", *ROOTS):
        yield ROOT / f"{name}.py"


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", sorted(modules()), ids=module_name)
def test_a_module_keeps_to_the_map(path: Path) -> None:
    found = breaches(path.read_text(encoding="utf-8"), module_name(path), path.stem == "__init__")
    assert not found, "\n".join(f"{path}:{breach.line}: {breach.what}" for breach in found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("protocol.session", "import asyncio"),
        ("protocol.session", "from protocol.gateway.backend import Backend"),
        ("protocol.session", "from .gateway import backend"),
        ("protocol.session", "from store.rows import Row"),
        ("protocol.session", "if TYPE_CHECKING:\n    import actors.post"),
        ("protocol.gateway.http", "from store.base import Store"),
        ("protocol.gateway.http", "from actors.runtime.node import Node"),
        ("protocol.gateway.http", "import asyncpg"),
        ("store.postgres", "from protocol.views import View"),
        ("store.memory", "import asyncpg"),
        ("store.memory_bus", "from redis.asyncio import Redis"),
        ("store.embedded_redis", "from redis.asyncio import Redis"),
        ("actors.post", "import asyncio"),
        ("actors.post", "from protocol.gateway import backend"),
        ("actors.runtime.node", "from store.postgres import PostgresStore"),
        ("actors.runtime.node", "from store import memory"),
        ("actors.runtime.node", "from store.memory_bus import Broker"),
        ("actors.post", "from store.bus import Bus"),
        ("actors.runtime.node", "from aiohttp import web"),
        ("actors.runtime.node", "import time\nnow = time.monotonic()"),
        ("actors.runtime.node", "from time import monotonic"),
        ("actors.runtime.node", "import random as chance\nchance.random()"),
        ("actors.runtime.node", "from random import Random\nrng = Random()"),
        ("actors.runtime.node", "from uuid import uuid4"),
        ("actors.runtime.node", "from datetime import datetime\ndatetime.now()"),
        ("store.embedded", "import os\nos.environ['HOME']"),
        ("store.embedded", "import os\nkey = os.urandom(8)"),
        ("store.embedded", "def remember():\n    global cache"),
    ],
)
def test_a_breach_of_the_map_is_seen(module: str, source: str) -> None:
    assert breaches(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("protocol.session", "import msgspec\nfrom protocol.errors import Refused"),
        ("protocol.gateway.http", "from aiohttp import web\nfrom protocol.session import Session"),
        ("store.embedded", "import os\nos.getpid()"),
        ("store.postgres", "import asyncpg\nfrom store.rows import Row"),
        ("actors.runtime.env", "from random import Random\nfrom uuid import UUID\nrng: Random"),
        ("actors.runtime.node", "import asyncio\nfrom store.base import Store\nfrom store.bus import Bus"),
        ("store.redis", "from redis.exceptions import RedisError\nfrom store.bus import Bus"),
        ("server", "import os, time, aiohttp\nfrom store.postgres import PostgresStore\nos.environ, time.time()"),
    ],
)
def test_what_the_map_allows_is_no_breach(module: str, source: str) -> None:
    assert breaches(source, module) == []
