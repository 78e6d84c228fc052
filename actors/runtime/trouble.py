"""What fails again and again, told so that the log stays readable: when it begins, now and then, when it is over."""

import logging
from collections.abc import Callable

TOLD_EVERY_S = 30.0


class Trouble:
    """``what`` fails: a warning when it begins, and while it lasts not more than one in ``TOLD_EVERY_S``."""

    def __init__(self, what: str, log: logging.Logger, clock: Callable[[], float]) -> None:
        self._what = what
        self._log = log
        self._clock = clock
        self._since: float | None = None
        self._told_at = 0.0

    @property
    def lasts(self) -> bool:
        return self._since is not None

    def met(self, error: Exception) -> None:
        """It has failed once, or once more."""
        now = self._clock()
        if self._since is None:
            self._since = now
        elif now - self._told_at < TOLD_EVERY_S:
            return
        self._told_at = now
        self._log.warning("not %s: %s", self._what, error)

    def over(self) -> None:
        """It has not failed; whatever there was is over."""
        if self._since is not None:
            self._log.info("%s again, after %.1f s", self._what, self._clock() - self._since)
            self._since = None
