"""Entity tags of hooks: a change may name the state that it was decided on, and is refused where there is another.

The tag is the hook's revision, which rises with every change of it, also by the relay and by operators. Two answers
with one tag may differ in `effective` alone, which says where routers are and not what the hook is.

Source: RFC 9110, sections 8.8.3 (entity tags), 13.1.1 (If-Match).
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeAlias

from fastapi import Depends, Header, Response

from hookstream.subscriptions.changes import StoredHook
from hookstream.subscriptions.repository import Condition

# More than enough for a list of revisions.
_MAX_CHARS: Final = 1_000
_ENTITY_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_REVISION: Final = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


def tagged(status: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """What the OpenAPI document says of an answer with an entity tag."""
    header = {"description": "the hook's revision", "schema": {"type": "string"}, "example": '"3"'}
    return {status.value: {"headers": {"ETag": header}}}


def entity_tag(revision: int) -> str:
    """The tag of a hook at this revision."""
    return f'"{revision}"'


def tag(response: Response, stored: StoredHook) -> None:
    """Give an answer the tag of its hook."""
    response.headers["ETag"] = entity_tag(stored.hook.revision)


async def _condition(
    if_match: Annotated[
        str | None,
        Header(
            max_length=_MAX_CHARS,
            description="the `ETag` of the state that the change is meant for: if the hook has changed since, nothing"
            " is done, and the answer is 412",
            examples=['"3"'],
        ),
    ] = None,
) -> Condition | None:
    """The revisions that a request names; None where it names none, or `*`.

    Of what is no strong tag of ours nothing is: such a request changes nothing.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    tags = _ENTITY_TAG.findall(if_match)
    return Condition(frozenset(int(text) for weak, text in tags if not weak and _REVISION.fullmatch(text)))


IfMatch: TypeAlias = Annotated[Condition | None, Depends(_condition)]
"""The condition of a change, from its header `If-Match`."""
