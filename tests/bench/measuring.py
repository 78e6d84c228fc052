"""What measures: the time that a process has used, and the spread of a figure over rounds."""

import ctypes
import os
from collections.abc import Sequence
from statistics import median
from time import clock_gettime
from typing import NamedTuple


class Spread(NamedTuple):
    """A figure of several rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(median(values), min(values), max(values))


def spread_of(values: Sequence[float]) -> str:
    """The spread for people."""
    few = max(values) < 100
    return "{} ({}–{})".format(*(f"{value:.1f}" if few else f"{value:,.0f}" for value in Spread.of(values)))


def cpu_s(pid: int) -> float:
    """What the process has used so far, in all its threads, to the nanosecond: ``/proc`` counts in hundredths."""
    clock = ctypes.c_int()
    failed = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if failed:
        raise ProcessLookupError(failed, os.strerror(failed))
    return clock_gettime(clock.value)
