"""Lists that the API gives a page at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from hookstream.processors.cli.listing import list_items, list_pages


@dataclass
class Api:
    """Gives these pages, whatever is asked."""

    pages: list[list[Any]]
    asked: list[dict[str, object]] = field(default_factory=list)

    def get(self, _path: str, **query: object) -> dict[str, Any]:
        """Give the page that the cursor names."""
        self.asked.append(query)
        number = int(str(query["cursor"] or 0))
        return {"things": self.pages[number], "next_cursor": str(number + 1) if number + 1 < len(self.pages) else None}


def test_every_page_is_read_also_behind_an_empty_one() -> None:
    api = Api([["a", "b"], [], ["c"]])
    found: list[Any] = list(list_items(cast("Any", api), "/things", "things", {"client": 7}))
    assert found == ["a", "b", "c"]
    assert [query["cursor"] for query in api.asked] == [None, "1", "2"]
    assert {(query["client"], query["limit"]) for query in api.asked} == {(7, 500)}


@pytest.mark.parametrize(("limit", "sizes"), [(2, [2]), (3, [2, 1]), (9, [2, 2, 2])])
def test_no_more_is_asked_for_than_is_wanted(limit: int, sizes: list[int]) -> None:
    api = Api([[1, 2], [3], [4, 5]])
    list(list_pages(cast("Any", api), "/things", "things", {}, limit=limit, longest_page=2))
    assert [query["limit"] for query in api.asked] == sizes


def test_the_next_page_is_asked_for_when_it_is_reached() -> None:
    api = Api([[1], [2]])
    first: Any = next(list_items(cast("Any", api), "/things", "things", {}))
    assert first == 1
    assert len(api.asked) == 1
