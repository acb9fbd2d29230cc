"""`hookstream listen`: what it verifies, answers and shows, also where a request is hostile."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import io
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from hookstream.processors.cli.console import CommandError
from hookstream.processors.cli.trial import listen_app
from hookstream.processors.cli.trial.home import Home
from hookstream.processors.cli.trial.listen_app import Behaviour, ListenApp, Received, judge
from hookstream.processors.cli.trial.listen_run import register
from hookstream.processors.cli.trial.listen_view import fields_of, lines_of

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 24).decode()
BODY = b'{"event":"lead.new","client":434,"concept":{"id":17,"namespace":"lead","sub_namespace":null}}'
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b2J\u202e\nhookstream: all is well [bold]x[/bold]"


def signed(body: bytes = BODY, secret: str = SECRET) -> dict[str, str]:
    """Headers of a delivery of now."""
    at = str(int(time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    made = base64.b64encode(hmac.new(key, b"msg_1." + at.encode() + b"." + body, hashlib.sha256).digest()).decode()
    return {"webhook-id": "msg_1", "webhook-timestamp": at, "webhook-signature": f"v1,{made}"}


def request(**fields: Any) -> Received:
    """A request that was received."""
    of = {"method": "POST", "path": "/", "headers": (), "body": BODY, "at_ms": 0, "status": 204, "verified": True}
    return Received(**{**of, **fields})


def shown(received: Received, **options: bool) -> str:
    """What a terminal without colours is sent."""
    out = io.StringIO()
    console = Console(file=out, width=500, force_terminal=True, color_system=None)
    for line in lines_of(received, **options):
        console.print(line, soft_wrap=True)
    return out.getvalue()


def test_any_known_secret_verifies_and_without_one_nothing_is_said() -> None:
    assert judge([OTHER, SECRET], signed(), BODY) == (True, None)
    assert judge([OTHER], signed(), BODY) == (False, "no signature is right")
    assert judge([SECRET], {}, BODY) == (False, "there is no header webhook-id")
    assert judge([], signed(), BODY) == (None, None)


@pytest.mark.parametrize("timestamp", ["", "x", "9" * 400, "9" * 5000, "-1", "1e9", "\u0663", "nan"])
def test_a_timestamp_that_is_none_is_a_fault_and_no_error(timestamp: str) -> None:
    verified, fault = judge([SECRET], {**signed(), "webhook-timestamp": timestamp}, BODY)
    assert verified is False
    assert fault


@pytest.mark.parametrize("secret", ["whsec_", "no base64", "whsec_ü", ""])
def test_a_secret_that_is_none_verifies_nothing(secret: str) -> None:
    assert judge([secret], signed(), BODY)[0] is False


@settings(max_examples=30)
@given(st.binary(max_size=200), st.dictionaries(st.text(max_size=20), st.text(max_size=50), max_size=4))
def test_no_request_is_an_error_or_reaches_the_terminal_as_it_is(body: bytes, headers: dict[str, str]) -> None:
    verified, fault = judge([SECRET], {**signed(), **headers}, body)
    received = request(body=body, headers=tuple(headers.items()), verified=verified, fault=fault)
    json.dumps(fields_of(received))
    assert not [char for char in shown(received, headers=True) if not char.isprintable() and char != "\n"]


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"event": HOSTILE, "client": HOSTILE, "concept": {"id": HOSTILE, "namespace": HOSTILE}}).encode(),
        json.dumps({"x": [HOSTILE] * 9}, ensure_ascii=False).encode(),
        HOSTILE.encode(),
        b"\xff\x1b[2J",
        b"[" * 900 + b"]" * 900,
        b"[" * 100_000,
    ],
)
def test_what_a_sender_wrote_is_shown_and_not_obeyed(body: bytes) -> None:
    headers = (("webhook-id", HOSTILE), ("hookstream-attempt", HOSTILE), (HOSTILE, HOSTILE))
    said = shown(
        request(path=f"/{HOSTILE}", method=HOSTILE, body=body, headers=headers, verified=False, fault=HOSTILE),
        headers=True,
    )
    assert [char for char in said if not char.isprintable() and char != "\n"] == []
    assert "\\x1b]0;owned\\x07" in said
    assert not any(line.startswith("hookstream: ") for line in said.splitlines())


def test_a_delivery_is_shown_in_a_line_and_a_long_body_is_indented_and_cut() -> None:
    first, body = shown(request(headers=(("webhook-id", "msg_1"), ("hookstream-attempt", "2")))).splitlines()
    assert first == "00:00:00.000  204  lead.new lead 17 of client 434  signature ok  attempt 2  msg_1"
    assert json.loads(body) == json.loads(BODY)
    lines = shown(request(body=json.dumps(list(range(1000))).encode(), verified=None)).splitlines()
    assert lines[0] == "00:00:00.000  204  POST /  not verified: no secret"
    assert lines[-1].strip() == "… and 962 more lines"
    assert len(shown(request(body=b"x" * 10_000_000))) < 10_000


def post(app: ListenApp, body: bytes = BODY, headers: dict[str, str] | None = None, parts: int = 1) -> int:
    """Send a request to the app, and give the status of its answer."""
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": body, "more_body": n < parts} for n in range(parts)
    ]
    messages[-1]["more_body"] = False
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]
    scope: Any = {"type": "http", "method": "POST", "path": "/x", "query_string": b"", "headers": raw}
    asyncio.run(app(scope, receive, send))
    return int(sent[0]["status"])


def test_it_fails_as_often_as_it_was_told_and_never_takes_what_is_not_signed() -> None:
    seen: list[Received] = []
    app = ListenApp(secrets=lambda: [SECRET], behaviour=Behaviour(fail_with=503, failures=1), received=seen.append)
    assert [post(app, headers={}), post(app, headers=signed()), post(app, headers=signed())] == [401, 503, 204]
    assert [(each.status, each.verified) for each in seen] == [(401, False), (503, True), (204, True)]
    always = ListenApp(secrets=list, behaviour=Behaviour(fail_with=410), received=seen.append)
    assert [post(always), post(always)] == [410, 410]


def test_a_body_that_is_too_large_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen_app, "MAX_BODY_BYTES", 100)
    seen: list[Received] = []
    assert post(ListenApp(secrets=list, behaviour=Behaviour(), received=seen.append), b"x" * 60, parts=9) == 413
    assert seen[0].body == b""


class FakeApi:
    """Holds hooks by event, as the API shows them."""

    def __init__(self, **targets: str) -> None:
        self.hooks = {event: {"id": n, "target": target} for n, (event, target) in enumerate(targets.items(), 1)}
        self.effective: list[bool] = []

    def get(self, path: str, *, event: str = "") -> dict[str, Any]:
        if path != "/hooks":
            return {"hook": {"effective": self.effective.pop(0) if self.effective else False}}
        return {"hooks": [self.hooks[event]] if event in self.hooks else []}

    def post(self, path: str, body: Any) -> dict[str, Any]:
        if path == "/hooks":
            hook = {"id": 100 + len(self.hooks), **body["hook"]}
            self.hooks[hook["event"]] = hook
            return {"hook": {**hook, "secret": f"whsec_{hook['id']}"}}
        return {"hook": {"secret": f"whsec_new{path.split('/')[2]}"}}


def test_a_hook_is_registered_once_and_its_secret_is_kept(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.write_variables({})
    api: Any = FakeApi(other="http://elsewhere/", lost="http://h/lost")
    assert register(api, home, "http://h", ["new", "other", "lost"]) == ["whsec_102", "whsec_new2"]
    assert register(api, home, "http://h", ["new", "other", "lost"]) == ["whsec_102", "whsec_new2"]
    assert home.hook_secrets() == {102: "whsec_102", 2: "whsec_new2"}
    assert api.hooks["other"]["target"] == "http://elsewhere/"


def test_what_the_api_refuses_ends_it_before_a_secret_is_lost(tmp_path: Path) -> None:
    class Refusing(FakeApi):
        def post(self, path: str, body: Any) -> dict[str, Any]:
            if body["hook"]["event"] == "bad":
                raise CommandError("the API answered 422")
            return super().post(path, body)

    home = Home(tmp_path)
    home.write_variables({})
    api: Any = Refusing()
    with pytest.raises(CommandError):
        register(api, home, "http://h", ["new", "bad"])
    assert home.hook_secrets() == {100: "whsec_100"}
