"""How the embedded servers are started: alone in a directory, as children that end with this process, never as root."""

import ctypes
import fcntl
import os
import pwd
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

# linux/prctl.h, linux/securebits.h and linux/capability.h
_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2


class InUse(Exception):
    """Another process has it; the message is one line."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the only process that holds the lock ``path``, which goes with the process, however that ends.

    Its children do not inherit it.

    Raises:
        InUse: Another process holds it.
    """
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise InUse(f"data directory {path.parent} is in use by process {file.read().strip()}") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


class User(NamedTuple):
    """Whom a child runs as."""

    uid: int
    gid: int


def unprivileged_user(directory: Path, names: Sequence[str] = ("plaudit", "nobody")) -> User | None:
    """Whom a server that works in ``directory`` runs as; None: as this process, which is not root.

    As root it is whoever owns the directory, or, if that is root or nothing is there yet, the first of ``names`` that
    the system knows.

    Raises:
        LookupError: The system knows none of ``names``.
    """
    if os.geteuid() != 0:
        return None
    if directory.exists():
        status = directory.stat()
        if status.st_uid != 0:
            return User(status.st_uid, status.st_gid)
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in names:
        if name in known:
            return User(known[name].pw_uid, known[name].pw_gid)
    raise LookupError(f"no user named {' or '.join(names)} to run as instead of root")


def child_setup(user: User | None, on_parent_death: signal.Signals) -> Callable[[], None]:
    """What the new process does between fork and exec (``preexec_fn``).

    It becomes ``user``, and on Linux asks the kernel for ``on_parent_death`` when the thread that forked it ends in
    whatever way.
    """
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    parent = os.getpid()

    def set_up() -> None:
        if user is not None:
            _become(user, libc)
        if libc is not None:
            # After the change of user, which clears it.
            libc.prctl(_PR_SET_PDEATHSIG, int(on_parent_death), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return set_up


def _become(user: User, libc: ctypes.CDLL | None) -> None:
    """Change to ``user``, on Linux keeping the one capability to pass through directories that only root may enter.

    A checkout or an environment under a private directory, such as root's home, then works as it is: neither are its
    permissions widened nor is anything copied. Where the capability cannot be kept, the child is a plain user.
    """
    if libc is not None:
        # Else the change of user would drop what is to be kept, and access() would not regard it.
        libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    if libc is not None:
        # Containers often have the second, wider one only.
        for capability in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE):
            if _keep_only(capability, libc):
                break


def _keep_only(capability: int, libc: ctypes.CDLL) -> bool:
    """Drop every capability but one, and have that one survive exec; False if it was not there."""
    bit = 1 << capability
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Twice (effective, permitted, inheritable), the lower 32 capabilities first.
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    if libc.capset(header, sets) != 0:
        return False
    return bool(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0) == 0)
