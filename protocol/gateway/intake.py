"""Publishes what other systems hand in without HTTP: every worker takes its part, and each post is made once.

What can never be published is rejected, with the reason; what cannot be published now stays where it is, and comes
again: here, or on whichever worker asks then.
"""

import asyncio
import logging
import math
from typing import Final, NamedTuple, NoReturn

from prometheus_client import CollectorRegistry, Counter, Gauge

from protocol.accounts import AccountView, ReadAccount
from protocol.commands import ANONYMOUS, Person
from protocol.errors import DomainError, Refused, Unavailable
from protocol.exchange import Submission, Verdict, decode_submission
from protocol.gateway.backend import Backend, Submissions
from protocol.gateway.writing import Writing

AT_ONCE: Final = 16
"""Submissions taken together, and published at the same time."""
PAUSE_MIN_S: Final = 0.5
PAUSE_MAX_S: Final = 10.0
"""Between two tries while something is in the way."""
REASON_CHARS_MAX: Final = 200

log = logging.getLogger("plaudit.intake")


class IntakeMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.submissions = Counter(
            "plaudit_submissions",
            "Posts that other systems handed in: accepted, rejected, or to be tried again.",
            ["outcome"],
            registry=registry,
        )
        # Each worker tells the same: what waits for one waits for all.
        self._waiting = Gauge(
            "plaudit_submissions_waiting",
            "Posts that other systems handed in, and that no worker has finished; NaN: not known.",
            registry=registry,
        )
        self._pending = Gauge(
            "plaudit_submissions_pending", "Those of them that a worker has taken; NaN: not known.", registry=registry
        )

    def set_backlog(self, waiting: float, pending: float) -> None:
        self._waiting.set(waiting)
        self._pending.set(pending)


class Outcome(NamedTuple):
    """What became of some submissions; those in neither list are to be tried again."""

    accepted: list[str]
    rejected: list[Verdict]


class Intake:
    """One a worker. The handle that a submission names is believed: who can hand in is trusted."""

    def __init__(self, backend: Backend, submissions: Submissions, registry: CollectorRegistry) -> None:
        self._backend = backend
        self._submissions = submissions
        self._writing = Writing(backend)
        self._metrics = IntakeMetrics(registry)

    async def run(self) -> NoReturn:
        """Publish until cancelled."""
        pause_s = PAUSE_MIN_S
        while True:
            try:
                all_finished = await self._turn()
            except Unavailable:
                self._metrics.set_backlog(math.nan, math.nan)
                all_finished = False
            except Exception:
                log.exception("what other systems hand in waits")
                all_finished = False
            if all_finished:
                pause_s = PAUSE_MIN_S
                continue
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def _turn(self) -> bool:
        """Take some, and finish those that can be; whether these were all. Raises ``Unavailable``."""
        taken = await self._submissions.take(AT_ONCE)
        # Lists go by ids: they stand there as they were handed in.
        results = await asyncio.gather(*(self._publish(each, self._backend.new_id()) for each in taken))
        outcome = Outcome([], [])
        for submission, result in zip(taken, results, strict=True):
            if result is None:
                outcome.accepted.append(submission.id)
            elif not result.meaning.temporary:
                outcome.rejected.append(Verdict(submission, result.code, _in_one_line(result.detail)))
        await self._submissions.finish(*outcome)
        left = len(taken) - len(outcome.accepted) - len(outcome.rejected)
        self._count(outcome, left)
        self._metrics.set_backlog(*await self._submissions.backlog())
        return not left

    async def _publish(self, submission: Submission, new_id: int) -> DomainError | None:
        """Make its post, unless that was done; why it cannot be."""
        try:
            author, post = decode_submission(submission)
            by = await self._author(author)
            # It begins with a blank, as no operation id of a client's does.
            await self._writing.create(new_id, post, by, f" submitted {submission.id}")
        except DomainError as error:
            # It was made long ago, or is deleted by now.
            return None if error.code == "already_exists" else error
        except Exception:
            log.exception("what was handed in as %s waits", submission.id)
            return DomainError("internal")
        return None

    async def _author(self, handle: str) -> Person:
        """Who has the handle, which guests and the deleted do not. Raises ``DomainError``."""
        number = await self._backend.resolve("handle", handle)
        if number is None:
            raise Refused("account_not_found", f"author: nobody is called {handle}")
        account: AccountView = await self._backend.ask(f"user:{number}", ReadAccount(account=number), ANONYMOUS)
        return account.person

    def _count(self, outcome: Outcome, left: int) -> None:
        counted = (("accepted", len(outcome.accepted)), ("rejected", len(outcome.rejected)), ("again", left))
        for name, count in counted:
            self._metrics.submissions.labels(name).inc(count)
        for submission, code, reason in outcome.rejected:
            log.warning("what was handed in as %s is rejected: %s: %s", submission.id, code, reason)


def _in_one_line(detail: str) -> str:
    """What a log can take: the names of fields, which it may quote, are anything."""
    return " ".join(detail.split())[:REASON_CHARS_MAX]
