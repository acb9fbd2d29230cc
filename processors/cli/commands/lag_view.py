"""How `hookstream lag` shows what the API answered. Pure: the time is given, and no text of others is obeyed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from hookstream.processors.cli.console import as_cell, fitted, shown_time, table_lines
from hookstream.processors.cli.times import short_duration
from hookstream.processors.printable import printable

if TYPE_CHECKING:
    from rich.text import Text

_HEAD: Final = ("endpoint", "state", "behind", "oldest", "next", "success", "last error", "target")
_BELOW: Final = 2  # columns at the end that get a line of their own where a line an endpoint is too wide
_WIDTH: Final = 80  # where there is no terminal
_NO_BREAK: Final = "\xa0"
_STYLES: Final = {
    "healthy": "green",
    "catching-up": "cyan",
    "lagging": "yellow",
    "quarantined": "bold red",
    "paused": "magenta",
    "disabled": "dim",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line, and which part of it has a colour where there are colours. Printable."""

    text: str
    marked: str = ""
    style: str = ""

    def styled(self) -> Text:
        """For a terminal."""
        shown = as_cell(self.text, "" if self.marked else self.style)
        start = self.text.find(self.marked) if self.marked else -1
        if start >= 0:
            shown.stylize(self.style, start, start + len(self.marked))
        return shown


def table(found: Mapping[str, Any], width: int | None, *, now_ms: int) -> list[Line]:
    """A line an endpoint; where that is too wide, last error and target are below it, and a long name above it."""
    endpoints = found["endpoints"]
    rows = [_row(endpoint, now_ms) for endpoint in endpoints]
    head, *lines = table_lines(_HEAD, rows)
    if width is None or all(len(line) <= width for line in (head, *lines)):
        return [Line(head, style="bold"), *map(_of_state, lines, endpoints)]
    head, *lines = table_lines(_HEAD[:-_BELOW], [row[:-_BELOW] for row in rows])
    below = [f"  {target}" if error == "-" else f"  {error}: {target}" for *_, error, target in map(_printable, rows)]
    if all(len(line) <= width for line in (head, *lines)):
        pairs = zip(map(_of_state, lines, endpoints), map(Line, fitted(below, width)), strict=True)
        return [Line(head, style="bold"), *(line for pair in pairs for line in pair)]
    head, *lines = table_lines(("", *_HEAD[1:-_BELOW]), [("", *row[1:-_BELOW]) for row in rows])
    shown = [Line(head, style="bold")]
    for row, line, endpoint, last in zip(rows, lines, endpoints, below, strict=True):
        shown += [Line(printable(row[0])), _of_state(line, endpoint), Line(last)]
    return [Line(text, line.marked, line.style) for line, text in zip(shown, _fitted(shown, width), strict=True)]


def summary(found: Mapping[str, Any], width: int | None, *, now_ms: int) -> list[str]:
    """The time, and the totals of all endpoints that the caller may see, whatever else was asked for; then by state."""
    clock, totals = shown_time(now_ms), found.get("totals")
    if totals is None:  # an API of an earlier release
        return [clock]
    oldest_ms = totals["oldest_undelivered_at_ms"]
    parts = (
        f"{_number(totals['endpoints'], exact=totals.get('endpoints_exact', True))} endpoints",
        f"{_number(totals['behind'] + totals['replays_behind'], exact=totals['behind_exact'])} pending",
        *(() if oldest_ms is None else (f"oldest {ago(now_ms, oldest_ms)}",)),
    )
    states = [printable(f"{count:,} {state}") for state, count in totals["states"].items() if count]
    kept = ", ".join(each.replace(" ", _NO_BREAK) for each in states)
    below = [line.replace(_NO_BREAK, " ") for line in wrap(kept, width or _WIDTH)]
    return [f"{clock}  {', '.join(parts)}", *below]


def notes(found: Mapping[str, Any], *, now_ms: int) -> Iterator[str]:
    """What is not known, or not shown."""
    if found["more"]:
        yield "there are more: see --limit"
    for line in found["unknown"]:
        yield f"unknown: {line}"
    for gap in found.get("unrecorded", ()):
        yield (
            f"unrecorded: {gap['attempts']} attempts of client {gap['client']['id']}, the last "
            f"{ago(now_ms, gap['last_at_ms'])} ago: what is said of its attempts may be out of date"
        )


def ago(now_ms: int, at_ms: int | None) -> str:
    """How long ago, in one unit: `90s`, `12m`, `5h`, `3d`; a dash where there is no time."""
    return "-" if at_ms is None else short_duration(max(0, now_ms - at_ms) / 1000)


def _row(endpoint: Mapping[str, Any], now_ms: int) -> tuple[str, ...]:
    error = endpoint["last_error"]
    return (
        endpoint["id"],
        endpoint["state"],
        _number(endpoint["behind"] + endpoint["replays_behind"], exact=endpoint["behind_exact"]),
        ago(now_ms, endpoint["oldest_undelivered_at_ms"]),
        _ahead(now_ms, endpoint["next_attempt_at_ms"]),
        ago(now_ms, endpoint["last_success_at_ms"]),
        "-" if error is None else f"{error['status'] or error['result']} {ago(now_ms, error['at_ms'])}",
        "(unknown)" if endpoint["target"] is None else endpoint["target"].partition("?")[0],
    )


def _of_state(line: str, endpoint: Mapping[str, Any]) -> Line:
    state = endpoint["state"]
    # The name, which is before it, has no blank; a state that this release does not know has no colour.
    return Line(line, f" {state} " if state in _STYLES else "", _STYLES.get(state, ""))


def _printable(row: Sequence[str]) -> list[str]:
    return [printable(cell) for cell in row]


def _fitted(lines: Sequence[Line], width: int) -> list[str]:
    return list(fitted((line.text for line in lines), width))


def _number(count: int, *, exact: bool) -> str:
    return f"{'' if exact else '~'}{count:,}"


def _ahead(now_ms: int, at_ms: int | None) -> str:
    if at_ms is None:
        return "-"
    return "now" if at_ms <= now_ms else f"in {short_duration((at_ms - now_ms) / 1000)}"
