"""What is counted, by the names that dashboards and alerts use.

The hot path adds to plain numbers; Prometheus asks for them through one collector. Each number has one writing thread.
Labels are bounded: a value that is not announced here is a `KeyError`, not a new time series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from hookstream.schemas.attempt import AttemptResult
from hookstream.schemas.delivery import DeadLetterReason
from hookstream.schemas.notices import NoticeName
from hookstream.schemas.sources.record import IgnoredReason

from .histogram import Histogram

HELP: Mapping[str, str] = {
    # Deliveries that ended, by outcome; what is pending is not among them.
    "hookstream_deliveries_total": "Deliveries settled, by outcome",
    # HTTP requests, by how they ended.
    "hookstream_attempts_total": "HTTP requests made, by result",
    # From the event's own time to the 2xx: what an integrator feels. Replays are not observed.
    "hookstream_delivery_seconds": "Time from the event to its delivery",
    # From dispatch to the end of the answer.
    "hookstream_attempt_seconds": "Duration of HTTP requests",
    # Requests on their way now.
    "hookstream_inflight": "HTTP requests in flight",
    # Records between the committed offset and the reading position, of those that fit. At 1 reading stops.
    "hookstream_window_used_ratio": "Share of a partition's window that is in use",
    # Backlogs that left the window: endpoints that are quarantined or slow, retries that are far away.
    "hookstream_cursors": "Cursors that are open",
    # How late the most patient integrator is served. Alert well below the retention.
    "hookstream_owed_oldest_seconds": "Age of the oldest delivery that is pending",
    # At 4,095 the broker refuses commits.
    "hookstream_commit_metadata_bytes": "Size of the metadata of the last commit, largest partition",
    # Every one of these waits for an operator.
    "hookstream_dead_letters_total": "Records written to the dead letters, by reason",
    # Lost: the broker's retention was faster than we. Must be zero.
    "hookstream_expired_total": "Records that the broker deleted before they were read",
    # Bugs of ours: each made one request fail, and should be reported.
    "hookstream_internal_errors_total": "Exceptions of hookstream's own code, by where they were caught",
    # The broker did not answer for long: a replay of what failed would not know of these.
    "hookstream_attempt_records_dropped_total": "Attempts that the worker could not tell the attempt log of",
    # Events read by the router: most are wanted by no hook.
    "hookstream_routed_total": "Events read by the router, by result",
    # Of topics that other services write: such a resource may be delivered in another order than it happened.
    "hookstream_order_not_kept_total": "Deliveries whose resource had its last event in another partition of the topic",
    # What clients were told of their endpoints and hooks; the notice itself is delivered like any event.
    "hookstream_notices_total": "Notices that Kafka has acknowledged, by their event",
    # Hooks that this process knows, and how far it has read their topic.
    "hookstream_table_offset": "Next offset to be read of the subscriptions topic",
    # What is expired was deleted by the broker's retention before the attempt log's role had read it.
    "hookstream_attempt_log_records_total": "Records of attempts that the attempt log is done with, by result",
    # How long a component has been silent, of those that the role needs. Each is asked every two seconds.
    "hookstream_kafka_last_answer_seconds": "Time since Kafka last answered this process",
    "hookstream_registry_last_answer_seconds": "Time since the schema registry last answered this process",
    "hookstream_database_last_answer_seconds": "Time since the database last answered this process",
    # Alert well below the retention of `attempts`.
    "hookstream_attempt_log_lag_seconds": "Age of the oldest record that the attempt log wrote last, 0 when it is idle",
}

OUTCOMES = ("delivered", "cancelled", "skipped", "dead-lettered")
LOGGED = ("written", "undecodable", "expired")
ROUTED = ("routed", "unwanted", "dead-lettered", *map(str, IgnoredReason))
# A request is built, sent (on a connection that may have to be opened first), answered and judged; what became of it is
# recorded; a worker runs the loop that does all that.
INTERNAL_ERRORS = ("build", "send", "connect", "answer", "judge", "record", "connection", "task", "worker")
LAST_ANSWERS: Mapping[str, str] = {
    "kafka": "hookstream_kafka_last_answer_seconds",
    "schema registry": "hookstream_registry_last_answer_seconds",
    "database": "hookstream_database_last_answer_seconds",
}
"""The metric of each component that may be asked, by its name in `/readyz`."""

# A delivery takes 2 ms when all is well, and days when an endpoint is down.
_DELIVERY_BUCKETS_S = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300, 3600, 86400)
# A request is given up after 15 s.
_ATTEMPT_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)


class WorkerNumbers:
    """What a worker counts."""

    def __init__(self) -> None:
        """Start at zero."""
        self.deliveries = dict.fromkeys(OUTCOMES, 0)
        self.attempts: dict[str, int] = dict.fromkeys(AttemptResult, 0)
        self.internal_errors = dict.fromkeys(INTERNAL_ERRORS, 0)
        self.delivery_seconds = Histogram(_DELIVERY_BUCKETS_S)
        self.attempt_seconds = Histogram(_ATTEMPT_BUCKETS_S)
        self.attempt_records_dropped = 0
        self.inflight = 0
        self.cursors = 0
        self.owed_oldest_seconds = 0.0
        self.commit_metadata_bytes = 0
        self.window_used_ratio: dict[int, float] = {}
        """By partition; take a partition out when it is revoked."""

    def collect(self) -> Iterator[Metric]:
        """Give the numbers to Prometheus."""
        yield _counter("hookstream_deliveries_total", "outcome", self.deliveries)
        yield _counter("hookstream_attempts_total", "result", self.attempts)
        yield _counter("hookstream_internal_errors_total", "where", self.internal_errors)
        yield _histogram("hookstream_delivery_seconds", self.delivery_seconds)
        yield _histogram("hookstream_attempt_seconds", self.attempt_seconds)
        yield _count("hookstream_attempt_records_dropped_total", self.attempt_records_dropped)
        yield _gauge("hookstream_inflight", self.inflight)
        yield _gauge("hookstream_cursors", self.cursors)
        yield _gauge("hookstream_owed_oldest_seconds", self.owed_oldest_seconds)
        yield _gauge("hookstream_commit_metadata_bytes", self.commit_metadata_bytes)
        ratio = "hookstream_window_used_ratio"
        window = GaugeMetricFamily(ratio, HELP[ratio], labels=["partition"])
        for partition, used in dict(self.window_used_ratio).items():
            window.add_metric([str(partition)], used)
        yield window


class RouterNumbers:
    """What a router counts."""

    def __init__(self) -> None:
        """Start at zero."""
        self.routed = dict.fromkeys(ROUTED, 0)
        self.order_not_kept = 0

    def collect(self) -> Iterator[Metric]:
        """Give the numbers to Prometheus."""
        yield _counter("hookstream_routed_total", "result", self.routed)
        yield _count("hookstream_order_not_kept_total", self.order_not_kept)


class AttemptLogNumbers:
    """What the attempt log counts."""

    def __init__(self) -> None:
        """Start at zero."""
        self.records = dict.fromkeys(LOGGED, 0)
        self.lag_seconds = 0.0

    def collect(self) -> Iterator[Metric]:
        """Give the numbers to Prometheus."""
        yield _counter("hookstream_attempt_log_records_total", "result", self.records)
        yield _gauge("hookstream_attempt_log_lag_seconds", self.lag_seconds)


class Metrics:
    """Every number of one process. Add to the fields; `render` is what `/metrics` answers.

    Each label that there will be is there from the start: an alert on a rate needs the zero before the one.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self.worker = WorkerNumbers()
        self.router = RouterNumbers()
        self.attempt_log = AttemptLogNumbers()
        self.dead_letters: dict[str, int] = dict.fromkeys(map(str, DeadLetterReason), 0)
        self.notices: dict[str, int] = dict.fromkeys(map(str, NoticeName), 0)
        self.expired_of: dict[str, int] = {}
        """By role, of those that run in this process: each writes its own."""
        self.table_offset_of: dict[str, int] = {}
        """By role likewise."""
        self.last_answers_s: Callable[[], Mapping[str, float]] = dict
        """By component of LAST_ANSWERS, of those that are asked: seconds since it answered."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def notice_told(self, name: NoticeName) -> None:
        """Count a notice that Kafka has acknowledged."""
        self.notices[name] += 1

    @property
    def expired(self) -> int:
        """What all roles of the process missed."""
        return sum(tuple(self.expired_of.values()))

    @property
    def table_offset(self) -> int:
        """How far every role of the process has read the table."""
        return min(tuple(self.table_offset_of.values()), default=0)

    def render(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Give the numbers to Prometheus."""
        yield _counter("hookstream_dead_letters_total", "reason", self.dead_letters)
        yield _counter("hookstream_notices_total", "event", self.notices)
        yield _count("hookstream_expired_total", self.expired)
        yield _gauge("hookstream_table_offset", self.table_offset)
        for component, age_s in self.last_answers_s().items():
            yield _gauge(LAST_ANSWERS[component], age_s)
        yield from self.worker.collect()
        yield from self.router.collect()
        yield from self.attempt_log.collect()


def _counter(name: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, HELP[name], labels=[label])
    for value, count in dict(counts).items():
        family.add_metric([str(value)], count)
    return family


def _histogram(name: str, histogram: Histogram) -> HistogramMetricFamily:
    """What Prometheus shows of it: its buckets are cumulative."""
    buckets: list[tuple[str, float]] = []
    so_far = 0
    for bound, count in zip((*map(str, map(float, histogram.bounds)), "+Inf"), histogram.counts, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    return HistogramMetricFamily(name, HELP[name], buckets=buckets, sum_value=histogram.total)


def _count(name: str, value: int) -> CounterMetricFamily:
    return CounterMetricFamily(name, HELP[name], value=value)


def _gauge(name: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, HELP[name], value=value)
