"""The command line as a client of the API."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from hookstream.processors.errors import SettingsError
from hookstream.processors.logs import clean_url
from hookstream.processors.settings import variable

from .console import CommandError

_TIMEOUT_S = 15.0
_TRIES = 6
_LONGEST_PAUSE_S = 5.0
_SECONDS = re.compile(r"[0-9]{1,3}", re.ASCII)


class ApiClient:
    """Asks the API, and turns every answer that is none into one line."""

    def __init__(self, url: str, token: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Prepare; nothing is sent yet.

        Raises:
            SettingsError: the URL is none.
        """
        self._sleep = sleep
        self._shown_url = clean_url(url)
        try:
            base = httpx.URL(url)
            if base.scheme not in ("http", "https") or not base.host:
                raise httpx.InvalidURL("no host")
            # What the environment says of proxies is about the internet, not about a service beside us.
            self._http = httpx.Client(
                base_url=base, headers={"authorization": f"Bearer {token}"}, timeout=_TIMEOUT_S, trust_env=False
            )
        except (httpx.InvalidURL, UnicodeEncodeError):
            message = f"{variable('api_url')} and {variable('api_token')} want an http(s) URL and a token"
            raise SettingsError(message) from None

    def get(self, path: str, **query: object) -> dict[str, Any]:
        """GET a path; queries that are None are left out."""
        return self._send("GET", path, query=query)

    def post(self, path: str, body: object, *, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """POST a JSON body."""
        return self._send("POST", path, body=body, headers=headers)

    def patch(self, path: str, body: object) -> dict[str, Any]:
        """PATCH with a JSON body."""
        return self._send("PATCH", path, body=body)

    def delete(self, path: str) -> None:
        """DELETE a path; the answer has no body."""
        self._send("DELETE", path)

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        params = {name: str(value) for name, value in (query or {}).items() if value is not None}
        try:
            answer = self._asked(lambda: self._http.request(method, path, params=params, json=body, headers=headers))
        except httpx.HTTPError as exc:
            message = f"no answer from {self._shown_url}: {str(exc) or type(exc).__name__}"
            raise CommandError(message) from exc
        try:
            document = {} if answer.status_code == httpx.codes.NO_CONTENT else answer.json()
            if not isinstance(document, dict):
                raise TypeError
        except (ValueError, TypeError):
            message = f"{self._shown_url} answered {answer.status_code} and no JSON: is this the API of hookstream?"
            raise CommandError(message) from None
        if answer.is_success:
            return document
        message = f"the API answered {answer.status_code}: {document.get('detail', answer.reason_phrase)}"
        raise CommandError(message)

    def _asked(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        """The answer; a question that comes while too many are being answered is asked again for a while."""
        for _ in range(_TRIES - 1):
            answer = ask()
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                return answer
            pause = answer.headers.get("retry-after", "")
            self._sleep(min(float(pause), _LONGEST_PAUSE_S) if _SECONDS.fullmatch(pause) else _LONGEST_PAUSE_S)
        return ask()

    def close(self) -> None:
        """Disconnect."""
        self._http.close()

    def __enter__(self) -> Self:
        """Use as a context: closed at its end."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Close."""
        self.close()
