"""A real Apache Kafka broker of our own on loopback, which tests stop, kill and freeze."""

from __future__ import annotations

import base64
import logging
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from tests.support import jars
from tests.support.machine import IMAGES, Part, Source
from tests.support.processes import accepts_connections, free_port
from tests.support.runners import START_WITHIN_S, ContainerRunner, ProcessRunner, Runner, Server, wait_until
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# A killed broker may register again after 4 s (by default 9), its session must be over.
# Groups settle in a second and notice a kill in six (KIP-848; with the broker's defaults it is 5 s and 45 s), commits
# are not held back for company, nothing appears by accident, and deleted topics go at once: a session makes many.
FAST: dict[str, str] = {
    "auto.create.topics.enable": "false",
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "4000",
    "group.consumer.heartbeat.interval.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "1000",
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.session.timeout.ms": "6000",
    "group.coordinator.append.linger.ms": "0",
    "group.coordinator.threads": "1",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.dedupe.buffer.size": "8388608",
    "log.segment.delete.delay.ms": "1000",
    "num.io.threads": "4",
    "num.network.threads": "2",
    "num.recovery.threads.per.data.dir": "2",
    "offsets.topic.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "4",
}

# The brokers of a test session share a machine. A benchmark's is alone and has what Kafka's own start script gives it:
# with a small heap it collects garbage for 6 ms several times a second, which is what a p99 then shows.
SMALL_HEAP = ("-Xmx512m", "-Xms128m")
USUAL_HEAP = ("-Xmx1g", "-Xms1g")

# A question to a broker that runs: on a busy machine the answer may take many times as long as on a quiet one.
_ANSWER_S = 60.0

_LOG_LEVEL = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"


class Kafka(Protocol):
    """What a test needs to know of a broker that it only uses."""

    @property
    def bootstrap_servers(self) -> str:
        """For `bootstrap.servers`."""


@dataclass(frozen=True, slots=True)
class GivenKafka:
    """A broker that runs already."""

    bootstrap_servers: str


class HurtableKafka(Kafka, Protocol):
    """A broker of a test's own. Address and data survive every one of these."""

    def start(self) -> None:
        """Start on the same data; returns when it answers."""

    def stop(self) -> None:
        """SIGTERM: an orderly shutdown."""

    def kill(self) -> None:
        """SIGKILL."""

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""

    def resume(self) -> None:
        """Thaw it."""

    def fill_disk(self) -> None:
        """Leave it no room for what it is sent, until it is started again."""

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""


def new_cluster_id() -> str:
    """A cluster id as Kafka makes them: 16 bytes in URL-safe base64, not starting with a dash."""
    return "k" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]


def node_properties(*, node: int, port: int, voters: str, replicas: int = 1) -> dict[str, str]:
    """Configuration of one combined broker and controller; its controller listens on `port + 1`."""
    in_sync = str(max(1, replicas - 1))
    return {
        "process.roles": "broker,controller",
        "node.id": str(node),
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{port + 1}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "default.replication.factor": str(replicas),
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": str(replicas),
        "transaction.state.log.replication.factor": str(replicas),
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": str(replicas),
        "share.coordinator.state.topic.min.isr": in_sync,
        **FAST,
    }


def kafka_runner(
    source: Source,
    directory: Path,
    *,
    cluster_id: str,
    properties: Mapping[str, str],
    heap: Sequence[str] = SMALL_HEAP,
) -> Runner:
    """One node with formatted storage, as a Java process or as a container; not started yet."""
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / f"kafka-{properties['node.id']}.log"
    if source is Source.DOCKER:
        env = {"CLUSTER_ID": cluster_id, "KAFKA_HEAP_OPTS": " ".join(heap)}
        everything = {"log.dirs": "/tmp/kafka-data", **properties}  # noqa: S108 - inside the container
        env.update({container_variable(name): value for name, value in everything.items()})
        return ContainerRunner(IMAGES[Part.KAFKA], log=log, env=env)
    config = directory / "server.properties"
    everything = {"log.dirs": str(directory / "data"), **properties}
    config.write_text("".join(f"{name}={value}\n" for name, value in everything.items()))
    done = subprocess.run(  # noqa: S603  # our own program, and no shell
        _java(SMALL_HEAP, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(config)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        message = f"the storage of a broker could not be formatted:\n{done.stdout}{done.stderr}"
        raise RuntimeError(message)
    return ProcessRunner(_java(heap, "kafka.Kafka", str(config)), log=log, cwd=directory)


def container_variable(name: str) -> str:
    """How the image `apache/kafka` wants a broker property named."""
    return "KAFKA_" + name.replace("_", "__").replace("-", "___").replace(".", "_").upper()


def _java(heap: Sequence[str], *args: str) -> list[str]:
    java = shutil.which("java") or "java"
    return [java, *heap, _LOG_LEVEL, *jars.JVM_OPTIONS, "-cp", f"{jars.kafka_jars()}/*", *args]


class KafkaBroker(Server):
    """A cluster of one broker."""

    def __init__(
        self,
        source: Source,
        directory: Path,
        *,
        port: int | None = None,
        more: Mapping[str, str] | None = None,
        heap: Sequence[str] = SMALL_HEAP,
    ) -> None:
        """Prepare a broker with its data in `directory`, on random ports if not told; `more` properties win."""
        self.port = port or free_port(neighbours=1)
        properties = node_properties(node=1, port=self.port, voters=f"1@127.0.0.1:{self.port + 1}")
        super().__init__(
            kafka_runner(
                source, directory, cluster_id=new_cluster_id(), properties={**properties, **(more or {})}, heap=heap
            )
        )
        self.bootstrap_servers = f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start on the same data; returns when it answers."""
        self._runner.start()
        wait_listening(self._runner, self.port)
        wait_answering(self.bootstrap_servers)


def wait_listening(runner: Runner, port: int, deadline_s: float = START_WITHIN_S) -> None:
    """Wait until a node's port is open."""
    wait_until(runner, lambda: accepts_connections(port), deadline_s, what="listening")


def admin(bootstrap_servers: str) -> AdminClient:
    """An admin client that keeps its complaints about absent brokers to itself."""
    quiet = logging.getLogger("tests.kafka.quiet")
    quiet.setLevel(logging.CRITICAL)
    return AdminClient({"bootstrap.servers": bootstrap_servers, "socket.timeout.ms": 60_000}, logger=quiet)


def wait_answering(bootstrap_servers: str, *, brokers: int = 1, deadline_s: float = START_WITHIN_S) -> None:
    """Wait until the cluster answers a metadata request and shows at least `brokers` brokers."""
    client = admin(bootstrap_servers)

    def answers() -> bool:
        try:
            return len(client.list_topics(timeout=2.0).brokers) >= brokers
        except KafkaException:
            return False

    eventually(answers, deadline_s, describe=f"{brokers} broker(s) answer at {bootstrap_servers}")


def create_plain_topics(
    bootstrap_servers: str,
    *names: str,
    partitions: int = 1,
    replicas: int = -1,
    config: Mapping[str, str] | None = None,
) -> None:
    """Create topics and wait until every one has a leader in all of its partitions."""
    client = admin(bootstrap_servers)
    wanted = [NewTopic(name, partitions, replicas, config=dict(config or {})) for name in names]
    for done in client.create_topics(wanted, operation_timeout=_ANSWER_S).values():
        done.result()

    def have_leaders() -> bool:
        topics = client.list_topics(timeout=_ANSWER_S).topics
        return all(
            name in topics
            and len(topics[name].partitions) == partitions
            and all(p.leader >= 0 for p in topics[name].partitions.values())
            for name in names
        )

    eventually(have_leaders, describe=f"{names} have leaders")


def let_sessions_last(bootstrap_servers: str, group: str) -> None:
    """Give a group sessions as long as a deployment's, where a broker of tests has some of six seconds.

    For what is promised while no session ends: on a busy machine no heartbeat may be sent for six seconds.
    """
    entry = ConfigEntry("consumer.session.timeout.ms", "45000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.GROUP, group, incremental_configs=[entry])
    client = admin(bootstrap_servers)  # under a name, or it is gone before it is answered
    for done in client.incremental_alter_configs([resource]).values():
        done.result()


def delete_topic(bootstrap_servers: str, name: str) -> None:
    """Delete a topic, and wait until the broker has forgotten it: who makes it anew before may take it for made."""
    client = admin(bootstrap_servers)
    client.delete_topics([name], operation_timeout=_ANSWER_S)[name].result()
    eventually(lambda: name not in client.list_topics(timeout=_ANSWER_S).topics, describe=f"{name} is gone")


def delete_topics(bootstrap_servers: str, prefix: str) -> None:
    """Delete every topic whose name starts with `prefix`, which must not be empty."""
    if not prefix:
        message = "this would delete every topic"
        raise ValueError(message)
    client = admin(bootstrap_servers)
    names = [name for name in client.list_topics(timeout=_ANSWER_S).topics if name.startswith(prefix)]
    if names:
        for done in client.delete_topics(names, operation_timeout=_ANSWER_S).values():
            done.result()
