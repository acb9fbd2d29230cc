"""How the demo shows deliveries as they arrive: a table on a terminal, a line each elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

import orjson
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hookstream.processors.cli.console import as_cell

from .demo_receiver import Arrival


class View(Protocol):
    """Shows arrivals; called by one thread at a time."""

    def __call__(self, arrival: Arrival, /) -> None:
        """Show one."""
        ...


def view_for(console: Console, events: Sequence[str], each: int) -> AbstractContextManager[View]:
    """A table of events on a terminal, lines elsewhere; `each` deliveries are expected of every event."""
    return _table(console, events, each) if console.is_terminal else nullcontext(_Lines(console))


@dataclass(slots=True)
class _Lines:
    console: Console

    def __call__(self, arrival: Arrival, /) -> None:
        signature = "signature ok" if arrival.fault is None else f"SIGNATURE WRONG: {arrival.fault}"
        about = _concept(arrival)
        line = f"{arrival.path[1:]:<22}{about:<20}{arrival.latency_ms:>8.1f} ms  {signature}  {arrival.sequence}"
        self.console.print(as_cell(line), soft_wrap=True)


@dataclass(slots=True)
class _Row:
    arrived: int = 0
    wrong: int = 0
    latencies_ms: list[float] = field(default_factory=list)


@contextmanager
def _table(console: Console, events: Sequence[str], each: int) -> Iterator[View]:
    rows = {event: _Row() for event in events}

    def render() -> Table:
        table = Table(title="deliveries", title_justify="left", box=None, pad_edge=False)
        table.add_column("event")
        table.add_column("arrived", justify="right")
        table.add_column("signatures")
        table.add_column("latency", justify="right")
        for event, row in rows.items():
            signatures = Text("ok", "green") if row.arrived and not row.wrong else Text(f"{row.wrong} wrong", "red")
            latency = f"{min(row.latencies_ms):.1f} to {max(row.latencies_ms):.1f} ms" if row.latencies_ms else ""
            style = "green" if row.arrived == each else ""
            table.add_row(
                as_cell(event), Text(f"{row.arrived}/{each}", style), signatures if row.arrived else "", latency
            )
        return table

    with Live(console=console, get_renderable=render, refresh_per_second=20):

        def show(arrival: Arrival, /) -> None:
            row = rows.get(arrival.path[1:])
            if row is not None:
                row.arrived += 1
                row.wrong += arrival.fault is not None
                row.latencies_ms.append(arrival.latency_ms)

        yield show


def _concept(arrival: Arrival) -> str:
    try:
        concept = orjson.loads(arrival.body)["concept"]
        return f"{concept['namespace']} {concept['id']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "?"
