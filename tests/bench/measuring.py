"""What measures: the time that a process has used, the spread of a figure over rounds, and what it needs."""

import ctypes
import os
import resource
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import clock_gettime
from typing import NamedTuple

SPARE_FILES = 200
"""What a process has open besides its connections."""


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


def resident_bytes(pid: int) -> int:
    """What of the process is in memory, to the page: ``/proc/…/statm`` is counted in batches."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (resident,) = (line.split()[1] for line in lines if line.startswith("Rss:"))
    return 1024 * int(resident)


def missing(connections: int, *, compiler: bool = True) -> str | None:
    """What is not here that a benchmark of so many connections cannot do without."""
    if (os.cpu_count() or 1) < 2:
        return "it needs two cores, one for the servers and one for the generator"
    if compiler and shutil.which("cc") is None:
        return "there is no C compiler (cc) for its generator"
    if (allowed := _files_allowed()) < connections + SPARE_FILES:
        return f"{connections:,} connections need more open files than the {allowed:,} allowed (ulimit -Hn)"
    return None


def _files_allowed() -> int:
    """How many files a process may have open, once it asks for all; it and those that it starts may from now on."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
