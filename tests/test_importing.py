"""The importer as it is run: the command, a real database, and the pages that show what came in."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT
from tests.protocol.test_wordpress import UNIT_TEST_DATA, comment, export, item
from tests.site import SETTINGS, Site, running_site

DEPTH = 9


async def run_import(file: Path, data_dir: Path, *flags: str) -> tuple[int, str]:
    """The exit status, and what was printed with its white space reduced."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "server.py", "import", "wordpress", str(file), "--data-dir", str(data_dir), *flags,
        cwd=ROOT, stdout=PIPE, stderr=STDOUT, env={**os.environ, **SETTINGS, "COLUMNS": "300"},
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, " ".join(output.decode().replace("│", " ").split())


async def posts(site: Site) -> list[dict[str, Any]]:
    """Up to 100 that are published, oldest first."""
    found: list[dict[str, Any]] = await site.request("GET", "/v1/posts?limit=100")
    return found[::-1]


async def threads(site: Site, post: str) -> list[dict[str, Any]]:
    page: dict[str, Any] = await site.request("GET", f"/v1/posts/{post}/comments?order=oldest&limit=200")
    nodes: list[dict[str, Any]] = page["comments"]
    return nodes


async def test_an_export_is_imported_once_however_often_it_is_run(tmp_path: Path) -> None:
    file, data_dir = tmp_path / "export.xml", tmp_path / "data"
    held = comment(90, fields="<wp:comment_approved>0</wp:comment_approved>")
    chain = "".join(comment(number, number - 1, f"depth {number}") for number in range(1, DEPTH + 2))
    file.write_bytes(export(item("<content:encoded>Some <b>text</b></content:encoded>", chain + held)))

    status, said = await run_import(file, data_dir, "--dry-run")
    assert status == 0
    assert "would be imported" in said
    assert not data_dir.exists()
    for posts_said, comments_said in (("posts 1 0", "comments 10 0"), ("posts 0 1", "comments 0 11")):
        status, said = await run_import(file, data_dir)
        assert status == 0, said
        assert posts_said in said
        assert comments_said in said

    file.write_bytes(file.read_bytes()[:-30])
    status, said = await run_import(file, data_dir)
    assert (status, "line 30: unclosed token" in said) == (2, True), said

    async with running_site("--data-dir", str(data_dir)) as site:
        (post,) = await posts(site)
        assert (post["title"], post["slug"], post["created_at"]) == ("Hello", "hello", "2020-01-02T03:04:05.000Z")
        nodes = await threads(site, post["id"])
        assert [(node["depth"], node["comment"]["body"]) for node in nodes] == [
            (depth, f"depth {depth + 1}") for depth in range(DEPTH + 1)
        ]
        assert nodes[0]["comment"]["author"]["name"] == "Ann"
        assert nodes[0]["comment"]["created_at"] == "2020-01-03T00:00:01.000Z"


@pytest.mark.skipif(not UNIT_TEST_DATA.exists(), reason="WordPress' theme unit test data is not beside the repository")
async def test_wordpress_own_test_data_shows_its_deepest_thread(tmp_path: Path) -> None:
    status, said = await run_import(UNIT_TEST_DATA, tmp_path / "data")
    assert status == 0, said
    async with running_site("--data-dir", str(tmp_path / "data")) as site:
        found = await posts(site)
        assert len(found) == 76
        (post,) = (post for post in found if post["title"] == "Template: Comments")
        nodes = await threads(site, post["id"])
        assert max(node["depth"] for node in nodes) == DEPTH
        assert sum(post["counters"]["comments"] for post in found) == 25
