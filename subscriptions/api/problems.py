"""Every error as `application/problem+json`, of a bounded size, without a value that was sent.

Source: RFC 9457. `type` is one of `PROBLEM_TYPES`; `errors` points into the body (RFC 6901, as a fragment) or
names a parameter. Of what was sent only the name of an unknown key is shown, where it looks like one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from hookstream.schemas.errors import InvalidValueError, UnknownEventError
from hookstream.subscriptions.errors import (
    BacklogUnknownError,
    BrokerClockError,
    DatabaseError,
    DeadLettersUnavailableError,
    DeliveryExpiredError,
    DeliveryNotFoundError,
    EndpointNotFoundError,
    HookChangedError,
    HookDeletedError,
    HookDisabledError,
    HookExistsError,
    HookNotFoundError,
    HooksExistError,
    IdempotencyConflictError,
    InvalidTargetError,
    LogSearchError,
    NotPublishedError,
    ReplayNotFoundError,
    ReplayStateError,
    ReplayUnfinishedError,
    SchemaRevisionError,
    TooManySecretsError,
    TooManySkipsError,
)
from hookstream.subscriptions.problem_types import ProblemKind, type_uri

MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_S = "1"
# An answer must not be a multiple of its request: so many faults are shown, and counted beyond.
MAX_FAULTS = 20
_MAX_DETAIL_CHARS = 300
_KEY_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}", re.ASCII)
# Tags that select one body of a union; they are not in the body.
BODY_TAGS = frozenset({"one event", "many events", "one hook", "many hooks"})


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str | None = Field(
        default=None, description="where in the body, as a JSON pointer", examples=["#/hook/event"]
    )
    parameter: str | None = Field(default=None, description="which parameter or header", examples=["limit"])
    detail: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(examples=["urn:hookstream:problem:hook-exists"])
    title: str
    status: int
    detail: str
    errors: list[Fault] | None = None


class ProblemError(Exception):
    """An answer that is a problem; `extra` are its extension members."""

    def __init__(
        self,
        status: HTTPStatus,
        kind: ProblemKind,
        detail: str,
        *,
        extra: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.extra = extra or {}
        self.headers = headers or {}

    def document(self) -> dict[str, object]:
        """The body of the answer."""
        return {
            "type": type_uri(self.kind),
            "title": self.kind.replace("-", " "),
            "status": self.status.value,
            "detail": self.detail,
            **self.extra,
        }

    def response(self) -> JSONResponse:
        """The answer."""
        return JSONResponse(self.document(), self.status, headers=dict(self.headers), media_type=MEDIA_TYPE)


def invalid(*faults: Fault, more: int = 0) -> ProblemError:
    """422 with what is wrong: the first faults; `more` were found that are not among `faults`."""
    errors = [fault.model_dump(exclude_none=True) for fault in faults[:MAX_FAULTS]]
    detail = "; ".join(f"{fault.pointer or fault.parameter}: {fault.detail}" for fault in faults[:3])
    if left_out := len(faults) - len(errors) + more:
        detail += f"; {left_out} more are not shown"
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", detail, extra={"errors": errors})


def problem_of(exc: Exception) -> ProblemError:  # noqa: C901, PLR0911, PLR0912  # a table, a row an error
    """What an error of ours means to the one who asked."""
    match exc:
        case ProblemError():
            return exc
        case HookExistsError():
            detail = (
                f"hook {exc.hook_id} exists for this event; PATCH /hooks/{exc.hook_id} gives it another target and"
                " keeps what is pending, which a deletion cancels"
            )
            return ProblemError(HTTPStatus.CONFLICT, "hook-exists", detail, extra={"hook": {"id": exc.hook_id}})
        case HooksExistError():
            first = ", ".join(f"{event} (hook {hook_id})" for event, hook_id in list(exc.hooks.items())[:3])
            more = f" and {len(exc.hooks) - 3} more" if len(exc.hooks) > 3 else ""  # noqa: PLR2004  # as above
            detail = (
                f"there are hooks for {first}{more}, so that none was made; PATCH /hooks/{{id}} gives a hook another"
                " target and keeps what is pending, which a deletion cancels"
            )
            existing = [{"id": hook_id, "event": event} for event, hook_id in exc.hooks.items()]
            return ProblemError(HTTPStatus.CONFLICT, "hook-exists", detail, extra={"hooks": existing})
        case HookNotFoundError():
            return ProblemError(HTTPStatus.NOT_FOUND, "hook-not-found", f"there is no hook {exc.hook_id}")
        case HookChangedError():
            detail = (
                f"hook {exc.hook_id} has changed since, and nothing was done: GET it, decide again, and send"
                f' `If-Match: "{exc.revision}"`'
            )
            headers = {"ETag": f'"{exc.revision}"'}
            return ProblemError(HTTPStatus.PRECONDITION_FAILED, "hook-changed", detail, headers=headers)
        case TooManySecretsError():
            detail = f"{exc}; the old ones are dropped when their day is over"
            extra = {"old_secrets_until_ms": exc.until_ms}
            return ProblemError(HTTPStatus.CONFLICT, "too-many-secrets", detail, extra=extra)
        case EndpointNotFoundError():
            return ProblemError(HTTPStatus.NOT_FOUND, "endpoint-not-found", "there is no such endpoint")
        case TooManySkipsError():
            return ProblemError(HTTPStatus.CONFLICT, "too-many-skips", str(exc))
        case ReplayNotFoundError():
            return ProblemError(HTTPStatus.NOT_FOUND, "replay-not-found", f"there is no replay {exc.replay_id}")
        case ReplayStateError():
            return ProblemError(HTTPStatus.CONFLICT, "replay-state", str(exc), extra={"replay": {"state": exc.state}})
        case ReplayUnfinishedError():
            return ProblemError(
                HTTPStatus.CONFLICT, "replay-unfinished", str(exc), extra={"replay": {"id": exc.replay_id}}
            )
        case InvalidTargetError():
            return invalid(Fault(pointer="#/hook/target", detail=f"the target {exc}"))
        case UnknownEventError():
            return invalid(Fault(pointer="#/hook/event", detail=no_such_event(exc)))
        case InvalidValueError():
            return invalid(Fault(pointer="#", detail=str(exc)))
        case IdempotencyConflictError():
            fault = {"parameter": "Idempotency-Key", "detail": str(exc)}
            faulty = {"errors": [fault]}
            return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-key-reused", str(exc), extra=faulty)
        case DeliveryNotFoundError():
            return ProblemError(HTTPStatus.NOT_FOUND, "delivery-not-found", str(exc))
        case DeliveryExpiredError():
            return ProblemError(HTTPStatus.CONFLICT, "delivery-expired", str(exc))
        case HookDisabledError():
            return ProblemError(HTTPStatus.CONFLICT, "hook-disabled", str(exc), extra={"hook": {"id": exc.hook_id}})
        case HookDeletedError():
            return ProblemError(HTTPStatus.CONFLICT, "hook-deleted", str(exc), extra={"hook": {"id": exc.hook_id}})
        case LogSearchError():
            return _unavailable("log-search-unavailable", str(exc))
        case SchemaRevisionError():
            return _unavailable("database-unavailable", str(exc))
        case DatabaseError():
            # Its own words name hosts, databases and users.
            return _unavailable("database-unavailable", "the database does not answer; /readyz and the log say why")
        case BrokerClockError():
            return _unavailable("broker-clock-unavailable", str(exc))
        case DeadLettersUnavailableError():
            return _unavailable("dead-letters-unavailable", str(exc))
        case BacklogUnknownError():
            return _unavailable("owed-unknown", str(exc))
        case NotPublishedError():
            return _unavailable("not-published", str(exc))
        case _:
            detail = "hookstream failed; the log of its process says how"
            return ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", detail)


def _unavailable(kind: ProblemKind, detail: str) -> ProblemError:
    headers = {"Retry-After": _RETRY_AFTER_S}
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, kind, detail, headers=headers)


_TRANSLATED: Sequence[type[Exception]] = (
    ProblemError,
    ReplayNotFoundError,
    ReplayStateError,
    ReplayUnfinishedError,
    HookExistsError,
    HooksExistError,
    HookNotFoundError,
    HookChangedError,
    EndpointNotFoundError,
    TooManySkipsError,
    DeadLettersUnavailableError,
    TooManySecretsError,
    InvalidTargetError,
    UnknownEventError,
    InvalidValueError,
    IdempotencyConflictError,
    DeliveryNotFoundError,
    DeliveryExpiredError,
    HookDisabledError,
    HookDeletedError,
    LogSearchError,
    DatabaseError,
    NotPublishedError,
    BrokerClockError,
    EndpointNotFoundError,
    BacklogUnknownError,
    Exception,
)


def install(app: FastAPI, routes: Sequence[APIRoute]) -> None:
    """Answer every error of the app, whose routes these are, as a problem.

    The handlers are coroutines: others would run in the threads of the routes' handlers, and wait for one.
    """
    app.state.api_routes = tuple(routes)
    for kind in _TRANSLATED:
        app.add_exception_handler(kind, _translated)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _http)


async def _translated(request: Request, exc: Exception) -> Response:  # noqa: ARG001  # Starlette calls it so
    return problem_of(exc).response()


async def _not_valid(request: Request, exc: Exception) -> Response:  # noqa: ARG001  # Starlette calls it so
    return not_valid(cast("RequestValidationError", exc).errors()).response()


def not_valid(errors: Sequence[Mapping[str, Any]]) -> ProblemError:
    """What pydantic found wrong with a request."""
    if any(error["type"] == "json_invalid" for error in errors):
        return malformed_json()
    shown = [_fault(error["loc"], error["type"], error["msg"]) for error in errors[:MAX_FAULTS]]
    return invalid(*shown, more=len(errors) - len(shown))


def malformed_json(headers: Mapping[str, str] | None = None) -> ProblemError:
    """400: a body that is not JSON."""
    return ProblemError(
        HTTPStatus.BAD_REQUEST, "malformed-json", "the body is not JSON that can be read", headers=headers
    )


def no_such_event(exc: UnknownEventError) -> str:
    """The answer about an event that is none, without the name that was sent."""
    return f"is no event of the catalogue; {exc.hint}" if exc.hint else "is no event of the catalogue"


def _fault(location: Sequence[str | int], kind: str, message: str) -> Fault:
    place, *path = location
    message = message[:_MAX_DETAIL_CHARS]
    if kind == "extra_forbidden" and not _KEY_NAME.fullmatch(str(path[-1])):
        path, message = path[:-1], "Has a key that is not known here"
    if place != "body":
        return Fault(parameter=str(path[0]) if path else str(place), detail=message)
    steps = [str(step).replace("~", "~0").replace("/", "~1") for step in path if step not in BODY_TAGS]
    return Fault(pointer="/".join(["#", *steps]), detail=message)


async def _http(request: Request, exc: Exception) -> Response:
    """What the framework itself answers: no such route, no such method, a body that cannot be read."""
    error = cast("HTTPException", exc)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(cast("FastAPI", request.app), request.url.path))
    return problem_of_http(error, headers).response()


def problem_of_http(error: HTTPException, headers: Mapping[str, str]) -> ProblemError:
    """An error of the framework as a problem with these headers."""
    status = HTTPStatus(error.status_code)
    match status:
        case HTTPStatus.NOT_FOUND:
            return ProblemError(status, "no-such-route", "there is nothing at this path")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return ProblemError(status, "method-not-allowed", f"this path takes {headers['Allow']}", headers=headers)
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return ProblemError(status, "body-too-large", str(error.detail))
        case HTTPStatus.BAD_REQUEST:
            return malformed_json(headers)
        case _:
            return ProblemError(status, "request-refused", str(error.detail), headers=headers)


def _allowed(app: FastAPI, path: str) -> list[str]:
    """Every method of the path: the framework names those of the first route alone."""
    methods: set[str] = set()
    for route in app.state.api_routes:
        if route.path_regex.match(path):
            methods |= route.methods
    return sorted(methods)
