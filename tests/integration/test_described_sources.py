"""The API of a whole process describes the topics of other services as soon as the registry has their schemas."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx

from hookstream.processors.cli.roles.process import listen
from hookstream.processors.cli.trial.embedded_roles import Listeners, embedded_roles
from hookstream.processors.lifecycle import StopSignal
from hookstream.processors.operations.queries import source_schemas
from hookstream.processors.settings import KEY_BYTES, Settings
from hookstream.subscriptions.database import open_sessions, transact
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.tokens import TokenRequest, issue_token
from tests.support.repository import ROOT
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

ORDER = {
    "type": "record", "name": "Order", "doc": "An order.", "fields": [
        {"name": "order_id", "type": "string"},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    ],
}  # fmt: skip


def test_an_event_of_another_service_s_topic_is_described_by_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_schemas, "_EVERY_S", 0.05)
    settings = Settings(schema_dir=ROOT / "examples" / "foreign-topics")
    url, stop = f"sqlite:///{tmp_path / 'hookstream.sqlite3'}", StopSignal()
    with (
        listen("127.0.0.1", 0) as listener,
        embedded_roles(
            settings, database_url=url, secret_key=bytes(KEY_BYTES), listeners=Listeners(api=listener), stop=stop
        ) as embedded,
        httpx.Client(base_url=embedded.api_url, trust_env=False, timeout=WITHIN_S) as http,
    ):
        embedded.wait_ready()
        request = TokenRequest(role=Role.OPERATOR, client=None, name="test", expires_at_ms=None)
        issued = transact(
            open_sessions(embedded.engine), lambda session: issue_token(session, request, actor="test", now_ms=1)
        )

        def placed() -> dict[str, Any]:
            answer = http.get("/event-types", headers={"Authorization": f"Bearer {issued.token}"}).json()
            found: dict[str, Any] = next(e for e in answer["event_types"] if e["name"] == "order.placed")
            return found

        assert placed()["description"] is None
        embedded.deps.registry.register("shop.orders.v1-value", json.dumps(ORDER))
        eventually(lambda: placed()["description"] == "An order.")
        assert placed()["example"]["data"] == {"order_id": "text", "total": "12.50"}
        assert '"An order."' in http.get("/asyncapi.json").text
