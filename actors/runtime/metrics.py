"""The figures of the runtime, in Prometheus' types; the registry is given in."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)


class Commands(Collector):
    """Commands by method, counted without a lock: each is one, and only the loop's thread counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._of_method: dict[str, int] = {}
        registry.register(self)

    def count(self, method: str) -> None:
        self._of_method[method] = self._of_method.get(method, 0) + 1

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily("plaudit_commands", "Commands by method.", labels=["method"])
        # A copy: another thread may collect while the loop counts.
        for method, count in list(self._of_method.items()):
            family.add_metric([method], count)
        yield family


class Metrics:
    """One instance a worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.command = Commands(registry).count
        self.refused = Counter("plaudit_refused_total", "Refusals by code.", ["code"], registry=registry)
        self.resident = Gauge("plaudit_actors_resident", "Actors in memory.", registry=registry)
        self.activations = Counter("plaudit_activations_total", "Actors loaded.", registry=registry)
        self.activation_s = Histogram(
            "plaudit_activation_seconds", "Time to load an actor.", buckets=SECONDS, registry=registry
        )
        self.dropped = Counter(
            "plaudit_activations_dropped_total", "Activations thrown away, by cause.", ["cause"], registry=registry
        )
        self.mailbox = Gauge("plaudit_mailbox_depth", "Commands waiting for their actor to load.", registry=registry)
        self.mailbox_age_s = Gauge(
            "plaudit_mailbox_age_seconds", "For how long the oldest of them has waited.", registry=registry
        )
        self.gate_s = Histogram(
            "plaudit_gate_wait_seconds",
            "From a command to its commit: the longest of each actor and commit.",
            buckets=SECONDS,
            registry=registry,
        )
        self.commit_s = Histogram(
            "plaudit_commit_seconds", "One transaction of the committer.", buckets=SECONDS, registry=registry
        )
        self.batch_rows = Histogram("plaudit_batch_rows", "Rows in one commit.", buckets=ROWS, registry=registry)
        self.commits = Counter("plaudit_commits_total", "Commits by outcome.", ["outcome"], registry=registry)
        self.fenced = Counter("plaudit_fenced_total", "Slots that a commit found to be another's.", registry=registry)
        self.undurable = Gauge("plaudit_undurable_commands", "Commands waiting for a commit.", registry=registry)
        self.streams = Gauge("plaudit_streams", "Streams with subscribers.", registry=registry)
        self.subscriptions = Gauge("plaudit_subscriptions", "Subscriptions.", registry=registry)
        self.recoveries = Counter("plaudit_recoveries_total", "Resumes by outcome.", ["outcome"], registry=registry)
        self.resyncs = Counter(
            "plaudit_resyncs_total", "Streams whose subscribers had to be caught up.", registry=registry
        )
        self.deliveries = Counter("plaudit_deliveries_total", "Writes to sockets by the hub.", registry=registry)
        self.broadcast_s = Histogram(
            "plaudit_broadcast_seconds", "One round over a stream's subscribers.", buckets=SECONDS, registry=registry
        )
        self.lagging = Counter("plaudit_lagging_total", "Subscribers that fell behind.", registry=registry)
        self.slow = Counter("plaudit_slow_consumers_total", "Connections closed for being slow.", registry=registry)
        self.feeds = Gauge("plaudit_feeds", "Live feeds with subscribers.", registry=registry)
        self.feed_found = Counter(
            "plaudit_feed_found_total", "Posts that a sweep delivered to feeds, and no hint.", registry=registry
        )
        self.feed_lag_s = Gauge(
            "plaudit_feed_sweep_seconds", "From the sweep before the last to the last one.", registry=registry
        )
        self.alarms = Counter("plaudit_alarms_total", "Alarms rung.", registry=registry)
        self.messages = Counter("plaudit_messages_total", "Durable messages delivered.", registry=registry)
        self.announced = Counter(
            "plaudit_announced_total", "Publications that other systems were told of.", registry=registry
        )
        self._add_cluster(registry)

    def _add_cluster(self, registry: CollectorRegistry) -> None:
        """What there is only among several workers; one alone shows zeros."""
        self.slots = Gauge("plaudit_slots", "Slots that this worker holds.", registry=registry)
        self.handoffs = Counter("plaudit_handoffs_total", "Slots given to other workers.", registry=registry)
        self.remote_requests = Counter(
            "plaudit_remote_requests_total", "Requests sent to the workers that own their actors.", registry=registry
        )
        self.retries = Counter("plaudit_retries_total", "Requests that were sent again.", registry=registry)
        self.held_requests = Gauge(
            "plaudit_held_requests", "Requests waiting until it is known who owns their actor.", registry=registry
        )
        self.relays = Gauge("plaudit_relays", "Streams of other workers that have subscribers here.", registry=registry)
        self.gaps = Counter("plaudit_gaps_total", "Publications found missing on a relay.", registry=registry)
        self.bus_messages = Counter("plaudit_bus_messages_total", "Packets sent over the bus.", registry=registry)
        self.bus_bytes = Counter("plaudit_bus_bytes_total", "Bytes of these.", registry=registry)
        self.bus_dropped = Counter(
            "plaudit_bus_dropped_total", "Packets that the bus was away or too slow for.", registry=registry
        )
        self.bus_malformed = Counter(
            "plaudit_bus_malformed_total", "What came over the bus and no worker wrote.", registry=registry
        )
        self.bus_interrupted = Counter(
            "plaudit_bus_interrupted_total", "Times when messages may have been lost.", registry=registry
        )
        self.bus_lag_s = Gauge(
            "plaudit_bus_lag_seconds", "From sending the last probe over the bus to its return.", registry=registry
        )


class BusFigures:
    """What a bus counts; see ``store.bus.BusCounts``."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def sent(self, messages: int, size_bytes: int) -> None:
        self._metrics.bus_messages.inc(messages)
        self._metrics.bus_bytes.inc(size_bytes)

    def dropped(self, messages: int) -> None:
        self._metrics.bus_dropped.inc(messages)

    def malformed(self) -> None:
        self._metrics.bus_malformed.inc()

    def lag(self, seconds: float) -> None:
        self._metrics.bus_lag_s.set(seconds)
