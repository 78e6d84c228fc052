"""``RESULTS.md``: sections of one file, each written by the benchmark that it is of."""

import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import psutil

RESULTS = Path(__file__).parent / "RESULTS.md"


def put_section(text: str, file: Path = RESULTS) -> None:
    """Write ``text``, which begins with its ``# title``, in place of the section of that title, or after all others."""
    title = text.partition("\n")[0]
    before = file.read_text() if file.exists() else ""
    parts = (part.strip() for part in re.split(r"^(?=# )", before, flags=re.MULTILINE))
    sections = [f"{part}\n" for part in parts if part]
    titles = [section.partition("\n")[0] for section in sections]
    if title in titles:
        sections[titles.index(title)] = text.strip() + "\n"
    else:
        sections.append(text.strip() + "\n")
    file.write_text("\n".join(sections))


def concluded(
    text: str, shortcomings: Iterable[str], *, trial: bool, plots: Mapping[str, str] = MappingProxyType({})
) -> int:
    """Show the results, and write them unless they are those of a ``trial``: the section, and SVG by name.

    Returns the status of the benchmark: 1 if it stays behind what is promised, which is said as an error.
    """
    print("\n" + text)
    if trial:
        print("A trial, of which the results are not written.")
        return 0
    put_section(text, RESULTS)
    for name, plot in plots.items():
        (RESULTS.parent / "plots" / f"{name}.svg").write_text(plot)
    found = list(shortcomings)
    for shortcoming in found:
        print(shortcoming, file=sys.stderr)
    return 1 if found else 0


def machine() -> str:
    """What the figures were taken on."""
    return (
        f"{_processor()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / (1 << 30):.0f} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}, embedded Postgres with fsync on"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.machine()
