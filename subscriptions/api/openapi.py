"""The OpenAPI document: the routes with their tokens and problems, and what is sent to integrators as webhooks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, ParamSpec, TypeAlias

from fastapi import FastAPI, Security
from fastapi.openapi.utils import get_openapi
from fastapi.security import HTTPBearer

from hookstream.schemas.errors import SchemaError
from hookstream.schemas.event_types import EventType
from hookstream.schemas.ids import IdKind
from hookstream.subscriptions.errors import SubscriptionsError
from hookstream.subscriptions.problem_types import LONG_HEAD, PROBLEM_TYPES, UNREADABLE_HEAD

from .answer_examples import add_answer_examples
from .bodies import ID_MARK, ID_SCHEMAS, MarkedId
from .problems import MEDIA_TYPE, Problem, ProblemError, problem_of
from .rate_limit import describe
from .webhooks import add_webhooks

# Documents the scheme; tokens are checked by the route's class, before the body is read.
BEARER: Final[dict[str, Any]] = {"dependencies": [Security(HTTPBearer(auto_error=False, scheme_name="token"))]}

_P = ParamSpec("_P")
Responses: TypeAlias = dict[int | str, dict[str, Any]]

# Every tag that a route has, in the order of the document.
TAGS: Final[dict[str, str]] = {
    "hooks": "One client's registration of one event for one target.",
    "deliveries": "One event for one hook, its attempts, and what became of it; the requests that targets get.",
    "endpoints": "All hooks of a client that share a target: how it is doing, what is pending, what operators decided.",
    "dead letters": "What could not be delivered, with the reason; sending it again.",
    "replays": "A time of the log, counted first and then sent again, with the same delivery ids.",
    "events": "The catalogue of events, and publishing for platform services that have no Kafka client.",
    "audit": "Who did what to hooks, endpoints, replays and tokens, and when.",
    "portal": "Links that let one person into the portal, for the platform's own site to hand out.",
    "health": "What load balancers and Prometheus ask for, without a token.",
}


def problems(*errors: Exception) -> Responses:
    """The answers of a route to these errors. What every route with a token or a body answers is added to it later."""
    responses: Responses = {}
    for error in errors:
        problem = problem_of(error)
        cause = PROBLEM_TYPES[problem.kind].cause
        response = responses.setdefault(
            problem.status.value,
            {
                "description": "",
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        if cause not in response["description"]:
            response["description"] = f"{response['description']} {cause}".strip()
        if problem.headers:
            response["headers"] = {
                name: {"schema": {"type": "string"}, "example": value} for name, value in problem.headers.items()
            }
        example = {"summary": problem.detail, "value": problem.document()}
        add_example(response["content"][MEDIA_TYPE]["examples"], problem.kind, example)
    return responses


def add_example(examples: dict[str, Any], kind: str, example: Mapping[str, Any]) -> None:
    """Add one example under the name of its type; the second one of a type gets a number."""
    same = sum(name.partition(" ")[0] == kind for name in examples)
    examples[f"{kind} {same + 1}" if same else kind] = dict(example)


def raised(work: Callable[_P, object], *args: _P.args, **kwargs: _P.kwargs) -> Exception:
    """The error of ours that a call ends with: for `problems`, an example that the checking code makes itself."""
    try:
        work(*args, **kwargs)
    except (ProblemError, SchemaError, SubscriptionsError) as exc:
        return exc
    msg = "this call was to fail"
    raise AssertionError(msg)


def document(
    app: FastAPI, event_types: Iterable[EventType], ids: Mapping[MarkedId, Collection[IdKind]]
) -> dict[str, Any]:
    """A document that holds the schema which `problems` refers to; those of `event_types` are shared.

    `ids` says of which kinds the marked ids are in this deployment.
    """
    made = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=[{"name": name, "description": description} for name, description in TAGS.items()],
    )
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    schemas |= schema.pop("$defs", {})
    schemas["Problem"] = schema
    _add_answers_of_the_server(made)
    describe(made)
    _say_kinds(made, ids)
    add_webhooks(made, event_types)
    add_answer_examples(made)
    for operation in (operation for path in made["paths"].values() for operation in path.values()):
        if operation.get("description") == operation["summary"]:
            del operation["description"]
    return made


def _say_kinds(made: dict[str, Any], ids: Mapping[MarkedId, Collection[IdKind]]) -> None:
    """Put the schemas of a deployment's ids where they are marked."""
    waiting: list[Any] = [made]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict) and ID_MARK in node:
            kinds = ids[MarkedId(node.pop(ID_MARK))]
            found = [ID_SCHEMAS[kind] for kind in IdKind if kind in kinds]
            del node["anyOf"]
            node |= found[0] if len(found) == 1 else {"anyOf": found}
        elif isinstance(node, dict | list):
            waiting += node.values() if isinstance(node, dict) else node


def _add_answers_of_the_server(made: dict[str, Any]) -> None:
    """What is answered before a request reaches its route: to a head that cannot be read, or is too long."""
    too_long = LONG_HEAD.format(16 * 1024)
    answers = problems(
        ProblemError(HTTPStatus.BAD_REQUEST, "bad-head", UNREADABLE_HEAD),
        ProblemError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "bad-head", too_long),
    )
    for operations in made["paths"].values():
        for operation in operations.values():
            for status, answer in answers.items():
                operation["responses"].setdefault(str(int(status)), answer)
