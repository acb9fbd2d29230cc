"""What the OpenAPI document says about a route, taken from the route: its sentences, and the problems of its kind.

A route names the errors that are its own (`problems`); what each route with a token, a body or parameters answers
follows from what it is. Examples are made by the code that makes the answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute

from hookstream.subscriptions.errors import DatabaseUnavailableError
from hookstream.subscriptions.models import Role

from .authentication import TokenRoute, foreign_client, not_json, unauthorized, wrong_role
from .body_limit import body_too_large
from .openapi import Responses, add_example, problems
from .problems import MEDIA_TYPE, ProblemError, malformed_json, not_valid
from .rate_limit import refusal
from .token_rates import Allowance, Rate

# One of them is refused by any parameter that has a rule.
_UNLIKELY: Final = ("0", "-1", "", "x" * 5000)
_REFUSED: Final = Allowance(allowed=False, rate=Rate(100), left=0, seconds=1)
_SENTENCE_END: Final = re.compile(r"(?<=[.])\s+")


def describe(route: APIRoute, *, max_body_bytes: int) -> None:
    """Complete what a route says of itself; the longest body that it takes is one of its problems."""
    sentences, _, rest = (route.endpoint.__doc__ or "").strip().partition("\n")
    summary, *more = _SENTENCE_END.split(sentences, maxsplit=1)
    route.summary = summary
    route.description = "\n".join(line.strip() for line in [*more, *rest.split("\n")]).strip()
    if isinstance(route, TokenRoute):
        common = problems(*_common(route, max_body_bytes))
        route.responses = dict(sorted(_merged(common, route.responses).items(), key=lambda each: str(each[0])))


def _common(route: TokenRoute, max_body_bytes: int) -> Iterator[Exception]:
    """What is answered because of what the route is."""
    yield unauthorized()
    yield unauthorized(token="the token is not valid")  # noqa: S106  # a sentence
    others = [role for role in Role if role not in route.allowed]
    if others:
        yield wrong_role(others[0], route.allowed)
    names = {field.alias for field in get_flat_params(route.dependant)}
    if Role.INTEGRATOR in route.allowed and "client" in names:
        yield foreign_client()
    if route.body_field is not None:
        yield malformed_json()
        yield body_too_large(max_body_bytes)
        yield not_json()
    yield from _invalid(route)
    yield refusal(_REFUSED)
    yield DatabaseUnavailableError()


def _invalid(route: APIRoute) -> Iterator[ProblemError]:
    """What the route answers to a body without anything in it, or to a parameter that cannot be."""
    if route.body_field is not None:
        _, errors = route.body_field.validate({}, loc=("body",))
        if errors:
            yield not_valid(errors)
            return
    for field in get_flat_params(route.dependant):
        for value in _UNLIKELY:
            _, errors = field.validate(value, loc=("parameter", field.alias))
            if errors:
                yield not_valid(errors)
                return


def _merged(common: Responses, own: Mapping[int | str, Mapping[str, Any]]) -> Responses:
    """Both; a status that both have has the examples of both, the route's own first."""
    merged: Responses = {**common, **{status: dict(response) for status, response in own.items()}}
    for status in common.keys() & own.keys():
        ours, theirs = common[status], own[status]
        content = {**ours["content"][MEDIA_TYPE], "examples": {}}
        for response in (theirs, ours):
            for name, example in response["content"][MEDIA_TYPE]["examples"].items():
                add_example(content["examples"], name.partition(" ")[0], example)
        merged[status] = {
            **ours,
            **theirs,
            "description": f"{theirs['description']} {ours['description']}",
            "content": {MEDIA_TYPE: content},
        }
    return merged
