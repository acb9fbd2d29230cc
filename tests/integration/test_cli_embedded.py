"""`hookstream demo` and `hookstream up`, as they are for a user who has nothing but a clone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from hookstream.processors.cli.trial.up_example import Example, commands
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.event import EventName
from tests.support.deployment import HOOKSTREAM, START_S, Caller, hookstream
from tests.support.processes import Process, clean_environment, free_port
from tests.support.receiver import Receiver
from tests.support.repository import ROOT
from tests.support.wait import WITHIN_S, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

README = (ROOT / "README.md").read_text()
DELIVERIES = 23 * 2 * 2
# Changes one thing in the process of the demo before it starts.
PLANTED = """
import sys
from hookstream.processors.cli import main
from hookstream.processors.cli.trial import demo_run
{bug}
sys.exit(main.run(["demo"]))
"""
BUGS = {
    "signature: no signature is right": """
from hookstream.processors.delivery.http.signing import Signer
sign = Signer.sign
Signer.sign = lambda self, id, at, body: sign(self, id, at, body + b" ")
""",
    "1 of 92 deliveries did not arrive": """
from hookstream.processors.routing.event_routing import EventRouting
deliver, routed = EventRouting._deliver, []
EventRouting._deliver = lambda self, *args: routed.append(1) if not routed else deliver(self, *args)
wait = demo_run._wait
def until_the_others_are_there(stop, condition, deadline_s):
    here = dict(zip(condition.__code__.co_freevars, (cell.cell_contents for cell in condition.__closure__)))
    if "arrivals" in here:
        condition, deadline_s = lambda: here["judge"].missing(list(here["arrivals"])) == 1, 60.0
    wait(stop, condition, deadline_s)
demo_run._wait = until_the_others_are_there
""",
    "is not what was sent": """
from hookstream.processors.delivery.worker import composition
decoder = composition.delivery_decoder
def forgetful(schemas):
    decode = decoder(schemas)
    def changed(data):
        delivery = decode(data)
        delivery.body = delivery.body.replace(b"null", b'"villa"')
        return delivery
    return changed
composition.delivery_decoder = forgetful
""",
}


def block(name: str) -> str:
    """The code block of the README whose first line is `# name`."""
    found = re.search(rf"```sh\n# {name}\n(.*?)```", README, re.DOTALL)
    assert found, name
    return found[1]


def test_the_demo_delivers_every_event_and_says_so() -> None:
    done = hookstream("demo")
    assert done.code == 0, done.out + done.err
    lines = done.out.splitlines()
    assert sum("signature ok" in line for line in lines) == DELIVERIES
    assert f"{DELIVERIES} deliveries of 23 events: all here, in order per resource, signatures valid" in lines
    assert done.err == ""


def test_the_demo_reports_to_programs_and_takes_another_domain() -> None:
    """`make demo EXAMPLE=orders` runs this: a domain with text ids and data."""
    make = ["make", "--no-print-directory", "--dry-run", "--assume-old=.venv/.installed", "demo", "EXAMPLE=orders"]
    said = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()  # noqa: S603  # our own program, and no shell
    variable, folder = said[0].split("=")
    done = hookstream("demo", "--json", env={variable: str(ROOT / folder)})
    assert done.code == 0, done.out + done.err
    report = done.json()
    assert report["problems"] == []
    assert report["events"] == 4
    assert report["deliveries"] == 16
    assert report["seconds"] > 0


def test_the_demo_delivers_a_domain_with_text_ids(tmp_path: Path) -> None:
    schema = json.loads((ROOT / "schemas/avro/lead.avsc").read_text().replace("lead", "parcel"))
    fields = {field["name"]: field for field in schema["fields"]}
    fields["client"]["type"] = fields["concept"]["type"]["fields"][0]["type"] = "string"
    (tmp_path / "parcel.avsc").write_text(json.dumps(schema))
    env = {"HOOKSTREAM_SCHEMA_DIR": str(tmp_path), "HOOKSTREAM_CLIENT_IDS": "string"}
    done = hookstream("demo", "--json", env=env)
    assert done.code == 0, done.out + done.err
    assert (done.json()["problems"], done.json()["deliveries"]) == ([], 20)


@pytest.mark.parametrize("says", BUGS)
def test_the_demo_fails_when_a_promise_is_broken(says: str) -> None:
    done = subprocess.run(  # noqa: S603  # our own program, and no shell
        [sys.executable, "-c", PLANTED.format(bug=BUGS[says])],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert says in done.stdout
    assert done.stderr.splitlines()[-1].startswith("hookstream: the demo failed:")


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start `hookstream up` in a folder of the test's own, on that port."""
    started: list[Process] = []

    def start(port: int, *options: str) -> Process:
        log = tmp_path / f"up-{len(started)}.log"
        args = [str(HOOKSTREAM), "up", "--port", str(port), *options]
        process = Process(args, log=log, env=clean_environment(), cwd=tmp_path)
        started.append(process)
        process.wait_until(lambda: "Ctrl-C stops it." in process.log_text(), START_S, what="up")
        return process

    yield start
    for process in started:
        process.kill()


def test_the_readme_is_what_up_prints() -> None:
    typed = block("receive") + block("publish")
    assert typed.splitlines() == commands(".hookstream/tokens", Example(EventName("lead.new")))


def test_the_commands_of_the_readme_deliver_an_event_from_another_process(
    up: Callable[..., Process], tmp_path: Path
) -> None:
    kafka_port, registry_port = free_port(), free_port()
    running = up(free_port(), "--kafka-port", str(kafka_port), "--registry-port", str(registry_port))
    args = [str(HOOKSTREAM), *block("receive").split()[1:], "--port", "0"]
    listening = Process(args, log=tmp_path / "listen.log", env=clean_environment(), cwd=tmp_path)
    try:
        listening.wait_until(lambda: "listening on" in listening.log_text(), START_S, what="listen")
        published = run_shell(["bash", "-euc", block("publish")], tmp_path)
        assert published.startswith("accepted lead.new ")
        listening.wait_until(lambda: "msg_" in listening.log_text(), START_S, what="the delivery")
        first, body = re.search(r"^.* (lead\.new .*)\n +({.*)$", listening.log_text(), re.MULTILINE).groups()  # type: ignore[union-attr]
        assert listening.terminate() == 0
    finally:
        listening.kill()
    printed = re.search(r"^12:00:00.000  204  (.*)msg_…\n +(.*)$", README, re.MULTILINE)
    assert printed
    assert re.fullmatch(re.escape(printed[1]) + r"msg_[0-9a-f]+", first)
    assert body == printed[2]

    tokens = (tmp_path / ".hookstream" / "tokens").read_text()
    assert f"export HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:{kafka_port}\n" in tokens
    assert f"export HOOKSTREAM_SCHEMA_REGISTRY_URL=http://127.0.0.1:{registry_port}\n" in tokens
    with SchemaRegistry(f"http://127.0.0.1:{registry_port}") as registry:
        text = json.dumps({"type": "record", "name": "Order", "fields": []})
        schema_id = registry.register("orders-value", text)
        assert registry.id_for("orders-value", text) == schema_id
        assert registry.latest_text("orders-value") == registry.schema_text_by_id(schema_id) == text
        assert registry.latest_text("none-value") is None
        registry.require_answer()
    assert running.terminate() == 0, running.log_tail()


def run_shell(command: list[str], folder: Path) -> str:
    """What a shell's commands print; all of them succeed."""
    env = clean_environment({"PATH": f"{HOOKSTREAM.parent}{os.pathsep}{os.environ['PATH']}"})
    return subprocess.run(  # noqa: S603  # our own program, and no shell
        command, cwd=folder, env=env, capture_output=True, text=True, check=True, timeout=300
    ).stdout


def test_up_keeps_hooks_and_tokens_in_a_folder_that_no_other_user_may_read(
    up: Callable[[int], Process], tmp_path: Path
) -> None:
    port = free_port()
    first = up(port)
    home = tmp_path / ".hookstream"
    assert home.stat().st_mode & 0o777 == 0o700
    for file in home.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file.name
    tokens = dict(line.removeprefix("export ").split("=", 1) for line in (home / "tokens").read_text().splitlines())
    of_roles = {name for name in tokens if not name.startswith("HOOKSTREAM_")}
    assert of_roles == {"INTEGRATOR_TOKEN", "PLATFORM_TOKEN", "OPERATOR_TOKEN"}
    assert tokens["HOOKSTREAM_API_TOKEN"] == tokens["OPERATOR_TOKEN"]
    assert tokens["HOOKSTREAM_API_URL"] == f"http://127.0.0.1:{port}"
    assert not any(tokens[name] in first.log_text() for name in of_roles)
    assert "  tokens           .hookstream/tokens, which only you may read" in first.log_text()
    assert "do not outlive this process" in first.log_text()
    link = re.search(rf"http://127.0.0.1:{port}/portal/enter/\S+(?=,)", first.log_text())
    assert link
    assert "Continue" in httpx.get(link[0], trust_env=False, timeout=WITHIN_S).text

    second = hookstream("up", "--port", "0", "--folder", str(home))
    assert (second.code, second.err) == (1, f"hookstream: another `hookstream up` works in {home}\n")

    url = f"http://127.0.0.1:{port}"
    caller, platform = Caller(url, tokens["INTEGRATOR_TOKEN"]), Caller(url, tokens["PLATFORM_TOKEN"])
    with Receiver() as receiver:
        made = caller.register("lead.new", receiver.url("leads"))
        assert first.terminate() == 0, first.log_tail()
        again = up(port)
        assert '"level"' not in again.log_text(), "what people type next stays in sight"
        assert "INTEGRATOR_TOKEN=" + tokens["INTEGRATOR_TOKEN"] in (home / "tokens").read_text()
        caller.wait_effective(made["id"])
        event = {"event": "lead.new", "client": 434, "concept": {"id": 17}}
        assert platform("POST", "/events", event).status_code == 202
        eventually(lambda: [request.path for request in receiver.accepted()] == ["/leads"], START_S)
        assert again.terminate() == 0, again.log_tail()
