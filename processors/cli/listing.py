"""Lists of the API, which gives them a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from hookstream.processors.cli.api_client import ApiClient

LONGEST_PAGE = 500
"""The most that most lists of the API give at once."""

Item: TypeAlias = dict[str, Any]


def list_pages(
    api: ApiClient,
    path: str,
    name: str,
    query: Mapping[str, object],
    *,
    limit: int | None = None,
    longest_page: int = LONGEST_PAGE,
    first_page: Mapping[str, object] | None = None,
) -> Iterator[dict[str, Any]]:
    """The pages of a list, each with its items under `name`: together at most `limit`. A page may be short or empty.

    `next_cursor` of the last page that is given says whether there is more. `first_page` is asked with the first alone.
    """
    cursor: str | None = None
    also = first_page or {}
    while True:
        size = longest_page if limit is None else min(limit, longest_page)
        page = api.get(path, **query, **also, limit=size, cursor=cursor)
        also = {}
        yield page
        cursor = page["next_cursor"]
        if limit is not None:
            limit -= len(page[name])
        if cursor is None or limit == 0:
            return


def list_items(
    api: ApiClient,
    path: str,
    name: str,
    query: Mapping[str, object],
    *,
    limit: int | None = None,
    longest_page: int = LONGEST_PAGE,
) -> Iterator[Item]:
    """The items of a list, at most `limit`; a page is asked for when it is reached."""
    for page in list_pages(api, path, name, query, limit=limit, longest_page=longest_page):
        yield from page[name]
