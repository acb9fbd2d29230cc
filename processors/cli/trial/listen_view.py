"""How `hookstream listen` shows a request: a line of what it is, then its body. Pure.

Every text of a request goes through `as_cell`: a terminal would obey some of it.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import orjson
from rich.text import Text

from hookstream.processors.cli.console import as_cell

from .listen_app import Received

_BODY_LINES = 40
_SHORT_BYTES = 116
_LINE_CHARS = 2_000
_GOOD = 300
_ABOUT_CHARS = 60


def lines_of(request: Received, *, headers: bool = False) -> list[Text]:
    """A request for people, a line each; the first one says what it is and what was answered."""
    answer = as_cell(request.status, "green" if request.status < _GOOD else "red")
    clock = datetime.fromtimestamp(request.at_ms / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
    first = Text("  ").join(
        part
        for part in (
            as_cell(clock, "dim"),
            answer,
            as_cell(_cut(_about(request), _ABOUT_CHARS), "bold"),
            _signature(request),
            as_cell(_attempt(request), "dim"),
            as_cell(_cut(request.header("webhook-id"), _ABOUT_CHARS), "dim"),
        )
        if part.plain
    )
    shown = [first]
    if headers:
        shown += [as_cell(_cut(f"  {name}: {value}", _LINE_CHARS), "cyan") for name, value in request.headers]
    return [*shown, *(as_cell(f"  {line}") for line in _body_lines(request.body))]


def fields_of(request: Received) -> dict[str, object]:
    """A request for programs. A body that is no UTF-8 is in `body_base64`."""
    fields: dict[str, object] = {
        "at_ms": request.at_ms,
        "method": request.method,
        "path": request.path,
        "headers": [list(header) for header in request.headers],
        "status": request.status,
        "verified": request.verified,
        "fault": request.fault,
    }
    try:
        return {**fields, "body": request.body.decode()}
    except UnicodeDecodeError:
        return {**fields, "body_base64": base64.b64encode(request.body).decode()}


def _about(request: Received) -> str:
    """The event and its resource, where the body is of hookstream's own form; else method and path."""
    try:
        body: Any = orjson.loads(request.body)
        concept = body["concept"]
        return f"{body['event']} {concept['namespace']} {concept['id']} of client {body['client']}"
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        return f"{request.method} {request.path}"


def _signature(request: Received) -> Text:
    if request.verified is None:
        return as_cell("not verified: no secret", "yellow")
    if request.verified:
        return as_cell("signature ok", "green")
    return as_cell(f"SIGNATURE WRONG: {request.fault}", "bold red")


def _attempt(request: Received) -> str:
    number = request.header("hookstream-attempt")
    return f"attempt {_cut(number, 10)}" if number else ""


def _body_lines(body: bytes) -> list[str]:
    """JSON indented where it is long, anything else as it is; bytes that are no text as escapes."""
    if not body:
        return []
    try:
        tree = orjson.loads(body)
        text = json.dumps(tree, indent=2 if len(body) > _SHORT_BYTES else None, ensure_ascii=False)
    except (ValueError, RecursionError):  # orjson takes what json cannot write, and a surrogate is none of ours to mend
        text = body[: _LINE_CHARS * _BODY_LINES].decode(errors="backslashreplace")
    lines = text.split("\n")
    more = len(lines) - _BODY_LINES
    shown = [_cut(line, _LINE_CHARS) for line in lines[:_BODY_LINES]]
    return [*shown, f"… and {more} more lines"] if more > 0 else shown


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[:chars]}… ({len(text)} characters)"
