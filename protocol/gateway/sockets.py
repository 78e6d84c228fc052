"""What the long-lived connections share: who is connected, the wheel that wakes them, and how they all end."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Final, Protocol

from prometheus_client import CollectorRegistry

from protocol.commands import Person
from protocol.errors import FORCED, SHUTDOWN
from protocol.gateway.addresses import Proxies, rate_key
from protocol.gateway.backend import Backend
from protocol.gateway.frames import Writer
from protocol.gateway.identity import Authenticator
from protocol.gateway.limits import Limits
from protocol.gateway.metrics import SocketMetrics
from protocol.gateway.origins import Origins
from protocol.gateway.settings import GatewaySettings
from protocol.gateway.wheel import Wheel

logger = logging.getLogger(__name__)

# What is still open so long after it was asked to close is aborted.
CLOSE_GRACE_S: Final = 2.0


class Connection(Protocol):
    """A live connection, as the whole of them is managed."""

    address: str
    """Where it comes from."""
    by: Person
    """Whose it is."""
    session: str | None
    """The signed-in device that it belongs to."""

    def close(self, code: int, reason: str) -> None:
        """Begin to end it; a no-op the second time."""
        ...

    def abort(self) -> None:
        """End it at once."""
        ...


class Connections:
    """The live connections of this process, at most so many of one address."""

    def __init__(self, per_address_max: int) -> None:
        self._per_address_max = per_address_max
        self._live: set[Connection] = set()
        self._per_address: Counter[str] = Counter()
        self._all_gone = asyncio.Event()
        self._all_gone.set()

    def __len__(self) -> int:
        return len(self._live)

    def full(self, address: str) -> bool:
        """Whether ``address`` has as many as it may."""
        return self._per_address[rate_key(address)] >= self._per_address_max

    def add(self, connection: Connection) -> None:
        self._live.add(connection)
        self._per_address[rate_key(connection.address)] += 1
        self._all_gone.clear()

    def remove(self, connection: Connection) -> None:
        self._live.remove(connection)
        key = rate_key(connection.address)
        self._per_address[key] -= 1
        if not self._per_address[key]:
            del self._per_address[key]
        if not self._live:
            self._all_gone.set()

    def end_session(self, session: str) -> None:
        """Close what belongs to a signed-in device that was signed out."""
        for connection in [each for each in self._live if each.session == session]:
            connection.close(*FORCED)

    def end_account(self, account: int) -> None:
        """Close what belongs to an account that was deleted."""
        for connection in [each for each in self._live if each.by.id == account]:
            connection.close(*FORCED)

    async def close_all(self, code: int, reason: str) -> None:
        """Close every connection, and wait until they are gone; at most ``CLOSE_GRACE_S``, then abort the rest."""
        for connection in list(self._live):
            connection.close(code, reason)
        try:
            await asyncio.wait_for(self._all_gone.wait(), CLOSE_GRACE_S)
        except TimeoutError:
            for connection in list(self._live):
                connection.abort()


class Sockets:
    """Everything that a WebSocket or an event stream needs of its surroundings. A context manager.

    ``clock`` gives seconds of a monotonic clock, ``wall_clock`` Unix seconds, ``new_client`` the unique id of a
    connection.
    """

    def __init__(
        self,
        backend: Backend,
        authenticator: Authenticator,
        settings: GatewaySettings,
        *,
        limits: Limits,
        origins: Origins,
        proxies: Proxies,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        new_client: Callable[[], str],
        registry: CollectorRegistry,
        version: str = "plaudit",
        tick_s: float = 1.0,
    ) -> None:
        self.backend = backend
        self.authenticator = authenticator
        self.settings = settings
        self.limits = limits
        self.origins = origins
        self.proxies = proxies
        self.clock = clock
        self.wall_clock = wall_clock
        self.new_client = new_client
        self.version = version
        self.wheel = Wheel(clock, tick_s)
        self.writer = Writer()
        self.connections = Connections(settings.connections_per_address_max)
        self.metrics = SocketMetrics(registry, lambda: len(self.connections))
        self.closing = False
        """Whether new connections are turned away."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Sockets":
        await self.wheel.__aenter__()
        self.writer.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.shut_down()
            if self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            self.writer.close()
            await self.wheel.__aexit__()

    def spawn(self, life: Coroutine[None, None, None], name: str) -> None:
        """Run the life of a connection, which ends soon after the connection."""
        task = asyncio.create_task(life, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, life: asyncio.Task[None]) -> None:
        self._tasks.discard(life)
        if not life.cancelled() and (error := life.exception()) is not None:
            logger.error("a connection failed", exc_info=error)

    async def shut_down(self) -> None:
        """Tell every client that the server goes away, to come back elsewhere; each SDK waits a random while."""
        self.closing = True
        await self.connections.close_all(*SHUTDOWN)
