"""A run of the WordPress importer: the export is read twice, first to the end without touching anything, then asked in.

Every post and comment is asked under the name it has in the export, so a run that broke off is simply repeated, and a
repeated run adds nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import TypeGuard

from msgspec import Struct
from rich.console import Console
from rich.progress import MofNCompleteColumn
from rich.progress import Progress as Bar
from rich.table import Table

from protocol.commands import Command, CreatePost, ImportComment, Person
from protocol.errors import DomainError, Unavailable
from protocol.gateway.backend import Answer, Backend
from protocol.slugs import slug_candidates
from protocol.views import Ack
from protocol.wordpress import ExportedComment, ExportedPost, LeftOut, read_export

CHUNK_BYTES = 1 << 16
WINDOW = 64
"""Comments asked at once, of one post: well below what a mailbox holds."""
ATTEMPTS_MAX = 20
"""Of one window that is answered "later" without any progress, before the run gives up."""
LINES_SHOWN_MAX = 3
"""Of one reason for leaving something out; beyond that the number says enough."""

Progress = Callable[[int, int], None]
"""Called with (posts and comments done, all there are)."""


class Report(Struct, kw_only=True):
    """What a run did; of a dry run, what the export holds, as if all of it were new."""

    posts: int = 0
    comments: int = 0
    """Neither pingbacks nor held."""
    pingbacks: int = 0
    held: int = 0
    posts_known: int = 0
    """Imported by an earlier run."""
    comments_known: int = 0
    left_out: list[LeftOut] = []

    @property
    def total(self) -> int:
        """All posts and comments that are carried over."""
        return self.posts + self.posts_known + self.comments + self.pingbacks + self.held + self.comments_known

    def count(self, comment: ExportedComment) -> None:
        if comment.held:
            self.held += 1
        elif comment.kind == "pingback":
            self.pingbacks += 1
        else:
            self.comments += 1


def survey(export: Path) -> Report:
    """What a run over a fresh site would do: the whole of ``--dry-run``.

    Raises:
        BrokenExport: With the line and the reason.
        OSError: The file cannot be read.
    """
    report = Report(left_out=[])
    for found in _read(export):
        if isinstance(found, LeftOut):
            report.left_out.append(found)
            continue
        report.posts += 1
        report.left_out += found.left_out
        for comment in found.comments:
            report.count(comment)
    return report


async def import_wordpress(export: Path, backend: Backend, *, by: Person, progress: Progress) -> Report:
    """Carry the posts and comments of ``export`` over, as posts of ``by``, who must be a moderator.

    Raises:
        BrokenExport: With the line and the reason; nothing was changed.
        OSError: The file cannot be read; nothing was changed.
        DomainError: The site stopped serving; what was done is done, and another run goes on from there.
    """
    total = survey(export).total
    report = Report(left_out=[])
    progress(0, total)
    for found in _read(export):
        if isinstance(found, LeftOut):
            report.left_out.append(found)
        else:
            await _Import(found, backend, by, report, lambda: progress(report.total, total)).run()
    return report


def report_table(report: Report, *, dry_run: bool = False) -> Table:
    """The report for people: what was carried over, what was there, and what was left out for which reason."""
    table = Table("", "would be imported" if dry_run else "imported", "already there", title="WordPress import")
    table.columns[1].justify = table.columns[2].justify = "right"
    table.add_row("posts", f"{report.posts:,}", f"{report.posts_known:,}")
    table.add_row("comments", f"{report.comments:,}", f"{report.comments_known:,}")
    table.add_row("pingbacks", f"{report.pingbacks:,}")
    table.add_row("held for approval", f"{report.held:,}")
    reasons = Counter(left.reason for left in report.left_out)
    if reasons:
        table.add_section()
        table.add_row("left out", "", "")
    for reason, count in reasons.most_common():
        lines = [str(left.line) for left in report.left_out if left.reason == reason]
        where = f" (line {', '.join(lines)})" if count <= LINES_SHOWN_MAX else ""
        table.add_row(f"  {reason}{where}", f"{count:,}")
    return table


@contextmanager
def progress_bar(console: Console) -> Iterator[Progress]:
    """A bar on ``console`` for as long as the context lasts."""
    with Bar(*Bar.get_default_columns(), MofNCompleteColumn(), console=console) as bar:
        task = bar.add_task("Importing", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _read(export: Path) -> Iterator[ExportedPost | LeftOut]:
    with export.open("rb") as file:
        yield from read_export(iter(lambda: file.read(CHUNK_BYTES), b""))


class _Import:
    """One post on its way in, with its comments."""

    def __init__(
        self, post: ExportedPost, backend: Backend, by: Person, report: Report, advance: Callable[[], None]
    ) -> None:
        self._post = post
        self._backend = backend
        self._by = by
        self._report = report
        self._advance = advance

    async def run(self) -> None:
        post_id, new = await self._claim()
        if new and not await self._create(post_id):
            return
        self._report.posts += new
        self._report.posts_known += not new
        self._report.left_out += self._post.left_out
        self._advance()
        comments = self._post.comments
        for start in range(0, len(comments), WINDOW):
            await self._import_comments(post_id, comments[start : start + WINDOW])

    async def _claim(self) -> tuple[int, bool]:
        """The id that the post has here, and whether the post is still to be made."""
        name = ("source", self._post.source)
        claimed = await self._backend.claim_names("post", [name], self._backend.new_id(self._post.created_ms))
        if isinstance(claimed, int):
            return claimed, True
        known = await self._backend.resolve(*name)
        if known is None:
            raise Unavailable(f"the name {self._post.source} was given back meanwhile")
        return known, False

    async def _create(self, post_id: int) -> bool:
        """Make the post; False if it is refused, which the report then says."""
        post = self._post
        creation = CreatePost(
            post=str(post_id),
            title=post.title,
            body=post.body,
            slug=await self._free_slug(post_id),
            tags=post.tags,
            state=post.state,
            publish_at=post.publish_ms,
            created_at=post.created_ms,
            comments_open=post.comments_open,
        )
        (answer,) = await self._persist(f"post:{post_id}", [creation])
        if isinstance(answer, DomainError):
            self._report.left_out.append(LeftOut(post.line, post.source, f"post refused: {answer.detail}"))
        return not isinstance(answer, DomainError)

    async def _free_slug(self, post_id: int) -> str:
        for slug in slug_candidates(self._post.slug or self._post.title, post_id):
            if await self._backend.claim_names("post", [("slug", slug)], post_id) == post_id:
                return slug
        return ""

    async def _import_comments(self, post_id: int, comments: Sequence[ExportedComment]) -> None:
        answers = await self._persist(f"post:{post_id}", [_command(post_id, comment) for comment in comments])
        for comment, answer in zip(comments, answers, strict=True):
            if isinstance(answer, DomainError):
                self._report.left_out.append(LeftOut(comment.line, comment.source, f"comment refused: {answer.detail}"))
            elif isinstance(answer, Ack) and answer.version is None:
                # Only what changes something has a version.
                self._report.comments_known += 1
            else:
                self._report.count(comment)
        self._advance()

    async def _persist(self, key: str, commands: Sequence[Command]) -> list[Answer | DomainError]:
        """The answers to ``commands``, asked in order until none is "later".

        To repeat is harmless, since every command here is idempotent; a comment whose first outcome was unknown may
        then be reported as already there.
        """
        answers: dict[int, Answer | DomainError] = {}
        pending = list(range(len(commands)))
        delay: DomainError = Unavailable()
        for _ in range(ATTEMPTS_MAX):
            answered = await self._ask_in_order(key, [commands[at] for at in pending])
            answers.update(zip(pending, answered, strict=True))
            delayed = [(at, answer) for at, answer in answers.items() if _is_later(answer)]
            if not delayed:
                return [answers[at] for at in range(len(commands))]
            first, delay = min(delayed, key=itemgetter(0))
            # What follows may have been refused only because its parent was late.
            pending = [at for at in pending if at >= first and isinstance(answers[at], DomainError)]
            await asyncio.sleep(delay.retry_after_s or 1.0)
        raise delay

    async def _ask_in_order(self, key: str, commands: Sequence[Command]) -> list[Answer | DomainError]:
        replies: list[asyncio.Future[Answer | DomainError]] = []
        for command in commands:
            reply = asyncio.get_running_loop().create_future()
            replies.append(reply)
            self._backend.submit(key, command, self._by, None, reply.set_result)
        return await asyncio.gather(*replies)


def _command(post_id: int, comment: ExportedComment) -> ImportComment:
    return ImportComment(
        post=str(post_id),
        source=comment.source,
        body=comment.body,
        created_at=comment.created_ms,
        author=Person(id=0, handle="", name=comment.name, role="anonymous", url=comment.url),
        parent_source=comment.parent_source,
        kind=comment.kind,
        held=comment.held,
    )


def _is_later(answer: Answer | DomainError) -> TypeGuard[DomainError]:
    return isinstance(answer, DomainError) and answer.meaning.temporary
