"""The embedded Postgres: every way to start it, to lose it, and to find its data again."""

import asyncio
import os
import pwd
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from store.children import User, child_setup, unprivileged_user
from store.embedded import EmbeddedError, EmbeddedPostgres, binary
from tests.processes import lives

ROOT = Path(__file__).parents[2]

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be someone else")

SERVE_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from store.embedded import EmbeddedPostgres

async def main():
    async with EmbeddedPostgres(Path(sys.argv[1])) as postgres:
        print(postgres.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def used() -> Iterator[Path]:
    """A data directory that one test after the other uses, and leaves usable."""
    with tempfile.TemporaryDirectory(prefix="pl-") as directory:
        asyncio.run(make_database(Path(directory) / "data"))
        yield Path(directory) / "data"


async def fetch(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def postmaster(data_dir: Path) -> psutil.Process:
    return psutil.Process(int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0]))


def serve_in_another_process(data_dir: Path, user: User | None = None) -> tuple[subprocess.Popen[str], str]:
    """A process that runs the embedded Postgres until it is killed, and the URL."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE_UNTIL_KILLED, str(data_dir)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=None if user is None else child_setup(user, signal.SIGKILL),
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    process.stdout.close()
    assert url, "it did not start"
    return process, url


async def make_database(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir):
        pass


async def refusal(data_dir: Path) -> str:
    with pytest.raises(EmbeddedError) as caught:
        await make_database(data_dir)
    message = str(caught.value)
    assert "\n" not in message
    return message


async def test_a_new_directory_becomes_a_durable_database_without_a_superuser(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir) as postgres:
        assert await fetch(postgres.url, "SELECT current_setting('server_version_num')::int / 10000") == 18
        assert await fetch(postgres.url, "SHOW fsync") == "on"
        assert await fetch(postgres.url, "SHOW synchronous_commit") == "on"
        assert await fetch(postgres.url, "SHOW listen_addresses") == ""
        assert await fetch(postgres.url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        assert await fetch(postgres.url, "SELECT lower('ÄÉ')") == "äé"
    assert data_dir.stat().st_mode & 0o777 == 0o700


async def test_a_second_start_finds_the_data(used: Path) -> None:
    async with EmbeddedPostgres(used) as postgres:
        await fetch(postgres.url, "CREATE TABLE kept_by_a_stop AS SELECT 7 AS n")
    async with EmbeddedPostgres(used) as postgres:
        assert await fetch(postgres.url, "SELECT n FROM kept_by_a_stop") == 7


async def test_leaving_ends_postgres_and_frees_the_directory(used: Path) -> None:
    async with EmbeddedPostgres(used):
        running = postmaster(used)
    assert not lives(running)
    assert not (used / "postgres" / "postmaster.pid").exists()


async def test_a_second_server_on_the_same_data_is_refused_and_told_who_has_it(used: Path) -> None:
    async with EmbeddedPostgres(used) as postgres:
        assert await refusal(used) == f"data directory {used} is in use by process {os.getpid()}"
        assert await fetch(postgres.url, "SELECT 1") == 1


async def test_what_was_committed_before_a_kill_is_there_after_it(used: Path) -> None:
    process, url = serve_in_another_process(used)
    await fetch(url, "CREATE TABLE kept AS SELECT 7 AS n")
    orphan = postmaster(used)
    process.kill()
    process.wait()
    async with EmbeddedPostgres(used) as postgres:
        assert not lives(orphan)
        assert await fetch(postgres.url, "SELECT n FROM kept") == 7


async def test_a_power_cut_takes_nothing_whatever_the_directory_is_called(data_dir: Path) -> None:
    named_like_ours = data_dir / "plaudit-blog"
    process, url = serve_in_another_process(named_like_ours)
    await fetch(url, "CREATE TABLE kept AS SELECT 7 AS n")
    killed = postmaster(named_like_ours)
    killed.kill()
    process.kill()
    process.wait()
    async with EmbeddedPostgres(named_like_ours) as postgres:
        assert await fetch(postgres.url, "SELECT n FROM kept") == 7


@pytest.mark.skipif(sys.platform != "linux", reason="only the Linux kernel tells a child of its parent's death")
async def test_postgres_ends_by_itself_when_the_server_is_killed(used: Path) -> None:
    process, _ = serve_in_another_process(used)
    orphan = postmaster(used)
    process.kill()
    process.wait()
    while lives(orphan):
        await asyncio.sleep(0.01)


async def test_a_postgres_that_nobody_stopped_is_stopped_by_the_next_start(used: Path) -> None:
    directory = used / "postgres"
    subprocess.run(
        [binary("pg_ctl"), "start", "--wait", "-D", directory, "-l", "/dev/null", "-o", f"-h '' -k {directory}"],
        check=True,
        cwd="/",
        stdout=subprocess.DEVNULL,
        preexec_fn=child_setup(unprivileged_user(directory), signal.SIGKILL),
    )
    leftover = postmaster(used)
    async with EmbeddedPostgres(used) as postgres:
        assert not lives(leftover)
        assert await fetch(postgres.url, "SELECT 1") == 1


async def test_a_stale_process_id_that_is_another_programs_by_now_is_left_alone(used: Path) -> None:
    directory = used / "postgres"
    user = unprivileged_user(directory)
    bystander = subprocess.Popen(["sleep", "60"], preexec_fn=child_setup(user, signal.SIGKILL))
    stale = f"{bystander.pid}\n{directory}\n1700000000\n5432\n{directory}\n\n1 1\nready\n"
    for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
        (directory / name).write_text(stale)
        if user is not None:
            os.chown(directory / name, *user)
    try:
        async with EmbeddedPostgres(used) as postgres:
            assert await fetch(postgres.url, "SELECT 1") == 1
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_ctrl_c_in_a_terminal_does_not_reach_postgres(used: Path) -> None:
    async with EmbeddedPostgres(used):
        assert os.getsid(postmaster(used).pid) != os.getsid(0)


async def test_the_end_of_postgres_is_noticed_and_explained(used: Path) -> None:
    async with EmbeddedPostgres(used) as postgres:
        postmaster(used).send_signal(signal.SIGQUIT)
        reason = await postgres.ended()
    assert reason.startswith("Postgres ended: ")
    assert str(used / "postgres.log") in reason


async def test_a_start_cut_short_leaves_nothing_half_made(data_dir: Path) -> None:
    start = asyncio.create_task(make_database(data_dir))
    while not list(data_dir.glob("postgres-new-*/PG_VERSION")):
        await asyncio.sleep(0)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert sorted(path.name for path in data_dir.iterdir()) == ["lock"]
    await make_database(data_dir)


async def test_what_a_killed_start_left_half_made_is_removed(data_dir: Path) -> None:
    (data_dir / "postgres-new-abandoned" / "base").mkdir(parents=True)
    await make_database(data_dir)
    assert sorted(path.name for path in data_dir.iterdir()) == ["lock", "postgres", "postgres.log"]


async def test_a_path_too_long_or_too_odd_for_a_socket_works_all_the_same(data_dir: Path) -> None:
    odd = data_dir / "my blog, übrigens %20" / ("long" * 25)
    process, url = serve_in_another_process(odd)
    assert "plaudit-" in url
    process.kill()
    process.wait()
    async with EmbeddedPostgres(odd) as postgres:
        assert await fetch(postgres.url, "SELECT 1") == 1
        elsewhere = Path(postgres.url.partition("host=")[2])
        assert elsewhere.stat().st_mode & 0o777 == 0o700
    assert not elsewhere.exists()
    assert not Path(url.partition("host=")[2]).exists()


async def test_a_space_in_the_path_needs_no_other_place(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir / "my blog") as postgres:
        assert "my%20blog" in postgres.url
        assert await fetch(postgres.url, "SELECT 1") == 1


async def test_a_log_that_has_grown_makes_room_once(used: Path) -> None:
    (used / "postgres.log").write_bytes(b"." * ((1 << 20) + 1))
    await make_database(used)
    assert (used / "postgres.log").stat().st_size < 10_000
    assert (used / "postgres.log.1").stat().st_size == (1 << 20) + 1


@only_root
async def test_an_ordinary_user_needs_nothing_of_root(data_dir: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    data_dir.mkdir(mode=0o700)
    os.chown(data_dir, nobody.pw_uid, nobody.pw_gid)
    process, url = serve_in_another_process(data_dir, User(nobody.pw_uid, nobody.pw_gid))
    try:
        assert postmaster(data_dir).uids().real == nobody.pw_uid
        assert await fetch(url, "SELECT 1") == 1
    finally:
        process.terminate()
        process.wait()


@only_root
async def test_root_gives_up_everything_but_the_way_through_private_directories(used: Path) -> None:
    async with EmbeddedPostgres(used):
        running = postmaster(used)
        assert 0 not in running.uids()
        assert 0 not in running.gids()
        status = Path(f"/proc/{running.pid}/status").read_text()
        assert int(status.partition("CapEff:")[2].split()[0], 16).bit_count() <= 1
    assert used.parent.stat().st_mode & 0o077 == 0


@only_root
def test_a_child_of_root_can_run_what_lies_in_a_private_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nid -u\n")
    program.chmod(0o755)
    # Postgres asks access() before it runs a program, which regards less than running it does.
    command = ["/bin/sh", "-c", 'test -x "$0" && exec "$0"', str(program)]
    setup = child_setup(User(65534, 65534), signal.SIGKILL)
    done = subprocess.run(command, cwd="/", stdout=subprocess.PIPE, text=True, check=True, preexec_fn=setup)
    assert done.stdout == "65534\n"


# -- what cannot be used


def a_file_instead(data_dir: Path) -> None:
    data_dir.write_text("")


def a_file_instead_of_the_database(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "postgres").write_text("")


def something_else(data_dir: Path) -> None:
    (data_dir / "postgres" / "photos").mkdir(parents=True)


def version(content: bytes) -> Callable[[Path], None]:
    def lay(data_dir: Path) -> None:
        (data_dir / "postgres").mkdir(parents=True)
        (data_dir / "postgres" / "PG_VERSION").write_bytes(content)

    return lay


@pytest.mark.parametrize(
    ("lay", "said"),
    [
        (a_file_instead, "Not a directory"),
        (a_file_instead_of_the_database, "no file PG_VERSION"),
        (something_else, "no file PG_VERSION"),
        (version(b""), "PG_VERSION is damaged"),
        (version(b"\xff\x00garbage"), "PG_VERSION is damaged"),
        (version(b"16\n"), "made by Postgres 16"),
    ],
)
async def test_what_is_no_database_of_ours_is_refused_in_one_line(
    data_dir: Path, lay: Callable[[Path], None], said: str
) -> None:
    lay(data_dir)
    message = await refusal(data_dir)
    assert str(data_dir) in message
    assert said in message


async def test_a_damaged_database_is_refused_with_what_postgres_says_of_it(data_dir: Path) -> None:
    await make_database(data_dir)
    directory = data_dir / "postgres"
    control = directory / "global" / "pg_control"

    for segment in (directory / "pg_wal").glob("0*"):
        segment.unlink()
    said = await refusal(data_dir)
    assert "could not locate a valid checkpoint record" in said
    assert str(data_dir / "postgres.log") in said

    control.write_bytes(b"\xaa" * control.stat().st_size)
    assert "database files are incompatible with server" in await refusal(data_dir)

    control.unlink()
    assert "pg_control" in await refusal(data_dir)


async def test_a_directory_that_cannot_be_made_is_refused_in_one_line() -> None:
    assert "cannot use data directory /dev/null/data: " in await refusal(Path("/dev/null/data"))


@only_root
async def test_a_database_that_belongs_to_root_is_refused_in_one_line(data_dir: Path) -> None:
    version(b"18\n")(data_dir)
    assert "belongs to user 0, but Postgres would run as user" in await refusal(data_dir)
