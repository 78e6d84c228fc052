"""An event loop of virtual time, whose every step is chosen by a seed, for many simulated hosts in one process.

Every handle and timer belongs to the host in whose context it was made. Of the hosts that have something to do the
seed picks one, and its oldest handle runs: within a host the order is asyncio's own, between hosts there is none.
Time passes only when nobody has anything to do, and then at once. There is no I/O: a message between hosts is
``call_later`` in the context of the receiver.

A killed host's handles are dropped, as are those that its tasks would still cause; nothing of it is cancelled, no
``finally`` runs. A stopped host's handles are parked until it is resumed.
"""

import asyncio
import warnings
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar
from heapq import heappop, heappush
from random import Random
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

STEPS_AT_ONCE_MAX = 200_000
"""Steps without time passing, after which a run has gone round in circles."""


class Host:
    """What is killed and stopped as one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.stopped = False
        self.ready: deque[asyncio.Handle] = deque()
        self.context = Context()
        """Of everything that reaches this host from another."""
        self.context.run(_HOST.set, self)

    def __repr__(self) -> str:
        return self.name


_HOST: ContextVar[Host] = ContextVar("host")


class Deadlock(Exception):
    """Nobody has anything to do, and nothing is due."""


class Livelock(Exception):
    """Steps follow each other for ever while no time passes."""


class SimulatedTask(asyncio.Task[T]):
    """A task whose hash is its number, so that sets of tasks have the same order in every process."""

    def __init__(self, number: int, work: Coroutine[Any, Any, T], **settings: Any) -> None:
        self._number = number
        super().__init__(work, **settings)

    def __hash__(self) -> int:
        return self._number


class SimulatedFuture(asyncio.Future[T]):
    """A future whose hash is its number, for the same reason."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class SimulatedLoop(asyncio.BaseEventLoop):
    """See above. ``failures`` are the exceptions that nobody took: defects, of the product or of the simulation."""

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self.outside = Host("outside")
        self.failures: list[dict[str, Any]] = []
        self.steps = 0
        self._rng = rng
        self._now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Host]] = []
        self._timers_made = 0
        self._futures_made = 0
        self._runnable: list[Host] = []
        # Held until the end: what is freed while it waits runs its ``finally``, which a killed process does not.
        self._tasks: list[asyncio.Task[Any]] = []
        self.set_exception_handler(lambda _, failure: self.failures.append(failure))

    # -- hosts

    def kill(self, host: Host) -> None:
        """``host`` does nothing more, ever."""
        host.alive = False
        self._park(host)
        host.ready.clear()

    def stop_host(self, host: Host) -> None:
        """``host`` does nothing until ``resume_host``; what is due meanwhile waits in the order of its time."""
        host.stopped = True
        self._park(host)

    def resume_host(self, host: Host) -> None:
        host.stopped = False
        if host.ready:
            self._runnable.append(host)

    def spawn(self, host: Host, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """A task of ``host``, whoever calls."""
        return self.create_task(work, name=name, context=host.context.copy())

    def send(self, host: Host, delay_s: float, receive: Callable[..., object], *message: Any) -> None:
        """Have ``host`` called after ``delay_s``, as by a message from elsewhere."""
        self.call_later(delay_s, receive, *message, context=host.context)

    def _park(self, host: Host) -> None:
        if host in self._runnable:
            self._runnable.remove(host)

    # -- what asyncio asks of a loop

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._enqueue(self._host_of(context), handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        host = self._host_of(context)
        if host.alive:
            self._timers_made += 1
            heappush(self._timers, (when, self._timers_made, handle, host))
        return handle

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_task(
        self, coro: Any, *, name: object = None, context: Context | None = None, **settings: Any
    ) -> asyncio.Task[Any]:
        named = None if name is None else str(name)
        task = SimulatedTask(len(self._tasks), coro, loop=self, name=named, context=context, **settings)
        self._tasks.append(task)
        return task

    def create_future(self) -> asyncio.Future[Any]:
        self._futures_made += 1
        return SimulatedFuture(self._futures_made, self)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when it is due."""

    def _host_of(self, context: Context | None) -> Host:
        return _HOST.get(self.outside) if context is None else context.get(_HOST, self.outside)

    def _enqueue(self, host: Host, handle: asyncio.Handle) -> None:
        if not host.alive:
            return
        host.ready.append(handle)
        if len(host.ready) == 1 and not host.stopped:
            self._runnable.append(host)

    # -- running

    def _run_once(self) -> None:
        runnable, random = self._runnable, self._rng.random
        steps_at_once = 0
        while not self._stopping:  # type: ignore[attr-defined]  # asyncio's own, set by ``stop``.
            if not runnable:
                self._pass_time()
                steps_at_once = 0
                continue
            at = int(random() * len(runnable)) if len(runnable) > 1 else 0
            ready = runnable[at].ready
            handle = ready.popleft()
            if not ready:
                runnable[at] = runnable[-1]
                runnable.pop()
            if not handle.cancelled():
                handle._run()
            self.steps += 1
            steps_at_once += 1
            if steps_at_once > STEPS_AT_ONCE_MAX:
                raise Livelock

    def _pass_time(self) -> None:
        """Go on to when the next timer is due, and have run what is due then."""
        timers = self._timers
        while timers and (timers[0][2].cancelled() or not timers[0][3].alive):
            heappop(timers)
        if not timers:
            raise Deadlock
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            _, _, handle, host = heappop(timers)
            if not handle.cancelled():
                self._enqueue(host, handle)

    # -- the end

    def dispose(self) -> None:
        """Close, and end what still waits; whatever that says is the noise of a world that ends."""
        self.set_exception_handler(lambda *_: None)
        self.close()
        self.outside.alive = False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for task in self._tasks:
                if not task.done():
                    # Who awaits in a ``finally`` refuses to end; there is no one left to wait for.
                    with suppress(Exception, asyncio.CancelledError):
                        task.get_coro().close()
            self._tasks.clear()
            self._timers.clear()
