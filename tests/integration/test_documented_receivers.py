"""The servers of docs/receivers.md receive, verify and refuse real deliveries."""

from __future__ import annotations

import re
import shutil
import sqlite3
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.deployment import HOOKSTREAM, START_S, Caller
from tests.support.documented_receivers import LANGUAGES, code
from tests.support.machine import give_up
from tests.support.processes import Process, accepts_connections, clean_environment, free_port
from tests.support.repository import ROOT
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A parser that reads numbers as doubles makes 9007199254740992 of it.
BEYOND_DOUBLES = 2**53 + 1
EVENTS = {"python": "lead.new", "node": "lead.updated", "go": "property.new", "java": "user.new", "php": "user.updated"}
_BUILD_S = 600.0  # Go compiles its standard library where nothing is cached


def needs(language: str) -> None:
    """Under CI all are there; elsewhere the test of a missing one is skipped."""
    if shutil.which(LANGUAGES[language].program) is None:
        give_up(f"{LANGUAGES[language].program} is not installed")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Caller, Caller]]:
    """An integrator and a platform service at `hookstream up`."""
    folder, port = tmp_path_factory.mktemp("up"), free_port()
    process = Process(
        [HOOKSTREAM, "up", "--port", str(port)], log=folder / "up.log", env=clean_environment(), cwd=folder
    )
    try:
        process.wait_until(lambda: "Ctrl-C stops it." in process.log_text(), START_S, what="up")
        tokens = dict(re.findall(r"(\w+)_TOKEN=(\S+)", (folder / ".hookstream/tokens").read_text()))
        url = f"http://127.0.0.1:{port}"
        yield Caller(url, tokens["INTEGRATOR"]), Caller(url, tokens["PLATFORM"])
    finally:
        process.kill()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_server_of_the_document_verifies_real_deliveries(
    language: str, up: tuple[Caller, Caller], tmp_path: Path
) -> None:
    needs(language)
    integrator, platform = up
    event, port = EVENTS[language], free_port()
    hook = integrator.register(event, f"http://127.0.0.1:{port}/{event}")
    (tmp_path / LANGUAGES[language].file).write_text(code(LANGUAGES[language].file))
    environment = {**clean_environment(), "WEBHOOK_SECRET": hook["secret"], "PORT": str(port)}
    command = LANGUAGES[language].prepare(tmp_path)
    server = Process(command, log=tmp_path / "log", env=environment, cwd=tmp_path)
    try:
        server.wait_until(lambda: accepts_connections(port), _BUILD_S, what=f"the server in {language}")
        integrator.wait_effective(hook["id"])
        sent = {"event": event, "client": 434, "concept": {"id": BEYOND_DOUBLES}}
        assert platform("POST", "/events", sent).status_code == 202
        eventually(lambda: str(BEYOND_DOUBLES) in server.log_text(), START_S)
        forged = {"webhook-id": "msg_1", "webhook-timestamp": "1795463750", "webhook-signature": "v1,bm8="}
        where = f"http://127.0.0.1:{port}/"
        answer = httpx.post(where, content=b"{}", headers=forged, trust_env=False, timeout=WITHIN_S)
        assert answer.status_code == 401
        attempts = integrator("GET", f"/hooks/{hook['id']}/attempts")
        if attempts.json()["attempts"]:
            assert attempts.json()["attempts"][0]["status"] == 204
    finally:
        server.kill()
    assert re.search(rf"\bmsg_[0-9a-f]{{32}} .*{re.escape(event)}", server.log_text())


def test_every_server_is_short() -> None:
    for language in LANGUAGES.values():
        lines = [line for line in code(language.file).splitlines() if line.strip(" })];")]
        assert len(lines) <= 32, f"{language.file} has {len(lines)} lines"


def sql(name: str) -> list[str]:
    """The statements of the block of the document whose first line is `-- name`."""
    found = re.search(rf"```sql\n-- {name}\n(.*?)```", (ROOT / "docs/receivers.md").read_text(), re.DOTALL)
    assert found, name
    return [statement for statement in found[1].split(";") if "INSERT" in statement or "CREATE" in statement]


def test_the_statement_that_deduplicates_tells_a_repetition() -> None:
    create, insert = sql("deduplicate")
    with sqlite3.connect(":memory:") as database:
        database.execute(create)
        done = [database.execute(insert, {"webhook_id": each}).rowcount for each in ("msg_1", "msg_2", "msg_1")]
    assert done == [1, 1, 0]


def test_the_statement_that_keeps_the_newest_state_ignores_what_came_late() -> None:
    (upsert,) = sql("keep the newest")
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE resources (namespace, id, last_offset, state, PRIMARY KEY (namespace, id))")
        changed = [
            database.execute(upsert, {"namespace": "lead", "id": 17, "offset": offset, "state": offset}).rowcount
            for offset in (4, 9, 4, 9, 10)
        ]
        assert database.execute("SELECT state FROM resources").fetchall() == [(10,)]
    assert changed == [1, 1, 0, 0, 1]
