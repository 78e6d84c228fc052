"""A run of the importer against a site that remembers, refuses and delays."""

from collections.abc import Callable, Coroutine, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import asdict
from rich.console import Console

from protocol.commands import Command, CreatePost, ImportComment, Person
from protocol.errors import DomainError, Overloaded, Refused
from protocol.gateway.backend import Backend
from protocol.gateway.importing import (
    ATTEMPTS_MAX,
    WINDOW,
    Report,
    import_wordpress,
    progress_bar,
    report_table,
    survey,
)
from protocol.views import Ack
from protocol.wordpress import BrokenExport
from tests.protocol.test_wordpress import comment, export, item

ADMIN = Person(id=1, handle="admin", name="Admin", role="admin")


class RecordingBackend:
    """A site that keeps what is asked of it; ``delays`` are the numbers of the asks that it answers "later"."""

    def __init__(self, delays: Sequence[int] = (), refused: Sequence[str] = ()) -> None:
        self.asked: list[tuple[str, Command]] = []
        self.posts: dict[str, CreatePost] = {}
        self.comments: dict[str, ImportComment] = {}
        self.names: dict[tuple[str, str], int] = {}
        self._delays = set(delays)
        self._refused = set(refused)
        self._last_id = 100

    def submit(self, key: str, command: Command, by: Person, op: str | None, reply: Callable[[Any], None]) -> None:
        self.asked.append((key, command))
        try:
            reply(self._answer(key, command))
        except DomainError as error:
            reply(error)

    def _answer(self, key: str, command: Command) -> Ack:
        if len(self.asked) in self._delays:
            raise Overloaded(retry_after_s=0.001)
        match command:
            case CreatePost():
                if command.title in self._refused:
                    raise Refused("refused")
                self.posts[key] = command
            case ImportComment():
                if command.source in self.comments:
                    return Ack(id="1")
                if command.source in self._refused:
                    raise Refused("refused")
                if command.parent_source is not None and command.parent_source not in self.comments:
                    raise Refused("parent_not_found")
                self.comments[command.source] = command
            case _:
                pass
        return Ack(id="1", offset=len(self.asked), version=len(self.asked))

    def new_id(self, at_ms: int | None = None) -> int:
        self._last_id += 1
        return self._last_id

    async def claim_names(self, kind: str, names: Sequence[tuple[str, str]], id: int) -> int | str:
        (name,) = names
        bound = self.names.setdefault(name, id)
        return name[0] if f"post:{bound}" in self.posts else bound

    async def resolve(self, kind: str, name: str) -> int | None:
        return self.names.get((kind, name))


def importing(file: Path, site: RecordingBackend) -> Coroutine[Any, Any, Report]:
    return import_wordpress(file, cast(Backend, site), by=ADMIN, progress=lambda done, total: None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A post with a thread, a pingback, a held comment and spam; a closed page; an attachment."""
    comments = [
        comment(1),
        comment(2, 1),
        comment(3, fields="<wp:comment_type>pingback</wp:comment_type>"),
        comment(4, fields="<wp:comment_approved>0</wp:comment_approved>"),
        comment(5, fields="<wp:comment_approved>spam</wp:comment_approved>"),
    ]
    closed = "<wp:post_type>page</wp:post_type><wp:comment_status>closed</wp:comment_status>"
    attachment = item("<wp:post_type>attachment</wp:post_type>", number=9)
    path = tmp_path / "export.xml"
    path.write_bytes(export(item("", "".join(comments)) + item(closed, comment(6), number=8) + attachment))
    return path


def written(report: Report) -> dict[str, int]:
    numbers = {name: value for name, value in asdict(report).items() if isinstance(value, int) and value}
    return numbers | {"left_out": len(report.left_out)}


ALL = {"posts": 2, "comments": 3, "pingbacks": 1, "held": 1, "left_out": 2}


async def test_posts_and_comments_are_asked_in_under_their_sources(file: Path) -> None:
    site = RecordingBackend()
    assert written(await importing(file, site)) == ALL
    assert {name: id for name, id in site.names.items() if name[0] == "source"} == {
        ("source", "blog.example/en/7"): 101,
        ("source", "blog.example/en/8"): 102,
    }
    assert list(site.posts) == ["post:101", "post:102"]
    assert site.comments["blog.example/en#comment-2"] == ImportComment(
        post="101",
        source="blog.example/en#comment-2",
        body="hi",
        created_at=1_578_009_602_000,
        author=Person(id=0, handle="", name="Ann", role="anonymous"),
        parent_source="blog.example/en#comment-1",
    )
    assert [post.comments_open for post in site.posts.values()] == [True, False]


async def test_two_posts_of_one_title_get_two_slugs(file: Path) -> None:
    site = RecordingBackend()
    await importing(file, site)
    slugs = [post.slug for post in site.posts.values()]
    assert slugs[0] == "hello"
    assert slugs[1].startswith("hello-")


async def test_a_second_run_adds_nothing(file: Path) -> None:
    site = RecordingBackend()
    await importing(file, site)
    posts, comments = dict(site.posts), dict(site.comments)
    assert written(await importing(file, site)) == {"posts_known": 2, "comments_known": 5, "left_out": 2}
    assert (site.posts, site.comments) == (posts, comments)


async def test_a_post_that_was_claimed_but_never_made_is_made_under_the_same_id(file: Path) -> None:
    site = RecordingBackend()
    site.names["source", "blog.example/en/7"] = 55
    await importing(file, site)
    assert "post:55" in site.posts


async def test_what_is_answered_later_is_asked_again_from_there_on(file: Path) -> None:
    # The third ask is the reply's parent, the fourth the reply, refused because its parent is not there yet.
    site = RecordingBackend(delays=[1, 3])
    assert written(await importing(file, site)) == ALL
    assert "blog.example/en#comment-2" in site.comments


async def test_a_site_that_only_says_later_ends_the_run(file: Path) -> None:
    site = RecordingBackend(delays=range(2, 1000))
    with pytest.raises(Overloaded):
        await importing(file, site)
    assert len(site.asked) == 1 + 4 * ATTEMPTS_MAX


async def test_what_is_refused_stands_in_the_report_with_its_replies_and_the_rest_goes_on(file: Path) -> None:
    site = RecordingBackend(refused=["blog.example/en#comment-1"])
    report = await importing(file, site)
    assert [(left.what, left.reason) for left in report.left_out if "refused" in left.reason] == [
        ("blog.example/en#comment-1", "comment refused: the store refused the data"),
        ("blog.example/en#comment-2", "comment refused: the parent comment does not exist or is deleted"),
    ]
    assert "blog.example/en#comment-6" in site.comments


async def test_a_refused_post_takes_its_comments_with_it(file: Path) -> None:
    site = RecordingBackend(refused=["Hello"])
    report = await importing(file, site)
    assert not site.comments
    assert sum(left.reason == "post refused: the store refused the data" for left in report.left_out) == 2


async def test_a_broken_file_changes_nothing(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])
    site = RecordingBackend()
    with pytest.raises(BrokenExport):
        await importing(file, site)
    assert not site.asked
    assert not site.names


async def test_many_comments_are_asked_in_windows_and_progress_ends_at_its_total(tmp_path: Path) -> None:
    file = tmp_path / "export.xml"
    file.write_bytes(export(item("", "".join(comment(number, number - 1) for number in range(1, 2 * WINDOW + 2)))))
    site, seen = RecordingBackend(), list[tuple[int, int]]()
    await import_wordpress(file, cast(Backend, site), by=ADMIN, progress=lambda done, total: seen.append((done, total)))
    total = 2 * WINDOW + 2
    assert seen == [(done, total) for done in (0, 1, 1 + WINDOW, 1 + 2 * WINDOW, total)]


def test_a_dry_run_reports_what_a_run_would_do(file: Path) -> None:
    assert written(survey(file)) == ALL


def test_the_progress_bar_counts_what_is_done() -> None:
    console = Console(width=100, file=StringIO(), force_terminal=True)
    with progress_bar(console) as progress:
        progress(3, 33)
    assert isinstance(console.file, StringIO)
    assert "3/33" in console.file.getvalue().replace(" ", "")


def test_the_report_is_a_table(file: Path) -> None:
    console = Console(width=100, record=True, file=StringIO())
    console.print(report_table(survey(file), dry_run=True))
    lines = [" ".join(line.replace("│", " ").split()) for line in console.export_text().splitlines()]
    assert "posts 2 0" in lines
    assert "held for approval 1" in lines
    assert "comment in spam (line 16) 1" in lines
