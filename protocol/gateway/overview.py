"""``server.py cluster``: asks a running server how the cluster is, and shows it."""

from typing import Final

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout
from rich.console import Group, RenderableType
from rich.table import Table

from protocol.cluster import BusView, ClusterView, WorkerView

PATH: Final = "/v1/cluster"
TIMEOUT_S: Final = 8.0


class ClusterUnreachable(Exception):
    """No server answers; the message is one line for the operator."""


async def fetch_cluster(url: str, token: str) -> ClusterView:
    """The cluster as the server at ``url`` sees it. Raises ``ClusterUnreachable``."""
    timeout = ClientTimeout(total=TIMEOUT_S)
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with (
            ClientSession(timeout=timeout) as client,
            client.get(f"{url.rstrip('/')}{PATH}", headers=headers, allow_redirects=False) as response,
        ):
            status, body = response.status, await response.read()
    except (ClientError, TimeoutError, OSError, ValueError) as error:
        reason = str(error) or "no answer in time"
        raise ClusterUnreachable(f"no server answers at {url} ({reason}); say where with --url") from error
    if status in (401, 403):
        raise ClusterUnreachable(f"the server at {url} has another secret: it is one of another database or --secret")
    try:
        if status != 200:
            raise ValueError(f"status {status}")
        return msgspec.json.decode(body, type=ClusterView)
    except ValueError as error:
        raise ClusterUnreachable(f"what answers at {url} is no Plaudit of this version ({error})") from error


def overview(view: ClusterView) -> RenderableType:
    """Tables for a terminal."""
    return Group(_workers(view), "", _slots(view), "", _busiest(view))


def _workers(view: ClusterView) -> Table:
    table = _table("worker", "state", "lease s", "slots", "actors", "sockets", "bus", "lag ms", "dropped")
    for worker in view.workers:
        lease = "?" if worker.lease_s is None else f"{worker.lease_s:.1f}"
        numbers = (worker.slots, worker.actors, worker.connections)
        table.add_row(worker.label, _state(worker), lease, *map(_number, numbers), *_bus(worker.bus))
    return table


def _state(worker: WorkerView) -> str:
    return "; ".join([worker.state, *(f"{part}: {reason}" for part, reason in worker.failing.items())])


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)


def _slots(view: ClusterView) -> str:
    unowned = view.slots_without_owner
    if unowned is None:
        return "Who owns the slots is not known: the database cannot be read."
    if not unowned:
        return "Every slot has an owner."
    return f"Slots without an owner: {len(unowned)} ({', '.join(map(str, unowned[:16]))}{', …' * (len(unowned) > 16)})"


def _bus(bus: BusView | None) -> tuple[str, str, str]:
    if bus is None:
        return "?", "?", "?"
    if bus.state == "none":
        return bus.state, "", ""
    return bus.state, f"{1000 * bus.lag_s:.1f}", str(bus.dropped)


def _busiest(view: ClusterView) -> RenderableType:
    if not view.busiest:
        return "No actor is busy."
    table = _table("busiest actor", "worker", "commands/s", "watchers", "waiting")
    for actor in view.busiest:
        table.add_row(actor.key, actor.worker, f"{actor.commands_per_s:.1f}", str(actor.watchers), str(actor.waiting))
    return table


def _table(name: str, about: str, *numbers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    # Folded where there is no room: a part of a name names nobody.
    table.add_column(name, overflow="fold")
    table.add_column(about, overflow="fold")
    for number in numbers:
        table.add_column(number, justify="right")
    return table
