"""The stage of every benchmark: a broker, topics, hooks, a receiver, roles through the command line, and loads.

Everything that is started here ends with the `with` block, by its own process id, also on Ctrl-C, SIGTERM and, through
the kernel, when the benchmark itself is killed. Client n has one hook, n, with the target `/t/n` of the receiver.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import ssl
import sys
import tempfile
import time
import urllib.request
import uuid
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import trustme
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import OffsetSpec
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from benchmarks.load import DELIVERIES, EVENT, EVENTS, NAMESPACE, Plan
from benchmarks.registry import StandInRegistry
from benchmarks.usage import cpu_seconds, peak_mib
from hookstream.processors.delivery.checkpoints.state_codec import StateKey
from hookstream.processors.kafka import KafkaConfig, make_consumer, reader_config
from hookstream.processors.operations.relays.subscription_writer import SubscriptionWriter
from hookstream.processors.topic_specs import TopicLimits, topic_specs
from hookstream.processors.topics import create_topics, register_schemas
from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.catalogue import Catalogue, subject
from hookstream.schemas.codecs.hooks import subscription_encoder
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import Hook, HookId, HookState, Revision
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.errors import NotPublishedError
from hookstream.subscriptions.secrets import MasterKey, SecretBox, SigningSecret, hook_context
from tests.support import machine
from tests.support.kafka_broker import USUAL_HEAP, KafkaBroker, admin, create_plain_topics, delete_topics
from tests.support.machine import Part
from tests.support.processes import Process, Processes, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from confluent_kafka import Message

    from benchmarks.builds import Build

PARTITIONS = 12
LOOK_EVERY_S = 0.02
READY_WITHIN_S = 60.0
_SECRET = SigningSecret(b"0123456789abcdef0123456789abcdef")


class NotMeasuredError(Exception):
    """A benchmark could not be made: what it waited for did not happen in time."""


@contextmanager
def broker() -> Iterator[str]:
    """Bootstrap servers of a broker: HOOKSTREAM_TEST_KAFKA_BOOTSTRAP_SERVERS, or one of our own (Java 17, Maven)."""
    given = machine.given(Part.KAFKA)
    if given:
        yield given
        return
    source = machine.choose(machine.own(machine.ORDER[Part.KAFKA]), lambda each: machine.available(Part.KAFKA, each))
    if source is None:
        raise SystemExit(machine.missing(Part.KAFKA))
    with tempfile.TemporaryDirectory(prefix="hookstream-bench-") as directory, ExitStack() as stack:
        own = KafkaBroker(source, Path(directory), heap=USUAL_HEAP)
        stack.callback(own.close)
        own.start()
        yield own.bootstrap_servers


def end_by_signal() -> None:
    """Let the first SIGINT or SIGTERM unwind, so that what was started is ended; later ones do not disturb that."""

    def end(number: int, _frame: object) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, end)


def until(happened: Callable[[], bool], deadline_s: float, *, what: str) -> None:
    """Look until it happened.

    Raises:
        NotMeasuredError: not before the deadline.
    """
    ends = time.monotonic() + deadline_s
    while not happened():
        if time.monotonic() > ends:
            message = f"not within {deadline_s:.0f} s: {what}"
            raise NotMeasuredError(message)
        time.sleep(LOOK_EVERY_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What the receiver has counted since its last reset."""

    received: int
    refused: int
    distinct: int
    duplicates: int
    out_of_order: int
    seconds: float
    rate: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How much the receiver has received since its last reset: requests, and deliveries without repetitions."""

    received: int
    distinct: int


class ReceiverClient:
    """Asks and instructs the receiver."""

    def __init__(self, url: str, ca_file: Path | None) -> None:
        """It listens at `url`, with a certificate of `ca_file` where there is one."""
        self.url = url
        self._ca_file = ca_file

    def stats(self, *, only: Iterable[int] = (), exclude: Iterable[int] = ()) -> Received:
        """What it has counted, of all targets, of some, or of the others."""
        return Received(**json.loads(self._get("/stats" + _of(only, exclude))))

    def count(self, *, only: Iterable[int] = (), exclude: Iterable[int] = ()) -> Counted:
        """How much it has received, of the same: cheap, where `stats` takes the time of thousands of requests."""
        return Counted(**json.loads(self._get("/count" + _of(only, exclude))))

    def refusals(self, target: int) -> list[float]:
        """When requests to a target were refused, Unix seconds."""
        times: list[float] = json.loads(self._get(f"/refusals?target={target}"))
        return times

    def fault(
        self, target: int | str, *, status: int = 0, delay_s: float = 0.0, every: int = 0, percent: int = 0
    ) -> None:
        """Misbehave from now on; `heal` ends it. Target `*`: every one without a fault of its own.

        `every`: only concepts whose id is a multiple; `percent`: only so many requests, by chance.
        """
        numbers = f"status={status}&delay_ms={delay_s * 1000:.0f}&every={every}&percent={percent}"
        self._get(f"/fault?target={target}&{numbers}")

    def heal(self, target: int | str) -> None:
        """Behave again."""
        self.fault(target)

    def ends(self) -> dict[str, float]:
        """When each target received its last delivery, Unix seconds."""
        times: dict[str, float] = json.loads(self._get("/ends"))
        return times

    def reset(self, *, keep: bool = False) -> None:
        """Forget what was counted, but no fault; `keep`: what was received is a duplicate where it comes again."""
        self._get("/reset?keep=1" if keep else "/reset")

    def _get(self, path: str) -> bytes:
        context = ssl.create_default_context(cafile=str(self._ca_file)) if self._ca_file else None
        with urllib.request.urlopen(self.url + path, timeout=30, context=context) as answer:  # noqa: S310 - our own
            body: bytes = answer.read()
            return body


def _of(only: Iterable[int], exclude: Iterable[int]) -> str:
    """The query that chooses targets."""
    given = (("only", only), ("exclude", exclude))
    lists = [(name, ",".join(map(str, targets))) for name, targets in given]
    return "?" + "&".join(f"{name}={listed}" for name, listed in lists if listed)


@dataclass(frozen=True, slots=True)
class Role:
    """A process of hookstream's, and where its health and metrics are."""

    process: Process
    url: str

    @property
    def cpu_s(self) -> float:
        """CPU time so far."""
        return cpu_seconds(self.process.pid)

    @property
    def peak_mib(self) -> float:
        """The most memory so far."""
        return peak_mib(self.process.pid)

    def samples(self, name: str) -> dict[str, float]:
        """The samples of one of its metrics, by their label's value."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:  # noqa: S310 - our own
            lines = answer.read().decode().splitlines()
        found = (line.rpartition(" ") for line in lines if line.startswith(name + "{"))
        return {head.split('"')[1]: float(value) for head, _, value in found}

    def wait_ready(self) -> Self:
        """Wait until it says that it is ready."""
        self.process.wait_ready(f"{self.url}/readyz", READY_WITHIN_S)
        return self


class Load:
    """A load that writes in a process of its own."""

    def __init__(self, process: Process, plan: Plan) -> None:
        """It was started just now."""
        self.process = process
        self.plan = plan

    def go(self) -> None:
        """End the warm-up."""
        self.process.signal(signal.SIGUSR1)

    def wait(self, deadline_s: float) -> dict[str, float]:
        """Wait until everything is acknowledged; what it did."""
        return done_by(self.process, deadline_s)


def done_by(load: Process, deadline_s: float) -> dict[str, float]:
    """Wait until a load has ended; what it did, its last line.

    Raises:
        NotMeasuredError: it failed.
    """
    code = load.wait(deadline_s)
    if code:
        raise NotMeasuredError(load.complaint(f"the load ended with {code}"))
    done: dict[str, float] = json.loads(load.log_text().splitlines()[-1])
    return done


class Stack:
    """One deployment on a broker, with topics of its own. Use it in a `with` block."""

    def __init__(
        self, bootstrap_servers: str, *, tls: bool = False, environment: Mapping[str, str] | None = None
    ) -> None:
        """Nothing is started yet; `tls`: the receiver speaks it, with an authority that the worker trusts.

        `environment` is of the roles, such as a `Build`'s.
        """
        self.bootstrap_servers = bootstrap_servers
        self.topics = TopicNames(prefix=f"bench-{uuid.uuid4().hex[:8]}.")
        self.kafka = KafkaConfig(bootstrap_servers=bootstrap_servers)
        self.processes: Processes
        self.receiver: ReceiverClient
        self._tls = tls
        self._environment = dict(environment or {})
        self._catalogue = Catalogue.shipped()
        self._key = os.urandom(32)
        self._box = SecretBox((MasterKey(self._key),))
        self._closing = ExitStack()
        self._admin = admin(bootstrap_servers)
        self._env: dict[str, str] = {}
        self._registry: SchemaRegistry

    def __enter__(self) -> Self:
        """Make topics and start the receiver."""
        try:
            self._open()
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        """End everything."""
        self._closing.close()

    def _open(self) -> None:
        directory = Path(self._closing.enter_context(tempfile.TemporaryDirectory(prefix="hookstream-bench-")))
        stand_in = self._closing.enter_context(StandInRegistry())
        self._registry = self._closing.enter_context(SchemaRegistry(stand_in.url))
        register_schemas(self._registry, self._catalogue, self.topics)
        create_topics(self.kafka, topic_specs(self.topics, self._catalogue, TopicLimits(partitions=PARTITIONS)))
        self._closing.callback(delete_topics, self.bootstrap_servers, self.topics.prefix)
        self.processes = Processes(directory)
        self._closing.callback(self.processes.close)
        self._env = {
            "HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "HOOKSTREAM_SCHEMA_REGISTRY_URL": stand_in.url,
            "HOOKSTREAM_SECRET_KEY": base64.b64encode(self._key).decode(),
            "HOOKSTREAM_TOPIC_PREFIX": self.topics.prefix,
            "HOOKSTREAM_ALLOWED_TARGET_NETWORKS": "127.0.0.0/8",
            "HOOKSTREAM_PARTITIONS": str(PARTITIONS),
            **self._environment,
        }
        self.receiver = self._start_receiver(directory)

    def _start_receiver(self, directory: Path) -> ReceiverClient:
        arguments: list[str | Path] = []
        ca_file = None
        if self._tls:
            authority = trustme.CA()
            certificate = authority.issue_cert("127.0.0.1")
            ca_file, chain, key = (directory / name for name in ("ca.pem", "chain.pem", "key.pem"))
            authority.cert_pem.write_to_path(ca_file)
            chain.write_bytes(b"".join(part.bytes() for part in certificate.cert_chain_pems))
            certificate.private_key_pem.write_to_path(key)
            arguments = ["--cert", chain, "--key", key]
            self._env["SSL_CERT_FILE"] = str(ca_file)  # OpenSSL's own setting: what the worker trusts
        script = Path(__file__).with_name("receiver.py")
        process = self.processes.python(script, "--port", "0", *arguments, name="receiver")
        process.wait_until(lambda: "receiver on" in process.log_text(), READY_WITHIN_S, what="listening")
        port = process.log_text().rsplit(":", 1)[1].strip()
        return ReceiverClient(f"{'https' if self._tls else 'http'}://127.0.0.1:{port}", ca_file)

    # -- what goes in ------------------------------------------------------------------------------------------------

    def publish_hooks(self, clients: Iterable[int], *, rate_limit_per_s: float | None = None) -> None:
        """Write the hooks of clients into the table's topic."""
        self.publish_rows(
            self.row(client, target=f"{self.receiver.url}/t/{client}", rate_limit_per_s=rate_limit_per_s)
            for client in clients
        )

    def row(
        self,
        client: int,
        *,
        target: str,
        hook: int | None = None,
        event: EventName = EVENT,
        revision: int = 1,
        rate_limit_per_s: float | None = None,
    ) -> Hook:
        """A row of the table; a client's only hook has its number."""
        hook = client if hook is None else hook
        sealed = self._box.seal(_SECRET.key, context=hook_context(str(client), event, hook))
        return Hook(
            id=HookId(hook),
            client=ClientId(str(client)),
            event=event,
            target=target,
            state=HookState.ENABLED,
            revision=Revision(revision),
            secrets=(sealed,),
            rate_limit_per_s=rate_limit_per_s,
        )

    def publish_rows(self, rows: Iterable[Hook]) -> None:
        """Write rows into the table's topic."""
        found = list(rows)
        encode = subscription_encoder(self.schema_id(self.topics.subscriptions))
        with SubscriptionWriter(self.kafka, self.topics.subscriptions, encode=encode) as writer:
            for attempt in Retrying(
                retry=retry_if_exception_type(NotPublishedError), stop=stop_after_attempt(5), reraise=True
            ):
                with attempt:
                    writer.publish(found)

    def start_load(
        self, kind: str, clients: Sequence[int], records: int, *, rate_per_s: float = 0.0, resources: int = 500
    ) -> Load:
        """Start to write; with a rate it waits for `Load.go` when it is warm."""
        topic = {EVENTS: self.topics.events(NAMESPACE), DELIVERIES: self.topics.deliveries}.get(kind, self.bodies_topic)
        plan = Plan(
            bootstrap_servers=self.bootstrap_servers,
            topic=topic,
            kind=kind,
            clients=tuple(clients),
            records=records,
            resources=resources,
            rate_per_s=rate_per_s,
            schema_id=self.schema_id(topic) if topic != self.bodies_topic else 0,
        )
        return Load(self.processes.python("-m", "benchmarks.load", plan.json(), name="load"), plan)

    def fill(self, kind: str, clients: Sequence[int], records: int, *, resources: int = 500) -> None:
        """Write a backlog and wait until Kafka has it."""
        self.start_load(kind, clients, records, resources=resources).wait(60 + records / 2000)

    @property
    def bodies_topic(self) -> str:
        """Where a peer's records are."""
        return f"{self.topics.prefix}bodies"

    def make_bodies_topic(self) -> None:
        """Make the topic of a peer's records."""
        create_plain_topics(self.bootstrap_servers, self.bodies_topic, partitions=PARTITIONS)

    def schema_id(self, topic: str) -> int:
        """The id of a topic's schema."""
        name = subject(topic)
        return self._registry.id_for(name, self._catalogue.subjects(self.topics)[name])

    def schema_text(self, schema_id: int) -> str:
        """The text of a schema, for who reads records."""
        return self._registry.schema_text_by_id(schema_id)

    # -- who works ---------------------------------------------------------------------------------------------------

    def role(
        self,
        name: str,
        *,
        profile: str | None = None,
        also: Mapping[str, str] | None = None,
        build: Build | None = None,
    ) -> Role:
        """Start a role of hookstream through its command line; `profile` is a file for a cProfile of it.

        `also` are settings of its own, without their prefix; `build` is another build than the stage's.
        """
        port = free_port()
        more = {f"HOOKSTREAM_{setting}": value for setting, value in (also or {}).items()}
        env = self._env | {"HOOKSTREAM_METRICS_PORT": str(port)} | more | dict(build.environment if build else {})
        if profile is None:
            process = self.processes.hookstream(name, env=env)
        else:
            command = Path(sys.executable).with_name("hookstream")
            process = self.processes.python("-m", "cProfile", "-o", profile, command, name, env=env, name=name)
        return Role(process, f"http://127.0.0.1:{port}")

    def stop(self, *roles: Role) -> None:
        """Ask roles to end, and wait."""
        for role in roles:
            role.process.terminate(60.0)

    # -- what is seen from outside -----------------------------------------------------------------------------------

    def committed_lag(self) -> int:
        """How many deliveries are above the committed offsets, over all partitions."""
        wanted = [TopicPartition(self.topics.deliveries, partition) for partition in range(PARTITIONS)]
        group = ConsumerGroupTopicPartitions(self.topics.deliver_group, wanted)
        answer = self._admin.list_consumer_group_offsets([group])[self.topics.deliver_group].result()
        committed: int = sum(max(0, found.offset) for found in answer.topic_partitions)
        return self.written(self.topics.deliveries) - committed

    def written(self, topic: str) -> int:
        """How many records were ever written to a topic."""
        return sum(self.ends(topic))

    def states_written(self, above: Sequence[int]) -> dict[tuple[str, int], int]:
        """How many states each partition of deliveries and of replays has written above these ends of their topic."""
        written: dict[tuple[str, int], set[bytes]] = defaultdict(set)
        for message in self.records(self.topics.delivery_state, above):
            key = StateKey.decode(message.key())
            if key is not None and message.value() is not None:
                written[key.topic, key.partition].add(key.state_id)
        return {partition: len(states) for partition, states in written.items()}

    def records(self, topic: str, above: Sequence[int]) -> Iterator[Message]:
        """The records of a topic from these offsets of its partitions to its end now."""
        reader = make_consumer(reader_config(self.kafka))
        try:
            for partition, (start, end) in enumerate(zip(above, self.ends(topic), strict=True)):
                reader.assign([TopicPartition(topic, partition, start)])
                position = start
                while position < end:
                    for message in reader.consume(500, 0.2):
                        if message.error() is None:
                            position = (message.offset() or 0) + 1
                            if position <= end:
                                yield message
        finally:
            reader.close()

    def state_ends(self) -> list[int]:
        """Where the partitions of the states' topic end."""
        return self.ends(self.topics.delivery_state)

    def ends(self, topic: str) -> list[int]:
        """Where the partitions of a topic end."""
        partitions = self._admin.list_topics(topic, timeout=10).topics[topic].partitions
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the wheel's own omission
        asked = self._admin.list_offsets({TopicPartition(topic, partition): latest for partition in partitions})
        ends = {where.partition: done.result().offset for where, done in asked.items()}
        return [ends[partition] for partition in sorted(ends)]
