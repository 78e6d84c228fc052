"""The server, in a process that collects its garbage whenever it is told to by ``SIGUSR1``, and says so."""

import gc
import runpy
import signal
import sys

from tests.processes import ROOT

SERVER = ROOT / "server.py"
COLLECTED = "garbage collected"


def collect(signal_number: int, frame: object) -> None:
    gc.collect()
    print(COLLECTED, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, collect)
    sys.argv = [str(SERVER), *sys.argv[1:]]
    runpy.run_path(str(SERVER), run_name="__main__")
