"""What the command line makes of the API's answers."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from hookstream.processors.cli.api_client import ApiClient
from hookstream.processors.cli.console import CommandError


def client(answers: Iterator[httpx.Response], pauses: list[float]) -> ApiClient:
    made = ApiClient("http://api", "token", sleep=pauses.append)
    made.close()
    made._http = httpx.Client(base_url="http://api", transport=httpx.MockTransport(lambda _request: next(answers)))
    return made


def too_many(retry_after: str | None) -> httpx.Response:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return httpx.Response(429, headers=headers, json={"detail": "too many"})


def test_a_question_that_came_while_others_were_answered_is_asked_again_when_the_api_says() -> None:
    pauses: list[float] = []
    answers = iter([too_many("1"), too_many("60"), too_many(None), too_many("9" * 5000), httpx.Response(200, json={})])
    with client(answers, pauses) as api:
        assert api.get("/endpoints") == {}
    assert pauses == [1.0, 5.0, 5.0, 5.0]


def test_it_is_not_asked_for_ever() -> None:
    pauses: list[float] = []
    answers = (too_many("1") for _ in range(100))
    with client(answers, pauses) as api, pytest.raises(CommandError, match="the API answered 429: too many"):
        api.get("/endpoints")
    assert len(pauses) == 5
