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


_COMMANDS_HEAD: Final = f"""# Commands

{_MADE}
`hookstream --install-completion` installs completion for the shell that runs it (bash, zsh, fish, PowerShell);
`--show-completion` prints it.

Results are printed on stdout, everything else on stderr. The exit code is 0 when it is done, 1 when it failed (one line
on stderr says why), 2 when a command was called wrongly or a setting is missing or wrong, and 130 after Ctrl-C.

A time is typed in ISO 8601 with its zone, such as `2026-11-24T02:10:00Z`, or as so long before now: `3h`, `-3h` and
`90m` are the same grammar everywhere, with `s`, `m`, `h` and `d`. A time without a zone is refused. A duration, such as
of `--wait`, is the same without a minus, or a number of seconds. Times are printed in ISO 8601, in UTC.

## JSON

With `--json` a command prints one JSON document on stdout: an object, or for a list an array of objects. `audit`,
`listen` and `lag --watch`, which may have no end, print an object a line. Without `--json` the text is for people, and
its words and columns may change.

The shapes are stable. In a release of the same major version no field is removed or renamed, and none changes its
type or its meaning; fields may be added, so ignore those that you do not know. Names are in snake_case. A name that
ends in `_ms` is a time in Unix milliseconds (or a duration, as in `duration_ms`), `_s` is seconds. `null` is a value
that is not known, or that there is not.

Hooks, endpoints, endpoint settings, deliveries, attempts, dead letters, replays and entries of the audit are the
objects of the API, field by field: `/openapi.json` describes them. A client is an object with an `id` everywhere, in
dead letters and replays too, where the API has the id alone. The others are the commands' own:

| command | JSON |
|---|---|
| `lag` | `at_ms`, `endpoints`, `more` (whether `--limit` left some out), `totals`, `unknown`, `unrecorded` |
| `publish EVENT` | `id`, `topic`, `partition`, `offset`, `dry_run` |
| `publish --file` | `accepted`, `failed`, `failures` (`line`, `reason`), `dry_run` |
| `deliveries show` | `delivery`, `attempts` |
| `hooks ping` | `delivery`, `attempt` |
| `hooks delete` | `id`, `deleted` |
| `drain --dry-run` | `endpoint`, `behind`, `behind_exact` |
| `dead-letters resend` | `resent`, `unfit`, `left`; with `--dry-run` `resendable`, `unfit`, `hooks` |
| `token create`, `list`, `revoke` | `id`, `role`, `client`, `name`, `created_at_ms`, `last_used_at_ms`, \
`expires_at_ms`, `revoked_at_ms`; of `create` also `token` |
| `topics create` | `created`, `topics`, `subjects` |
| `topics check` | `topics`, `subjects`, `complaints` |
| `events check` | `events` (`name`, `topic`, `description`, `since`, `example`, `json_schema`), `faults`; with \
`--sample` an array of `position`, `key`, `headers`, `value`, `result`, `detail`, `body` |
| `migrate` | `revision` |
| `recover` | `partitions`, `dry_run` |
| `subscriptions resync` | `seen`, `lifted`, `taken_over`, `closed`, `refused`, `published`, `mark_offset`, `dry_run` |
| `secrets rotate` | `key`, `under`, `hooks`, `answers`, `unopenable_hooks`, `unpublished`, `dry_run` |
| `listen` | `at_ms`, `method`, `path`, `headers`, `status`, `verified`, `fault`, and `body` or `body_base64` |
| `demo` | `events`, `deliveries`, `duplicates`, `problems`, `latency_ms`, `seconds` |

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
    return f"{_COMMANDS_HEAD}{''.join(sections)}".rstrip() + "\n"


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
