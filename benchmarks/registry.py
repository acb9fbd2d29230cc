"""A stand-in for the schema registry, in a thread: roles ask theirs when they start and never while they are measured.

It speaks as much of Confluent's API as hookstream's roles use; tests run against real registries.
"""

from __future__ import annotations

import json
import re
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_VERSIONS = re.compile(r"/subjects/([^/?]+)/versions(?:\?.*)?$")
_LOOK_UP = re.compile(r"/subjects/([^/?]+)(?:\?.*)?$")
_BY_ID = re.compile(r"/schemas/ids/(\d+)(?:\?.*)?$")


class StandInRegistry:
    """Schemas in memory, ids from 1. One text has one id, whatever its subjects."""

    def __init__(self) -> None:
        """Listen on a free port; `with` serves."""
        registry = self

        class Handler(_Handler):
            schemas = registry

        self.texts: list[str] = []
        self.known: set[tuple[str, str]] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        """Start to answer."""
        threading.Thread(target=self._server.serve_forever, name="registry", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    def id_of(self, text: str) -> int:
        """The id of a schema, a new one where it is new."""
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


class _Handler(BaseHTTPRequestHandler):
    """One request after the other of one connection."""

    protocol_version = "HTTP/1.1"
    schemas: StandInRegistry

    def do_PUT(self) -> None:
        """Take any configuration: nothing evolves here."""
        self._body()
        self._answer(HTTPStatus.OK, {"compatibility": "BACKWARD_TRANSITIVE"})

    def do_POST(self) -> None:
        """Register a schema under a subject, or look it up there."""
        text = str(self._body()["schema"])
        if found := _VERSIONS.match(self.path):
            self.schemas.known.add((found[1], text))
            self._answer(HTTPStatus.OK, {"id": self.schemas.id_of(text)})
        elif (found := _LOOK_UP.match(self.path)) and (found[1], text) in self.schemas.known:
            number = self.schemas.id_of(text)
            self._answer(HTTPStatus.OK, {"subject": found[1], "version": 1, "id": number, "schema": text})
        else:
            self._answer(HTTPStatus.NOT_FOUND, {"error_code": 40403, "message": "no such schema"})

    def do_GET(self) -> None:
        """Give the schema of an id."""
        found = _BY_ID.match(self.path)
        if found and 0 < int(found[1]) <= len(self.schemas.texts):
            self._answer(HTTPStatus.OK, {"schema": self.schemas.texts[int(found[1]) - 1]})
        else:
            self._answer(HTTPStatus.NOT_FOUND, {"error_code": 40403, "message": "no such schema"})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Keep quiet."""

    def _body(self) -> dict[str, object]:
        length = int(self.headers.get("content-length") or 0)
        body: dict[str, object] = json.loads(self.rfile.read(length) or b"{}")
        return body

    def _answer(self, status: HTTPStatus, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/vnd.schemaregistry.v1+json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
