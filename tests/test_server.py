"""``server.py`` as its operator meets it: what it is told, what it refuses, how it starts and how it ends."""

import asyncio
import json
import os
import pty
import re
import signal
import socket
import sys
import time
import tomllib
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import psutil
import pytest
from msgspec.structs import fields

from actors.policy import Policy
from parts import StartError
from protocol.gateway.options import SettingsError, flag, variable
from protocol.gateway.settings import GatewaySettings, Rate
from server import bound_socket
from settings import HELP, VERSION, ServerSettings, Settings, read_settings
from tests.processes import Served, lives, serving
from tests.site import HOST_SECRET, host_token

ROOT = Path(__file__).parents[1]
STOPPED_WITHIN_S = 5.0
SAID_WITHIN_S = 30.0
SECRET = "a secret of thirty-two characters"

ALL_FIELDS = [field for part in (ServerSettings, GatewaySettings, Policy) for field in fields(part)]


def settings(*argv: str, **environ: str) -> Settings:
    found, _ = read_settings(argv, environ)
    return found


def refusal(*argv: str, **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        settings(*argv, **environ)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with TemporaryDirectory(prefix="pl-") as directory:
        yield Path(directory) / "data"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "plaudit.toml"


# -- settings


def test_nothing_need_be_configured() -> None:
    assert settings() == Settings(ServerSettings(), GatewaySettings(secret=b""), Policy())


def test_a_flag_counts_before_a_variable_and_that_before_the_file(file: Path) -> None:
    file.write_text("port = 1\ntitle = 'file'\nhost = '::1'\n")
    found = settings("--port", "3", "--config", str(file), PLAUDIT_PORT="2", PLAUDIT_TITLE="variable").server
    assert (found.port, found.title, found.host) == (3, "variable", "::1")


def test_the_file_can_be_named_by_a_variable(file: Path) -> None:
    file.write_text("guests = false\n")
    assert settings(PLAUDIT_CONFIG=str(file)).gateway.guests is False


def test_an_option_may_stand_before_or_after_the_command(file: Path) -> None:
    file.write_text("port = 7\n")
    for argv in (["--config", str(file), "role", "ada", "admin"], ["role", "ada", "admin", "--config", str(file)]):
        found, arguments = read_settings(argv, {})
        assert (found.server.port, arguments.command, arguments.handle) == (7, "role", "ada")


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert settings(PLAUDIT_PORT="").server.port == 8080


def test_variables_of_others_are_none_of_our_business() -> None:
    assert settings(PORT="x", PLAUDITS="y") == settings()


GIVEN: list[tuple[str, str, Any, Any]] = [
    ("port", "0", 0, 0),
    ("data_dir", "/srv/plaudit", "/srv/plaudit", Path("/srv/plaudit")),
    ("log_level", "debug", "debug", "debug"),
    ("guests", "false", False, False),
    ("allowed_origins", "https://a.org, http://b.org:8000", ["https://a.org", "http://b.org:8000"],
     ("https://a.org", "http://b.org:8000")),
    ("trusted_proxies", "unix,10.0.0.0/8", ["unix", "10.0.0.0/8"], ("unix", "10.0.0.0/8")),
    ("secret", SECRET, SECRET, SECRET.encode()),
    ("host_jwt_secret", SECRET, SECRET, SECRET),
    ("account_rate", "0.5:10", "0.5:10", Rate(0.5, 10)),
    ("body_timeout_s", "2.5", 2.5, 2.5),
    ("body_timeout_s", "3", 3, 3.0),
    ("edit_window_s", "0", 0, 0),
    ("reaction_kinds", "like,wow", ["like", "wow"], ("like", "wow")),
    ("erased_comments", "tombstone", "tombstone", "tombstone"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "text", "in_file", "value"), GIVEN)
def test_a_value_is_the_same_by_flag_by_variable_and_by_file(
    file: Path, field: str, text: str, in_file: Any, value: Any
) -> None:
    file.write_text(f"{flag(field)[2:]} = {json.dumps(in_file)}\n")
    by_flag = settings(flag(field), text) if field != "guests" else settings("--no-guests")
    for found in (by_flag, settings(**{variable(field): text}), settings("--config", str(file))):
        assert value in [getattr(part, field, None) for part in (found.server, found.gateway, found.policy)]


@pytest.mark.parametrize(
    ("argv", "environ", "said"),
    [
        (["--prot", "80"], {}, "unknown argument --prot: did you mean --port?"),
        (["--edit-windo=3"], {}, "unknown argument --edit-windo: did you mean --edit-window?"),
        (["--zzz"], {}, "unknown argument --zzz"),
        ([], {"PLAUDIT_PROT": "80"}, "unknown variable PLAUDIT_PROT: did you mean PLAUDIT_PORT?"),
        (["--port", "http"], {}, "--port must be a whole number, not 'http'"),
        ([], {"PLAUDIT_PORT": "80.5"}, "PLAUDIT_PORT must be a whole number, not '80.5'"),
        ([], {"PLAUDIT_GUESTS": "perhaps"}, "PLAUDIT_GUESTS must be true or false, not 'perhaps'"),
        (["--log-level", "loud"], {}, "--log-level must be one of debug, info, warning, error, not 'loud'"),
        (["--erased-comments", "gone"], {}, "--erased-comments must be one of tombstone, anonymous, not 'gone'"),
        (["--account-rate", "5"], {}, "--account-rate must be so many a second and so many at once, as 20:60, not '5'"),
        (["--account-rate", "nan:5"], {}, "--account-rate must be more than 0"),
        (["--socket-rate", "5:0"], {}, "--socket-rate must be more than 0"),
        (["--body-timeout", "inf"], {}, "--body-timeout must be more than 0"),
        (["--edit-window", "-1"], {}, "--edit-window must be 0 or more"),
        (["--port", "65536"], {}, "--port must be at most 65535"),
        (["--workers", "0"], {}, "--workers must be more than 0"),
        (["--workers", "65"], {}, "--workers must be at most 64"),
        (["--redis-url", "localhost:6379"], {}, "--redis-url must begin with redis:// or rediss:// or unix://"),
        (["--database-url", "mysql://localhost/x"], {}, "--database-url must begin with postgresql://"),
        (["--public-url", "example.org"], {}, "--public-url must begin with https://"),
        (["--allowed-origins", "example.org"], {}, "example.org is not like https://example.org"),
        (["--allowed-origins", "https://a.org/blog"], {}, "https://a.org/blog is not like https://example.org"),
        (["--trusted-proxies", "10.0.0"], {}, "10.0.0 is not like 10.0.0.0/8"),
        (["--secret", "short"], {}, "--secret must have at least 32 characters"),
        (["--host-jwt-secret", "short"], {}, "--host-jwt-secret must have at least 32 characters"),
        (["--host-jwt-secret", SECRET, "--host-jwks-url", "https://a.org"], {}, "exclude each other"),
        (["--operation-ttl", "59"], {}, "--operation-ttl must be at least 60"),
        (["--access-ttl", "5184000"], {}, "--access-ttl must be less than --refresh-ttl"),
        (["--reaction-kinds", "like,Big Smile"], {}, "Big Smile cannot be the name of one"),
        (["--reaction-kinds", "applause"], {}, "applause cannot be the name of one"),
        (["--config", "/nowhere.toml"], {}, "cannot read the configuration /nowhere.toml: No such file or directory"),
        (["rol", "ada", "admin"], {}, "invalid choice: 'rol'"),
        (["role", "ada", "king"], {}, "invalid choice: 'king'"),
        (["role", "ada"], {}, "required: ROLE"),
        (["role"], {}, "required: HANDLE, ROLE"),
        (["import"], {}, "required: SOURCE, FILE"),
        (["--guests", "maybe"], {}, "--guests takes no value: write --guests or --no-guests, not 'maybe'"),
        (["--no-sign-up=yes"], {}, "--no-sign-up takes no value: write --sign-up or --no-sign-up, not 'yes'"),
        (["import", "drupal", "x.xml"], {}, "invalid choice: 'drupal'"),
        (["import", "graph", "x.txt", "--dry-run"], {}, "--dry-run is for wordpress"),
        (["import", "graph", "x.txt", "--author", "ann"], {}, "--author is for wordpress"),
        (["import", "wordpress", "x.xml", "--undirected"], {}, "--undirected is for graph"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_in_one_line_that_names_it(
    argv: list[str], environ: Mapping[str, str], said: str
) -> None:
    assert said in refusal(*argv, **environ)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("prot = 80", "unknown option prot in {file}: did you mean port?"),
        ("edit_window = 80", "unknown option edit_window in {file}: did you mean edit-window?"),
        ("[server]\nport = 80", "unknown option server in {file}"),
        ("port = 'http'", "port in {file} must be a whole number, not 'http'"),
        ("guests = 1", "guests in {file} must be true or false, not 1"),
        ("secret = 12", "secret in {file} must be a text, not 12"),
        ("account-rate = 5", "account-rate in {file} must be so many a second"),
        ("reaction-kinds = [1]", "reaction-kinds in {file} must be a list, with commas, not [1]"),
        ("title = 'x'\nport = ?", "cannot read the configuration {file}: Invalid value (at line 2, column 8)"),
    ],
)
def test_a_wrong_line_in_the_file_is_refused_in_one_line_that_names_it(file: Path, content: str, said: str) -> None:
    file.write_text(content)
    assert said.format(file=file) in refusal("--config", str(file))


def test_help_tells_every_flag_with_its_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_settings(["--help"], {})
    assert ended.value.code == 0
    help = capsys.readouterr().out
    for field in ALL_FIELDS:
        assert re.search(rf"{flag(field.name)}[ ,]", help)
        assert re.search(rf"\b{variable(field.name)}\)", help)


def test_the_fields_of_all_parts_have_names_of_their_own() -> None:
    names = [field.name for field in ALL_FIELDS]
    assert len(names) == len(set(names))
    assert set(names) == set(HELP)


def test_the_version_is_the_one_of_the_project() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


# -- a whole server


@asynccontextmanager
async def serving_on(data_dir: Path, *arguments: str, terminal: int | None = None) -> AsyncIterator[Served]:
    own = ("--port", "0", "--data-dir", str(data_dir))
    async with serving("server.py", *own, *arguments, terminal=terminal) as served:
        yield served


async def run_to_the_end(*arguments: str, told: str = "") -> tuple[int | None, str, str]:
    """(exit status, what it printed, what it complained of)"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "server.py", *arguments, cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    said, complained = await process.communicate(told.encode())
    return process.returncode, said.decode(), complained.decode()


async def complaint(*arguments: str, told: str = "") -> str:
    """The one line of a start that is refused."""
    status, _, complained = await run_to_the_end(*arguments, told=told)
    assert status == 2, complained
    assert complained.startswith("plaudit: ")
    assert complained.count("\n") == 1
    return complained


async def until_said(served: Served, words: str) -> None:
    async with asyncio.timeout(SAID_WITHIN_S):
        while not any(words in line for line in served.output):
            await asyncio.sleep(0.02)


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as client, client.get(url) as response:
        return response.status, await response.text()


async def stop(served: Served, number: signal.Signals) -> float:
    return await ended(served, lambda: served.process.send_signal(number))


async def ended(served: Served, end: Callable[[], None]) -> float:
    """Seconds from ``end`` until it has ended, with status 0 and everything that it had started."""
    family = psutil.Process(served.pid).children(recursive=True)
    assert family
    began = time.monotonic()
    end()
    assert await served.process.wait() == 0
    assert not [child for child in family if lives(child)]
    return time.monotonic() - began


async def test_a_server_starts_serves_its_pages_and_ends_at_ctrl_c_even_while_someone_listens(data_dir: Path) -> None:
    async with serving_on(data_dir) as served, aiohttp.ClientSession() as client:
        assert (await get(f"{served.url}/readyz"))[0] == 200
        assert "<title>" in (await get(f"{served.url}/"))[1]
        assert (await get(f"{served.url}/docs"))[0] == 200
        async with client.ws_connect(f"{served.url}/connection/websocket") as socket:
            await socket.send_json({"id": 1, "connect": {}})
            await socket.receive_json()
            assert await stop(served, signal.SIGINT) < STOPPED_WITHIN_S


async def test_a_single_worker_only_notes_a_hangup(database_dir: Path) -> None:
    async with serving_on(database_dir) as served:
        served.process.send_signal(signal.SIGHUP)
        await until_said(served, "SIGHUP is ignored")
        assert (await get(f"{served.url}/readyz"))[0] == 200
        assert await stop(served, signal.SIGTERM) < STOPPED_WITHIN_S


@pytest.mark.parametrize(("workers", "answer"), [("1", "SIGHUP is ignored"), ("2", "all workers are new")])
async def test_a_server_ends_when_its_terminal_goes_away_and_not_before(
    database_dir: Path, workers: str, answer: str
) -> None:
    ours, terminal = map(os.fdopen, pty.openpty(), ("rb", "rb"))
    with ours, terminal:
        async with serving_on(database_dir, "--workers", workers, terminal=terminal.fileno()) as served:
            served.process.send_signal(signal.SIGHUP)
            await until_said(served, answer)
            assert await ended(served, ours.close) < STOPPED_WITHIN_S


async def test_a_killed_server_starts_again_on_the_same_data(database_dir: Path) -> None:
    async with serving_on(database_dir) as served:
        await served.kill()
    async with serving_on(database_dir) as served:
        assert (await get(f"{served.url}/readyz"))[0] == 200
        assert await stop(served, signal.SIGTERM) < STOPPED_WITHIN_S


async def test_what_is_in_use_is_refused_in_one_line(database_dir: Path) -> None:
    async with serving_on(database_dir) as served:
        assert f"in use by process {served.pid}" in await complaint("--port", "0", "--data-dir", str(database_dir))
        busy = await complaint("--port", str(served.port), "--data-dir", str(database_dir.with_name("other")))
        assert f"port {served.port} of 127.0.0.1: it is in use by another program" in busy
    assert not database_dir.with_name("other").exists()


async def test_a_signal_during_the_start_ends_it_and_what_it_started(data_dir: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "server.py", "--port", "0", "--data-dir", str(data_dir), cwd=ROOT, stdout=PIPE
    )
    while not list(data_dir.glob("postgres-new-*/PG_VERSION")):
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said, _ = await process.communicate()
    assert process.returncode == 0
    assert said == b""
    assert not list(data_dir.glob("postgres*"))


async def test_a_server_whose_database_ends_says_so_and_ends(database_dir: Path) -> None:
    async with serving_on(database_dir) as served:
        os.kill(int((database_dir / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        assert await served.process.wait() == 2
    assert "plaudit: Postgres ended" in served.output[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data-dir", "/dev/null"], "cannot use data directory /dev/null: Not a directory"),
        (["--database-url", "postgresql://nobody@127.0.0.1:1/x"], "database cannot be reached"),
        (["--host", "192.0.2.1"], "cannot listen on port 0 of 192.0.2.1"),
        (["import", "wordpress", "/nowhere.xml"], "cannot read /nowhere.xml: No such file or directory"),
    ],
)
async def test_a_start_that_cannot_succeed_is_refused_in_one_line(arguments: list[str], said: str) -> None:
    assert said in await complaint(*arguments, "--port", "0")


async def test_an_account_can_be_given_a_role_and_the_streams_a_new_epoch(database_dir: Path) -> None:
    at = ["--data-dir", str(database_dir)]
    async with serving_on(database_dir) as served, aiohttp.ClientSession() as client:
        ada = {"handle": "Ada", "name": "Ada", "email": "ada@example.org", "password": "a long password"}
        async with client.post(f"{served.url}/v1/accounts", json=ada) as response:
            assert response.status < 300, await response.text()
    assert "there is no account bob" in await complaint("role", "bob", "admin", *at)
    assert (await run_to_the_end("role", "ada", "admin", *at))[:2] == (
        0,
        "ada is admin now, from the next refresh of a token on\n",
    )
    assert (await run_to_the_end("new-epoch", *at))[0] == 0


async def test_a_lost_password_is_replaced(database_dir: Path) -> None:
    at = ["--data-dir", str(database_dir)]
    ada = {"handle": "ada", "password": "a long password"}
    of_the_host = {"Authorization": f"Bearer {host_token(1)}"}
    async with serving_on(database_dir, "--host-jwt-secret", HOST_SECRET) as served, aiohttp.ClientSession() as client:
        await client.post(f"{served.url}/v1/accounts", json=ada)
        async with client.get(f"{served.url}/v1/me", headers=of_the_host) as response:
            hosted = (await response.json())["handle"]
    assert "8 to 256 characters" in await complaint("password", "ada", *at, told="short\n")
    assert "there is no account bob" in await complaint("password", "bob", *at, told="another password\n")
    assert f"{hosted} signs in without a password" in await complaint("password", hosted, *at, told="a password\n")
    assert (await run_to_the_end("password", "ada", *at, told="another password\n"))[:2] == (
        0,
        "ada has a new password, and is signed out everywhere\n",
    )
    async with serving_on(database_dir) as served, aiohttp.ClientSession() as client:
        for password, status in (("a long password", 401), ("another password", 201)):
            login = {"login": "ada", "password": password}
            async with client.post(f"{served.url}/v1/sessions", json=login) as response:
                assert response.status == status


async def test_an_export_can_be_looked_at_without_any_database(tmp_path: Path) -> None:
    broken = tmp_path / "broken.xml"
    broken.write_text("<rss>\n<channel>\n")
    assert f"cannot import {broken}: line" in await complaint("import", "wordpress", str(broken), "--dry-run")


def test_a_port_that_is_bound_but_not_ours_is_named() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(StartError, match=f"port {port} of 127.0.0.1: it is in use"),
            bound_socket("127.0.0.1", port),
        ):
            pass
