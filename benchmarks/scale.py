"""A plan on paper: what today's load and 100, 1,000 and 10,000 times as much need, as the tables of docs/scale.md.

    python -m benchmarks.scale [--mean 10 --peak 200 --hooks 220000 --answer-s 0.2] [--times 1 100 1000 10000]
    python -m benchmarks.scale --write      # today's tables into docs/scale.md, after a figure has changed

Nothing is measured here but the sizes of records, which are encoded as the roles encode them. The other inputs are
figures that were measured by the commands beside them. A plan is no proof: measure again on your machines.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import record_sizes
from benchmarks.builds import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCUMENT = ROOT / "docs" / "scale.md"
DAY_S = 86_400
TIMES = (1, 100, 1_000, 10_000)
PARTITIONS_STEP = 12
EVENT_DAYS, ATTEMPT_DAYS, ATTEMPT_LOG_DAYS = 7, 3, 30  # the defaults of the settings
MAX_IN_FLIGHT = 4_096  # of a worker, the default
REPLICAS = 3
NAMESPACES = 6  # of the shipped catalogue, notices among them
OTHER_TOPICS = 7  # with as many partitions
ATTEMPT_REQUESTS_PER_S, COMMITS_PER_S = 40, 10  # of a process, at most
CHANGED_EVERY_DAYS = 100


@dataclass(frozen=True, slots=True)
class Input:
    """A figure that the plan is made with: its symbol in the formulas, and where it comes from."""

    symbol: str
    value: float
    unit: str
    text: str
    source: str


INPUTS = (
    Input("w", 44.3, "µs", "CPU of a worker per delivery; 24.6 compiled", "`make bench-worker`"),
    Input("r", 22.4, "µs", "CPU of a router per event; 56.5 for 1 KB of Avro", "`make bench-router`"),
    Input(
        "b", 84, "µs", "CPU of the broker per event at 9,000 a second; one alone costs some 1,700", "`make bench-rates`"
    ),
    Input("t", 283, "bytes", "of a hook in the memory of a router or worker, of five million", "`make bench-size`"),
    Input("l", 8, "µs", "to read a hook into the table at a start", "`make bench-table`"),
    Input("E", record_sizes.event(), "bytes", "an event in the log", "`python -m benchmarks.scale`"),
    Input("D", record_sizes.delivery(), "bytes", "a delivery", "`python -m benchmarks.scale`"),
    Input("A", record_sizes.attempt(), "bytes", "an attempt with a short answer", "`python -m benchmarks.scale`"),
    Input("S", record_sizes.row(), "bytes", "a hook's row in `subscriptions`", "`python -m benchmarks.scale`"),
    Input("i", 17_000, "/s", "attempts that the attempt log writes into PostgreSQL", "ADR 10"),
    Input("g", 364, "bytes", "of an attempt in PostgreSQL, with its indexes", "`make bench-size`"),
    Input(
        "j", 95, "bytes", "of them in the index of identities, into which attempts go in no order", "`make bench-size`"
    ),
    Input("k", 496, "bytes", "of a hook in PostgreSQL, with its indexes", "`make bench-size`"),
    Input(
        "v",
        9.1,
        "µs",
        "of a relay per hook when an API starts: it compares all of `subscriptions`",
        "`make bench-size`",
    ),
    Input("y", 5_700, "/s", "hooks that the relay publishes", "`make bench-size`"),
    Input(
        "q",
        0.27,
        "ms",
        "from a record to its acknowledgement",
        "[an event's acknowledgement](benchmarks.md#an-events-acknowledgement)",
    ),
    Input("u", 0.6, "", "of a core may be used at the peak", "a choice"),
)
_TIMES = "\N{MULTIPLICATION SIGN}"
_HALVINGS = 40
_OF = {each.symbol: each.value for each in INPUTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What comes in. Every event is wanted by one hook, the most there can be; `answer_s` is that of receivers."""

    mean_per_s: float
    peak_per_s: float
    hooks: float
    answer_s: float

    def times(self, factor: float) -> Load:
        """So many times as much of everything but the receivers' time."""
        return Load(
            mean_per_s=self.mean_per_s * factor,
            peak_per_s=self.peak_per_s * factor,
            hooks=self.hooks * factor,
            answer_s=self.answer_s,
        )


def workers(load: Load) -> float:
    """One more than the load needs: by CPU, or by requests that wait for receivers."""
    by_cpu = load.peak_per_s * _OF["w"] / 1e6 / _OF["u"]
    by_requests = load.peak_per_s * load.answer_s / MAX_IN_FLIGHT
    return math.ceil(max(by_cpu, by_requests)) + 1


def routers(load: Load) -> float:
    """One more than the load needs."""
    return math.ceil(load.peak_per_s * _OF["r"] / 1e6 / _OF["u"]) + 1


def partitions(load: Load) -> float:
    """Two for each worker, in dozens."""
    return PARTITIONS_STEP * math.ceil(2 * workers(load) / PARTITIONS_STEP)


def all_partitions(load: Load) -> float:
    """Of all topics, all copies."""
    return REPLICAS * (NAMESPACES + OTHER_TOPICS) * partitions(load)


def requests_per_s(load: Load) -> float:
    """What brokers are asked at the peak: four times for each event alone, or less where one request waits for another.

    A process has one request of each kind under way: one that writes, one that reads.
    """
    processes = workers(load) + routers(load)
    under_way = 2 * 1000 / _OF["q"] * processes
    return min(4 * load.peak_per_s, under_way) + ATTEMPT_REQUESTS_PER_S * workers(load) + COMMITS_PER_S * processes


def changes_per_s(load: Load) -> float:
    """Changes of hooks through the API, each of which the relay publishes."""
    return load.hooks / (CHANGED_EVERY_DAYS * DAY_S)


def table_bytes(load: Load) -> float:
    """The table in one process."""
    return load.hooks * _OF["t"]


def tables_bytes(load: Load) -> float:
    """The table in all processes."""
    return table_bytes(load) * (workers(load) + routers(load))


def start_s(load: Load) -> float:
    """How long a router or worker reads the table before it begins."""
    return load.hooks * _OF["l"] / 1e6


def written_bytes_per_s(load: Load) -> float:
    """What is written at the peak, one copy."""
    return load.peak_per_s * (_OF["E"] + _OF["D"] + _OF["A"])


def copied_bytes_per_s(load: Load) -> float:
    """All copies of it."""
    return REPLICAS * written_bytes_per_s(load)


def broker_cores(load: Load) -> float:
    """Cores that brokers need at the peak, copies not counted."""
    return math.ceil(load.peak_per_s * _OF["b"] / 1e6 / _OF["u"])


def kept_bytes(load: Load) -> float:
    """What the topics keep, all copies."""
    each = EVENT_DAYS * (_OF["E"] + _OF["D"]) + ATTEMPT_DAYS * _OF["A"]
    return REPLICAS * (DAY_S * load.mean_per_s * each + load.hooks * _OF["S"])


def attempt_rows(load: Load) -> float:
    """Rows of the attempt log."""
    return ATTEMPT_LOG_DAYS * DAY_S * load.mean_per_s


def attempt_log_bytes(load: Load) -> float:
    """What they take."""
    return attempt_rows(load) * _OF["g"]


def identities_bytes(load: Load) -> float:
    """The index that every attempt is looked up in before it is written."""
    return attempt_rows(load) * _OF["j"]


def hooks_bytes(load: Load) -> float:
    """Hooks in the database; the audit grows with their changes."""
    return load.hooks * _OF["k"]


def relay_start_s(load: Load) -> float:
    """How long an API that has started publishes no change."""
    return load.hooks * _OF["v"] / 1e6


def attempt_log_use(load: Load) -> float:
    """The peak as a share of what one database writes."""
    return load.peak_per_s / _OF["i"]


def resync_s(load: Load) -> float:
    """How long the relay takes for every hook, as after a resync."""
    return load.hooks / _OF["y"]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the plan."""

    text: str
    formula: str
    value: Callable[[Load], float]
    shown: Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Limit:
    """What breaks: a line of the plan beyond what one machine has, or people accept."""

    text: str
    value: Callable[[Load], float]
    at_most: float
    shown: Callable[[float], str]


def count(value: float) -> str:
    """A number with three digits at most, and what it is thousands of."""
    for size, name in ((1e12, " T"), (1e9, " G"), (1e6, " M")):
        if value >= size:
            return f"{value / size:.3g}{name}"
    return f"{value:,.0f}"


def octets(value: float) -> str:
    """Bytes."""
    for size, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:.0f} bytes"


def seconds(value: float) -> str:
    """A duration."""
    for size, name in ((3600, "h"), (60, "min")):
        if value >= 2 * size:
            return f"{value / size:.3g} {name}"
    return f"{value:.3g} s"


def share(value: float) -> str:
    """A percentage."""
    return f"{100 * value:,.2g} %" if value < 1 else f"{100 * value:,.0f} %"


def per_s(value: float) -> str:
    """So many a second."""
    return f"{count(value)}/s" if value >= 1 else f"{value:.2g}/s"


def rate(value: float) -> str:
    """Bytes a second."""
    return f"{octets(value)}/s"


ROWS = (
    Row("events a second, on average", "m", lambda load: load.mean_per_s, count),
    Row("events a second, at the peak", "p", lambda load: load.peak_per_s, count),
    Row("hooks", "h", lambda load: load.hooks, count),
    Row("workers", "⌈max(p·w/u, p·a/4096)⌉ + 1", workers, count),
    Row("routers", "⌈p·r/u⌉ + 1", routers, count),
    Row("partitions of a topic", "2 a worker, in dozens", partitions, count),
    Row("partitions in all, three copies", "3·(6 + 7)·partitions", all_partitions, count),
    Row("table in each router and worker", "h·t", table_bytes, octets),
    Row("tables in all", "n·h·t", tables_bytes, octets),
    Row("until a started process is ready", "h·l", start_s, seconds),
    Row("written at the peak, one copy", "p·(E + D + A)", written_bytes_per_s, rate),
    Row("written at the peak, three copies", "3·p·(E + D + A)", copied_bytes_per_s, rate),
    Row("cores of brokers at the peak", "⌈p·b/u⌉", broker_cores, count),
    Row("requests to brokers at the peak", "min(4·p, 2·n/q) + 40·workers + 10·n", requests_per_s, per_s),
    Row("kept in topics, three copies", "3·(86,400·m·(7·(E + D) + 3·A) + h·S)", kept_bytes, octets),
    Row("attempt log: peak, of what one database writes", "p/i", attempt_log_use, share),
    Row("attempt log: rows in 30 days", "30·86,400·m", attempt_rows, count),
    Row("attempt log: size", "30·86,400·m·g", attempt_log_bytes, octets),
    Row("attempt log: index of identities", "30·86,400·m·j", identities_bytes, octets),
    Row("hooks in the database", "h·k", hooks_bytes, octets),
    Row("until a started API publishes changes", "h·v", relay_start_s, seconds),
    Row("publishing every hook again", "h/y", resync_s, seconds),
    Row("changes of hooks, each once in 100 days", "h/(100·86,400)", changes_per_s, per_s),
)  # fmt: skip
LIMITS = (
    Limit("the index of attempts in the database's memory", identities_bytes, 32e9, octets),
    Limit("changes that wait for a started API", relay_start_s, 300.0, seconds),
    Limit("the attempt log in one database", attempt_log_bytes, 1e12, octets),
    Limit("attempts written at the peak", attempt_log_use, 1.0, share),
    Limit("the table in each router and worker", table_bytes, 8e9, octets),
    Limit("a start of a router or worker", start_s, 300.0, seconds),
    Limit("publishing every hook again", resync_s, 3600.0, seconds),
    Limit("workers for twelve partitions", workers, PARTITIONS_STEP, count),
    Limit("what one broker writes", written_bytes_per_s, 1e8, rate),
)


def reached(limit: Limit, today: Load) -> float:
    """How many times today's load is the last within the limit."""
    low, high = 1.0, 1e9
    for _ in range(_HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if limit.value(today.times(middle)) <= limit.at_most else (low, middle)
    return low


def inputs_table() -> list[str]:
    """The figures that everything is made with."""
    lines = ["| | figure | what | from |", "|---|---|---|---|"]
    return [
        *lines,
        *(f"| {x.symbol} | {x.value:,g} {x.unit} | {x.text} | {x.source} |".replace("  ", " ") for x in INPUTS),
    ]


def plan_table(today: Load, times: Sequence[float] = TIMES) -> list[str]:
    """Each line of the plan, for each of the loads."""
    heads = ["today" if factor == 1 else f"{_TIMES} {factor:,.0f}" for factor in times]
    lines = [f"| what | formula | {' | '.join(heads)} |", "|---|---|" + "---|" * len(heads)]
    for row in ROWS:
        values = " | ".join(row.shown(row.value(today.times(factor))) for factor in times)
        lines.append(f"| {row.text} | {row.formula} | {values} |")
    return lines


def limits_table(today: Load) -> list[str]:
    """What is reached first, and when."""
    found = sorted((reached(limit, today), limit.text, limit.shown(limit.at_most)) for limit in LIMITS)
    lines = ["| what | more than | beyond |", "|---|---|---|"]
    return [*lines, *(f"| {text} | {most} | {_TIMES} {float(f'{factor:.2g}'):,.0f} |" for factor, text, most in found)]


TODAY = Load(mean_per_s=10, peak_per_s=200, hooks=220_000, answer_s=0.2)


def rewritten(text: str, tables: Sequence[Sequence[str]]) -> str:
    """A document with these tables in the place of those that have the same first two lines.

    Raises:
        ValueError: it has no such table.
    """
    lines = text.split("\n")
    for table in tables:
        at = next((row for row in range(len(lines)) if lines[row : row + 2] == list(table[:2])), None)
        if at is None:
            message = f"there is no table {table[0]}"
            raise ValueError(message)
        end = next(row for row in range(at, len(lines) + 1) if row == len(lines) or not lines[row].startswith("|"))
        lines[at:end] = table
    return "\n".join(lines)


def main() -> None:
    """Print the tables for a load."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mean", type=float, default=TODAY.mean_per_s, help="events a second on average")
    parser.add_argument("--peak", type=float, default=TODAY.peak_per_s, help="events a second at the peak")
    parser.add_argument("--hooks", type=float, default=TODAY.hooks)
    parser.add_argument("--answer-s", type=float, default=TODAY.answer_s, help="how long receivers take to answer")
    parser.add_argument("--times", type=float, nargs="+", default=list(TIMES))
    parser.add_argument("--write", action="store_true", help="write today's tables into docs/scale.md")
    given = parser.parse_args()
    if given.write:
        DOCUMENT.write_text(rewritten(DOCUMENT.read_text(), [inputs_table(), plan_table(TODAY), limits_table(TODAY)]))
        return
    today = Load(mean_per_s=given.mean, peak_per_s=given.peak, hooks=given.hooks, answer_s=given.answer_s)
    print("\n".join([*inputs_table(), "", *plan_table(today, given.times), "", *limits_table(today)]))


if __name__ == "__main__":
    main()
