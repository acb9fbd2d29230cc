"""What operators are told of what they did."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from hookstream.processors.cli import main as cli
from hookstream.processors.cli.commands import endpoints, replay

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "434-5bd0a1f3c2e48796"
WHY = ("--reason", "they start anew")
SETTINGS = {
    "endpoint": NAME, "paused": False, "skip_before_ms": 1_000, "retry_at_ms": None, "skipped": [], "published": True,
    "asked_by": "operator 7", "reason": "they start anew",
}  # fmt: skip
DELIVERY = "msg_711b1117d551609b1e5b19e83c7f5f11"


class FakeApi:
    """Knows one endpoint, one delivery, one replay."""

    def __init__(self) -> None:
        self.state = "owed"
        self.cancelled = False

    def get(self, path: str, **_query: object) -> dict[str, Any]:
        if path.startswith("/replays/"):
            state = "cancelled" if self.cancelled else "running"
            return {"replay": {"id": 7, "state": state, "progress": {"sent": 1200}}}
        if path.startswith("/deliveries/"):
            return {"delivery": {"state": self.state, "hook": {"id": 1}}}
        if path.startswith("/hooks/"):
            return {"hook": {"client": {"id": 434}, "target": "http://x/"}}
        if path.endswith("/settings"):
            return {"settings": SETTINGS}
        return {"endpoint": {"behind": 3, "replays_behind": 0, "behind_exact": True}}

    def post(self, path: str, _body: object) -> dict[str, Any]:
        return {"settings": {**SETTINGS, "paused": path.endswith("/pause")}}

    def delete(self, _path: str) -> None:
        self.cancelled = True


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    fake = FakeApi()

    @contextmanager
    def opened() -> Iterator[Any]:
        yield fake

    for module in (endpoints, replay):
        monkeypatch.setattr(module, "open_api", opened)
    return fake


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("pause", NAME), f"nothing is sent to {NAME} until `hookstream resume`; what arrives stays pending"),
        (("resume", NAME), f"{NAME} is sent its backlog, in order, and then what arrives"),
        (("retry-now", NAME), f"what {NAME} would wait with is attempted now"),
        (
            ("skip", DELIVERY, "--endpoint", NAME),
            f"{DELIVERY} goes to the dead letters if it is pending for {NAME}, in its turn; ",
        ),
        (
            ("drain", NAME, "--yes"),
            f"the backlog of {NAME} at 1970-01-01T00:00:01Z goes to the dead letters: 3 deliveries; ",
        ),
    ],
)
@pytest.mark.usefixtures("api")
def test_the_first_line_says_what_was_done(
    args: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*args, *WHY]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(says)
    assert out[-1] == "  last change by operator 7: they start anew"


@pytest.mark.usefixtures("api")
def test_a_program_is_told_how_much_was_drained(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["drain", NAME, "--yes", "--json", *WHY]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["endpoint"], done["behind"], done["behind_exact"]) == (NAME, 3, True)


def test_a_delivery_that_has_ended_is_said_to(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.state = "delivered"
    assert cli.run(["skip", DELIVERY, *WHY]) == 0
    assert capsys.readouterr().err == f"{DELIVERY} is delivered already: there may be nothing left to skip\n"


@pytest.mark.usefixtures("api")
def test_a_replay_that_was_cancelled_says_how_far_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["replay", "cancel", "7"]) == 0
    assert capsys.readouterr().out == "replay 7: cancelled; the 1,200 that were sent are delivered\n"
