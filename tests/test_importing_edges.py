"""The importer of edge lists as it is run: the command, a real database, and a server that knows the people."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from tests.processes import ROOT
from tests.site import SETTINGS, host_token, running_site

SNAP_GRAPH = Path(__file__).parents[2] / "shared" / "data" / "snap-facebook-graph.txt"


async def run_import(file: Path, data_dir: Path, *flags: str) -> tuple[int, str]:
    """The exit status, and what was printed with its white space reduced."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "server.py", "import", "graph", str(file), "--data-dir", str(data_dir), *flags,
        cwd=ROOT, stdout=PIPE, stderr=STDOUT, env={**os.environ, **SETTINGS, "COLUMNS": "300"},
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, " ".join(output.decode().replace("│", " ").split())


async def test_people_of_an_edge_list_are_users_of_the_host_site_who_follow_each_other(tmp_path: Path) -> None:
    file, data_dir = tmp_path / "edges.txt", tmp_path / "data"
    file.write_text("# follower followee\n1 2\n3 2\n")
    status, said = await run_import(file, data_dir)
    assert (status, "people 3" in said, "edges 2 0" in said) == (0, True, True), said
    status, said = await run_import(file, data_dir, "--undirected")
    assert (status, "people 0" in said, "edges 2 2" in said) == (0, True, True), said

    file.write_text("1 4\nnobody\n5 5\n")
    status, said = await run_import(file, data_dir)
    assert status == 2
    assert "line 2 has 1 word, not two line 3 has 5 follow 5 plaudit: cannot import" in said
    assert "2 of its lines are no edges; nothing was imported" in said

    async with running_site("--data-dir", str(data_dir)) as site:
        me = await site.request("GET", "/v1/me", token=host_token(2))
        assert (me["handle"], me["followers"], me["following"]) == ("p2", 2, 2)
        followers = await site.request("GET", "/v1/users/p2/followers")
        assert sorted(each["handle"] for each in followers) == ["p1", "p3"]
        post = await site.request("POST", "/v1/posts", {"title": "Hello"}, token=host_token(2, "author"))
        for reader in (1, 2, 3):
            page = await site.request("GET", "/v1/timeline", token=host_token(reader))
            assert [each["id"] for each in page["posts"]] == [post["id"]]
        file.write_text("1 4\n")
        status, said = await run_import(file, data_dir)
        assert (status, "in use" in said) == (2, True), said


async def test_what_cannot_be_imported_is_said_in_one_line(tmp_path: Path) -> None:
    status, said = await run_import(tmp_path / "missing.txt", tmp_path / "data")
    assert (status, said) == (2, f"plaudit: cannot read {tmp_path / 'missing.txt'}: No such file or directory")
    for flags, complaint in (
        (("--dry-run",), "--dry-run is for wordpress"),
        (("--author", "ann"), "--author is for wordpress"),
    ):
        status, said = await run_import(tmp_path / "missing.txt", tmp_path / "data", *flags)
        assert (status, complaint in said) == (2, True), said
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(not SNAP_GRAPH.exists(), reason="SNAP's ego-Facebook graph is not beside the repository")
async def test_snaps_graph_of_facebook_is_imported_whole(tmp_path: Path) -> None:
    status, said = await run_import(SNAP_GRAPH, tmp_path / "data", "--undirected")
    assert (status, "people 4,039" in said, "edges 176,468 0" in said) == (0, True, True), said
    async with running_site("--data-dir", str(tmp_path / "data")) as site:
        # The person with the most friends.
        person = await site.request("GET", "/v1/users/p107")
        assert (person["followers"], person["following"]) == (1_045, 1_045)
