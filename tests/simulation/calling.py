"""The simulation in processes of its own: sets of strings have the same order in each, which tests cannot have."""

import subprocess
import sys


def simulate(*arguments: str) -> str:
    """The output of a run in a process of its own; it must succeed."""
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    return done.stdout
