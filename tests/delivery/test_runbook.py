"""Promise: the runbook's commands work as they are written, and roles need no more rights in Kafka than it says."""

from __future__ import annotations

import base64
import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from hookstream.schemas.topics import TopicNames
from tests.conftest import source_of
from tests.support.deployment import Caller, Deployment, Role
from tests.support.kafka_broker import admin
from tests.support.machine import Part, Source, give_up
from tests.support.processes import clean_environment, free_port
from tests.support.receiver import Receiver
from tests.support.runbook import DOCUMENT, Block, acl_rows, acls_of, blocks, lay_tools
from tests.support.secured_kafka import SecuredKafka, kafka_options
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Processes

TEXT = DOCUMENT.read_text()
ROLES = ("api", "router", "deliver", "attempt-log", "replayer")
USERS = tuple(dict.fromkeys(role for role, *_ in acl_rows(TEXT) if role != "every role"))
OPERATOR = "operator"
CLIENT = 434
PARTITIONS = "4"


def new_key() -> str:
    """A key as a setting has it."""
    return base64.b64encode(os.urandom(32)).decode()


@dataclass
class Site:
    """A deployment on a broker with ACLs, and what its operator's shell knows."""

    kafka: SecuredKafka
    deployment: Deployment
    shell: dict[str, str]
    folder: Path
    """Where the commands leave their files."""
    running: dict[str, Role] = field(default_factory=dict)

    def start(self, *names: str) -> None:
        """Start roles, each as its own user."""
        for name in names:
            more = {"KAFKA_OPTIONS": kafka_options(name)}
            role = self.running[name] = self.deployment.role(name, **more)
            if name == "api":
                self.shell["HOOKSTREAM_API_URL"] = role.url
        for name in names:
            self.running[name].wait_ready()
        if "deliver" in names:  # one that stops while it joins its group is a member until its session ends
            worker = self.running["deliver"].process
            eventually(lambda: "partition taken over" in worker.log_text(), describe="the worker owns partitions")

    def stop(self, *names: str) -> None:
        """Stop roles, as their process manager would."""
        for name in names:
            role = self.running.pop(name)
            assert role.process.terminate() == 0, role.process.log_tail()

    def run(self, block: Block) -> None:
        """Type a block into a shell; every command has to succeed."""
        stopped = [name for name in block.stopped if name in self.running]
        self.stop(*stopped)
        done = subprocess.run(  # noqa: S603  # our own program, and no shell
            ["bash", "-euo", "pipefail", "-c", block.script],  # noqa: S607  # found by the path of who runs the tests
            cwd=self.folder,
            env=clean_environment(self.shell),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, f"{block.heading}:\n{block.script}\n{done.stdout}\n{done.stderr}"
        if "PARTITIONS=" in block.script:
            self.deployment.env["HOOKSTREAM_PARTITIONS"] = self.shell["HOOKSTREAM_PARTITIONS"] = PARTITIONS
        self.start(*stopped)

    def ask_replay(self, operator: Caller, *, run: bool) -> None:
        """Have a replay counted that sends one delivery at once and the next after minutes, or, not to be run, all."""
        asked = {"from_ms": 0, "client": CLIENT, "event": "lead.new", "rate_per_second": 0.01 if run else 1000}
        path = f"/replays/{operator('POST', '/replays', {'replay': asked}).json()['replay']['id']}"

        def planned() -> bool:
            found = operator("GET", path).json()["replay"]
            return bool(found["state"] == "planned" and found["count"]["deliveries"] > 1)

        eventually(planned, describe="the replay is counted")
        if run:
            assert operator("PATCH", path, {"replay": {"state": "running"}}).status_code == 200
        self.shell["REPLAY"] = path.rpartition("/")[2]


@pytest.fixture
def site(tmp_path: Path, logs: list[Path], registry_url: str, sqlite_url: str, processes: Processes) -> Iterator[Site]:
    """Everything that the runbook takes for granted: a broker with the table's ACLs, settings, tools."""
    source = source_of(Part.KAFKA, private=True)
    if source is not Source.JAVA:
        give_up("Kafka's own tools are jars: Java and Maven are needed")
    kafka = SecuredKafka(source, tmp_path / "secured", USERS)
    logs.append(kafka.log)
    try:
        kafka.start()
        bindings = [binding for user in USERS for binding in acls_of(TEXT, user)]
        client = admin(kafka.bootstrap_servers)  # has to live until the answers are there
        for allowed in client.create_acls(bindings).values():
            allowed.result(20)
        deployment = Deployment(kafka.secured_servers, registry_url, sqlite_url, TopicNames(), processes)
        old, new = deployment.env["HOOKSTREAM_SECRET_KEY"], new_key()
        deployment.env["HOOKSTREAM_SECRET_KEY_PREVIOUS"] = new
        tools = lay_tools(tmp_path / "bin", processes.forks)
        shell = {
            **deployment.env,
            "HOOKSTREAM_KAFKA_OPTIONS": kafka_options(OPERATOR),
            "PATH": f"{tools}:{os.environ['PATH']}",
            "KAFKA": kafka.bootstrap_servers,
            "CLIENT": str(CLIENT),
            "OLD_KEY": old,
            "NEW_KEY": new,
            "PARTITIONS": PARTITIONS,
        }
        yield Site(kafka, deployment, shell, tmp_path)
    finally:
        kafka.close()


def test_every_command_of_the_runbook_works(site: Site) -> None:
    """Every block is typed as it stands; roles have the table's ACLs alone, and an event is delivered at the end."""
    first, *others = blocks(TEXT)
    site.run(first)
    site.start(*ROLES)
    deployment = site.deployment
    deployment.env["HOOKSTREAM_KAFKA_OPTIONS"] = kafka_options(OPERATOR)
    site.shell["HOOKSTREAM_API_TOKEN"] = deployment.token("operator")
    token = deployment.token("integrator", CLIENT)
    with Receiver() as receiver:
        hook = Caller(site.running["api"].url, token).register("lead.new", receiver.url("lead"))
        site.shell["HOOK"] = str(hook["id"])
        Caller(site.running["api"].url, token).wait_effective(hook["id"])
        operator = Caller(site.running["api"].url, site.shell["HOOKSTREAM_API_TOKEN"])
        for block in others:
            if "$REPLAY" in block.script:
                site.ask_replay(operator, run="replay pause" in block.script)
            site.run(block)
            if "hookstream publish" in block.script:
                eventually(receiver.accepted, describe="what the runbook published is delivered")
                site.shell["DELIVERY"] = receiver.accepted()[0].id
                assert deployment.run("publish", "lead.new", "--client", str(CLIENT), "--id", "2").code == 0
                eventually(lambda: len(receiver.accepted()) > 1, describe="there are two for a replay to send")
        jobs = {found.headers.get("hookstream-replay", "").partition("-")[0] for found in receiver.accepted()}
        assert "replay" in jobs, "no replay reached the endpoint"
        got = len(receiver.accepted())
        platform = Caller(site.running["api"].url, deployment.token("platform"))
        event = {"event": "lead.new", "client": CLIENT, "concept": {"id": 77}}
        assert platform("POST", "/events", event).status_code == 202
        eventually(lambda: len(receiver.accepted()) > got, describe="the last event is delivered")
        integrator = Caller(site.running["api"].url, token)

        def logged() -> bool:
            return site.running["attempt-log"].metric('hookstream_attempt_log_records_total{result="written"}') > 0

        eventually(logged, describe="attempts are in the database")
        integrator.wait_effective(hook["id"])


def test_no_role_may_do_what_the_table_does_not_say(site: Site) -> None:
    """The broker of this test does refuse: a router's user can neither read hooks' notices nor write events."""
    site.deployment.env["HOOKSTREAM_KAFKA_OPTIONS"] = kafka_options(OPERATOR)
    site.deployment.prepare()
    port = str(free_port())
    as_router = {"KAFKA_OPTIONS": kafka_options("router"), "METRICS_PORT": port}
    refused = site.deployment.run("publish", "lead.new", "--client", "1", "--id", "1", also=as_router)
    assert refused.code == 1
    assert "TOPIC_AUTHORIZATION_FAILED" in refused.err or "authorization" in refused.err.lower()
    worker = site.deployment.role("deliver", KAFKA_OPTIONS=kafka_options("router"))
    assert worker.process.wait() == 1
    assert "authoriz" in worker.process.log_text().lower()


def test_every_alert_has_its_section() -> None:
    """Whoever follows an alert's link finds what to do."""
    alerts = (DOCUMENT.parents[1] / "deploy" / "prometheus" / "alerts.yml").read_text()
    named = {line.split()[-1] for line in alerts.splitlines() if "- alert:" in line}
    assert named
    assert named == {line.removeprefix("### ") for line in TEXT.splitlines() if line.startswith("### Hookstream")}
