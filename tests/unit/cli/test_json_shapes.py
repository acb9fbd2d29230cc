"""The JSON of every command: a client is the same object everywhere."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import pytest
import typer

from hookstream.processors.cli import api_client
from hookstream.processors.cli import main as cli
from hookstream.processors.cli.commands import subscriptions, tokens
from hookstream.schemas.event import ClientId
from hookstream.schemas.ids import IdKind
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.resync import LiftReport
from hookstream.subscriptions.tokens import TokenId, TokenInfo
from tests.support.subscriptions_api import unconnected_app

if TYPE_CHECKING:
    from collections.abc import Iterator

Json: TypeAlias = Any
HOOK, ENDPOINT, DELIVERY = "17", "434-4d1f6f0c2b6a9e11", "msg_9c6ab7d9d32c0ec43cb78817069fe1f2"
# What each command is called with.
OF_THE_API = {
    "audit": "",
    "lag": "",
    "hooks list": "",
    "hooks show": HOOK,
    "hooks create": "--event lead.new --target https://x.example/ --no-wait",
    "hooks change": f"{HOOK} --target https://x.example/",
    "hooks delete": f"{HOOK} --yes",
    "hooks disable": HOOK,
    "hooks enable": f"{HOOK} --backlog resume",
    "hooks rotate-secret": HOOK,
    "hooks attempts": HOOK,
    "hooks ping": HOOK,
    "endpoints list": "",
    "endpoints show": ENDPOINT,
    "endpoints settings": ENDPOINT,
    "endpoints rotate-secret": ENDPOINT,
    "deliveries show": DELIVERY,
    "deliveries resend": DELIVERY,
    "pause": f"{ENDPOINT} --reason r",
    "resume": f"{ENDPOINT} --reason r",
    "retry-now": f"{ENDPOINT} --reason r",
    "drain": f"{ENDPOINT} --reason r --dry-run",
    "skip": f"{DELIVERY} --endpoint {ENDPOINT} --reason r",
    "dead-letters list": "",
    "dead-letters show": "3-1204",
    "dead-letters resend": "--client 434 --dry-run",
    "replay": "--from -3h --dry-run",
    "replay list": "",
    "replay show": "7",
    "replay pause": "7",
    "replay resume": "7",
    "replay cancel": "7",
}
BY_A_FUNCTION = {"token create", "token list", "token revoke", "subscriptions resync"}
"""What they print is made by functions that are called below."""
WITHOUT_A_CLIENT = {
    "publish", "topics create", "topics check", "events check", "migrate", "recover", "secrets rotate", "listen",
    "demo",
}  # fmt: skip


class FakeApi:
    """Answers every request with the example of the API's own document."""

    def __init__(self, document: Json) -> None:
        paths = ((re.sub(r"\{[^}]*\}", "[^/]+", path), operations) for path, operations in document["paths"].items())
        self.paths = [(re.compile(pattern), operations) for pattern, operations in paths]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get(self, path: str, **_query: object) -> Json:
        return self.answer("get", path)

    def post(self, path: str, _body: object, **_more: object) -> Json:
        return self.answer("post", path)

    def patch(self, path: str, _body: object) -> Json:
        return self.answer("patch", path)

    def delete(self, path: str) -> None:
        self.answer("delete", path)

    def answer(self, method: str, path: str) -> Json:
        """A list has one page, and a replay has ended."""
        for pattern, operations in self.paths:
            operation = operations.get(method)
            if operation is not None and pattern.fullmatch(path):
                good = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
                return ended(good.get("content", {}).get("application/json", {}).get("example", {}))
        raise AssertionError(f"{method} {path}")


def ended(answer: Json) -> Json:
    changed = json.loads(json.dumps(answer))
    if "next_cursor" in changed:
        changed["next_cursor"] = None
    for replay in (changed.get("replay"), *changed.get("replays", ())):
        if replay is not None:
            replay["state"] = "done"
    return changed


@pytest.fixture(scope="module")
def api() -> FakeApi:
    return FakeApi(unconnected_app().openapi())


@pytest.mark.parametrize("command", OF_THE_API)
def test_a_client_is_an_object_in_the_json_of_every_command(
    api: FakeApi, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOOKSTREAM_API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("HOOKSTREAM_API_TOKEN", "t")
    monkeypatch.setattr(api_client, "ApiClient", lambda *_: api)
    assert cli.run([*command.split(), *OF_THE_API[command].split(), "--json"]) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    found = [json.loads(line) for line in out.splitlines()] if command == "audit" else json.loads(out)
    clients = list(clients_in(found))
    assert all(client is None or set(client) == {"id"} for client in clients), clients
    assert clients or "client" not in out


def test_the_commands_that_ask_the_database_show_the_same_object(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HOOKSTREAM_CLIENT_IDS", raising=False)
    info = TokenInfo(
        id=TokenId(1), role=Role.INTEGRATOR, client=ClientId("434"), name="n", created_at_ms=1, expires_at_ms=None,
        revoked_at_ms=None, last_used_at_ms=None,
    )  # fmt: skip
    assert tokens._fields(info)["client"] == {"id": 434}
    lift = LiftReport(seen=1, lifted=0, taken_over=0, closed=(("434", "lead.new"),), refused=())
    subscriptions._print_result(lift, {}, IdKind.INTEGER, as_json=True)
    assert json.loads(capsys.readouterr().out)["closed"] == [{"client": {"id": 434}, "event": "lead.new"}]


def test_every_command_that_prints_json_is_looked_at() -> None:
    assert set(printing_json(typer.main.get_command(cli.app))) == set(OF_THE_API) | BY_A_FUNCTION | WITHOUT_A_CLIENT


def clients_in(value: Json) -> Iterator[Json]:
    """Every value that is called a client."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name == "client":
                yield part
            else:
                yield from clients_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from clients_in(part)


def printing_json(command: Any, path: str = "") -> Iterator[str]:
    if any("--json" in parameter.opts for parameter in command.params):
        yield path.strip()
    for name, below in getattr(command, "commands", {}).items():
        yield from printing_json(below, f"{path} {name}")
