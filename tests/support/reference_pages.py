"""Pages of docs/ that are made from the code; `python -m tests.support.reference_pages` writes them anew."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import typer
from fastapi.testclient import TestClient
from starlette.exceptions import HTTPException

from hookstream.processors.cli import main as cli
from hookstream.processors.serving import protocol
from hookstream.subscriptions.api.problems import MEDIA_TYPE, problem_of, problem_of_http
from hookstream.subscriptions.problem_types import PROBLEM_TYPES, ProblemType, type_uri
from tests.support.repository import ROOT
from tests.support.subscriptions_api import OF_ANY_ROUTE, unconnected_app

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi import FastAPI
    from starlette.types import ASGIApp

    from hookstream.subscriptions.problem_types import ProblemKind

_MADE: Final = "<!-- Made by `make reference` from the code: change it there. -->\n"
_PROBLEMS_HEAD: Final = f"""# Problems

{_MADE}
Every error of the API is a document of RFC 9457, with the content type `{MEDIA_TYPE}`. Tell problems
apart by `type`: a type is never renamed, and never removed. `title` and `detail` are for people, and their words may
change. `errors`, where it is there, names each part of the request that is wrong. No answer repeats a value that was
sent.

Repeat a request by itself only where the answer has `Retry-After`, after that many seconds.

| type | status | cause |
|---|---|---|
"""


def problems_page() -> str:
    """`docs/problems.md`: each type of problem with cause, cure, routes and an example that the API made."""
    app = unconnected_app()
    answered = _answered(app)
    rows, sections = [], []
    for kind, known in PROBLEM_TYPES.items():
        examples = {} if kind in OF_ANY_ROUTE else answered.get(kind, {})
        statuses = _statuses(known, examples.values())
        rows.append(f"| [{kind}](#{kind}) | {statuses} | {known.cause} |\n")
        sections.append(_section(kind, known, examples, app))
    return f"{_PROBLEMS_HEAD}{''.join(rows)}\n{''.join(sections)}".rstrip() + "\n"


def _answered(app: FastAPI) -> dict[str, dict[str, Mapping[str, Any]]]:
    """For each type the routes that answer it, each with its example."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            for response in operation["responses"].values():
                for example in response.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {}).values():
                    problem = example["value"]
                    kind = problem["type"].rpartition(":")[2]
                    found.setdefault(kind, {}).setdefault(f"{method.upper()} {path}", problem)
    return found


def _statuses(known: ProblemType, examples: Iterable[Mapping[str, Any]]) -> str:
    statuses = [str(status.value) for status in known.statuses] or sorted({str(each["status"]) for each in examples})
    return ", ".join(statuses) or "4xx"


def _section(kind: ProblemKind, known: ProblemType, examples: Mapping[str, Mapping[str, Any]], app: FastAPI) -> str:
    problem = next(iter(examples.values()), None) or _made_outside_of_routes(kind, app)
    routes = " · ".join(f"`{route}`" for route in examples) or "any request"
    shown = json.dumps(problem, indent=2, ensure_ascii=False)
    return (
        f"## {kind}\n\n"
        f"`{type_uri(kind)}`\n\n"
        f"- **Cause**: {known.cause}\n"
        f"- **Cure**: {known.cure}\n"
        f"- **Answered by**: {routes}\n\n"
        f"```json\n{shown}\n```\n\n"
    )


def _made_outside_of_routes(kind: ProblemKind, app: FastAPI) -> Mapping[str, Any]:
    """An answer of the server or of the framework, made by the code that makes it."""
    made: dict[str, Callable[[], Any]] = {
        "bad-head": lambda: _asked(protocol.bounded_heads(app, head_bytes=100), "GET", "/hooks"),
        "internal-error": lambda: problem_of(Exception()).document(),
        "method-not-allowed": lambda: _asked(app, "PUT", "/hooks"),
        "no-such-route": lambda: _asked(app, "GET", "/hook"),
        "request-refused": lambda: problem_of_http(HTTPException(HTTPStatus.NOT_ACCEPTABLE), {}).document(),
        "too-many-connections": lambda: _asked(protocol._only_health(app, ()), "GET", "/hooks"),
    }
    problem: Mapping[str, Any] = made[kind]()
    return problem


def _asked(app: ASGIApp, method: str, path: str) -> Any:  # whatever JSON holds
    return TestClient(app).request(method, path).json()


def commands_page() -> str:
    """`docs/cli.md`: every command with what it says of itself, its arguments and its options."""
    sections: list[str] = []
    _describe(typer.main.get_command(cli.app), "hookstream", sections)
    return f"# Commands\n\n{_MADE}\n{''.join(sections)}".rstrip() + "\n"


def _describe(command: Any, path: str, sections: list[str]) -> None:  # what typer makes of it
    text = re.sub(r"\s*\x08\s*", "\n\n", inspect.cleandoc(command.help or ""))
    rows = []
    for parameter in command.params:
        names = " ".join([*parameter.opts, *parameter.secondary_opts])
        shown = names if names.startswith("-") else names.upper()
        if shown != "--help" and not getattr(parameter, "hidden", False):
            rows.append(f"| `{shown}` | {(getattr(parameter, 'help', None) or '').replace('|', '/')} |\n")
    table = f"| argument or option | meaning |\n|---|---|\n{''.join(rows)}\n" if rows else ""
    sections.append(f"## {path}\n\n{text}\n\n{table}")
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            _describe(inner, f"{path} {name}", sections)


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (ROOT / name).write_text(page())


PAGES: Final[Mapping[str, Callable[[], str]]] = {"docs/problems.md": problems_page, "docs/cli.md": commands_page}

if __name__ == "__main__":
    main()
