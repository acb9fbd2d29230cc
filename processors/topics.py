"""Making and checking topics on a real cluster, and the ids by which a deployment knows them again.

The embedded mock has no admin API and makes topics on first use, as it likes: there, nothing is
configured, checked or identified.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from hookstream.processors.deadline import Deadline
from hookstream.producers.errors import NotRegisteredError
from hookstream.producers.registry import COMPATIBILITY, SchemaRegistry
from hookstream.schemas.catalogue import Catalogue, internal_schemas, subject
from hookstream.schemas.topics import TopicNames

from .errors import KafkaUnavailableError, TopicMismatchError
from .kafka import (
    LOOKS_ONLY,
    REQUEST_TIMEOUT_S,
    KafkaConfig,
    cluster_of,
    kafka_error,
    make_admin,
    result_of,
    translated,
)
from .topic_preconditions import Complaint, FoundTopic, complaints
from .topic_specs import TopicSpec

_VISIBLE_WITHIN_S = 30.0
_LOOK_AGAIN_S = 0.1
# With so many a broker may stop while two acknowledge; what one alone has acknowledged would be lost with it.
_MANY_REPLICAS = 3
# What refuses at least every schema that readers of what was written before could not use.
_STRICT_ENOUGH = frozenset({COMPATIBILITY, "FULL_TRANSITIVE"})

log = structlog.get_logger("hookstream.topics")


def create_topics(
    kafka: KafkaConfig,
    specs: Sequence[TopicSpec],
    *,
    replication_factor: int = -1,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Create the topics that are missing and wait until every one can be used; give the names of the new ones.

    Idempotent, and safe to run twice at once. A topic that exists is left as it is: `check_topics` judges it.

    Raises:
        KafkaUnavailableError: no answer, or a topic without leaders after half a minute.
        KafkaRefusedError: the cluster refuses a topic; the message says why.
    """
    admin = make_admin(kafka)
    if kafka.embedded:
        _make_appear(admin, specs)
        return []
    with translated("cannot list topics"):  # distinguishes an unreachable broker from one that refuses, and sooner
        admin.list_topics(timeout=REQUEST_TIMEOUT_S)
    # The controller is asked, and not a broker's list, which may still show what was deleted a moment ago.
    more = {"min.insync.replicas": "2"} if replication_factor >= _MANY_REPLICAS else {}
    wanted = [
        NewTopic(spec.name, spec.partitions, replication_factor, config={**spec.config, **more}) for spec in specs
    ]
    futures = admin.create_topics(wanted, operation_timeout=_VISIBLE_WITHIN_S, request_timeout=_VISIBLE_WITHIN_S)
    created = [name for name, future in futures.items() if _was_created(name, future.result)]
    _wait_visible(admin, specs, sleep)
    return created


def check_topics(kafka: KafkaConfig, specs: Sequence[TopicSpec]) -> None:
    """Check that nothing of the topics loses order or records; what is merely weak is a line of log.

    Raises:
        TopicMismatchError: what differs, with the command that mends it.
        KafkaUnavailableError: no answer.
        KafkaRefusedError: no right to look.
    """
    found = judge_topics(kafka, specs)
    refused = [complaint.text for complaint in found if complaint.refused]
    if refused:
        raise TopicMismatchError("; ".join(refused))
    for complaint in found:
        log.warning("a topic is not as it should be", detail=complaint.text)


def judge_topics(kafka: KafkaConfig, specs: Sequence[TopicSpec]) -> list[Complaint]:
    """Compare the topics of a cluster with what the code relies on.

    Raises:
        KafkaUnavailableError: no answer.
        KafkaRefusedError: no right to look.
    """
    if kafka.embedded:
        return []
    admin = make_admin(kafka)
    with translated("cannot list topics"):
        listed = admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
    there = {spec.name: listed[spec.name] for spec in specs if spec.name in listed and listed[spec.name].error is None}
    configs = _configs(admin, there)
    found = {
        name: FoundTopic(
            partitions=len(topic.partitions),
            replicas=min((len(each.replicas) for each in topic.partitions.values()), default=0),
            config=configs[name],
        )
        for name, topic in there.items()
    }
    return complaints(specs, found)


def judge_schemas(registry: SchemaRegistry, catalogue: Catalogue, names: TopicNames) -> list[str]:
    """Compare what the registry holds with the schemas of this release and of SCHEMA_DIR, one sentence a difference.

    Raises:
        RegistryUnavailableError: the registry could not be asked.
        RegistryRefusedError: it says no.
    """
    complaints = []
    try:
        check_readable(registry, names)
    except TopicMismatchError as exc:
        return [str(exc)]
    for name, text in catalogue.subjects(names).items():
        try:
            registry.id_for(name, text)
        except NotRegisteredError as exc:
            complaints.append(str(exc))
            continue
        level = registry.compatibility(name)
        if level not in _STRICT_ENOUGH:
            complaints.append(
                f"{name}: its compatibility is {level}, needs {COMPATIBILITY}: run `hookstream topics create`"
            )
    return complaints


def check_readable(registry: SchemaRegistry, names: TopicNames) -> None:
    """Check that hookstream's own topics hold no records of a release whose records this one cannot read.

    What is registered is readable: the registry has compared it with everything before it. A topic that has no schema
    yet holds no records.

    Raises:
        TopicMismatchError: some do; with what to do.
        RegistryUnavailableError: the registry could not be asked.
        RegistryRefusedError: it says no.
    """
    unreadable = [
        topic
        for topic, schema in internal_schemas(names).items()
        if not (_is_registered(registry, subject(topic), schema.text) or registry.takes(subject(topic), schema.text))
    ]
    if unreadable:
        raise TopicMismatchError(
            f"{', '.join(unreadable)}: these topics hold records of an earlier release that this one cannot read;"
            " it needs topics of its own, under another HOOKSTREAM_TOPIC_PREFIX: docs/operations.md, From 0.1"
        )


def _is_registered(registry: SchemaRegistry, name: str, text: str) -> bool:
    try:
        registry.id_for(name, text)
    except NotRegisteredError:
        return False
    return True


def register_schemas(registry: SchemaRegistry, catalogue: Catalogue, names: TopicNames) -> None:
    """Make every subject of the deployment hold its schema, and refuse what would break readers. Idempotent.

    Raises:
        TopicMismatchError: hookstream's own topics hold what this release cannot read.
        IncompatibleSchemaError: a schema would break readers of what was written before.
        RegistryUnavailableError: the registry could not be asked.
    """
    check_readable(registry, names)
    for name, text in catalogue.subjects(names).items():
        registry.set_compatibility(name)
        registry.register(name, text)


def topic_ids(kafka: KafkaConfig, names: Collection[str]) -> dict[str, str | None]:
    """The ids by which Kafka distinguishes a topic from a later one of its name; None on the embedded mock.

    Raises:
        KafkaUnavailableError: no answer, or a topic does not exist (yet).
        KafkaRefusedError: no right to look.
    """
    if kafka.embedded:
        return dict.fromkeys(names)
    doing = "cannot look topics up"
    admin = make_admin(kafka)  # has to live until the answer is there
    with translated(doing):
        futures = admin.describe_topics(TopicCollection(list(names)), request_timeout=REQUEST_TIMEOUT_S)
    return {name: str(result_of(future, f"{doing}: {name}").topic_id) for name, future in futures.items()}


def cluster_id(kafka: KafkaConfig, topic: str) -> str | None:
    """The id of the cluster that has the topic; None on the embedded mock.

    Raises:
        KafkaUnavailableError: no answer.
    """
    if kafka.embedded:
        return None
    return cluster_of(make_admin(kafka, own=LOOKS_ONLY), topic)


def _make_appear(admin: AdminClient, specs: Iterable[TopicSpec]) -> None:
    """Ask the mock for each topic by name, which makes it; a consumer that comes first would find an unknown one."""
    with translated("cannot make topics appear"):
        for spec in specs:
            admin.list_topics(spec.name, timeout=REQUEST_TIMEOUT_S)


def _was_created(name: str, wait: Callable[[], object]) -> bool:
    try:
        wait()
    except KafkaException as exc:
        error = exc.args[0]
        if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise kafka_error(error, f"cannot create topic {name}") from exc
    return True


def _configs(admin: AdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Every key of every topic that has a value which may be shown."""
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    if not resources:
        return {}
    doing = "cannot read the configuration of topics"
    with translated(doing):
        futures = admin.describe_configs(resources, request_timeout=REQUEST_TIMEOUT_S)
    found: dict[str, dict[str, str]] = {}
    for resource, future in futures.items():
        entries = result_of(future, f"{doing}: {resource.name}").values()
        found[resource.name] = {entry.name: entry.value for entry in entries if entry.value is not None}
    return found


def _wait_visible(admin: AdminClient, specs: Iterable[TopicSpec], sleep: Callable[[float], None]) -> None:
    """Wait until every topic has a leader for each partition, so that the next caller can use it."""
    deadline = Deadline.after(_VISIBLE_WITHIN_S)
    missing = {spec.name for spec in specs}
    while missing:
        with translated("cannot list topics"):
            topics = admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
        ready = {n for n, t in topics.items() if t.error is None and all(p.leader >= 0 for p in t.partitions.values())}
        missing -= ready
        if missing and deadline.over:
            message = f"topics without leaders after {_VISIBLE_WITHIN_S:.0f} s: {', '.join(sorted(missing))}"
            raise KafkaUnavailableError(message)
        if missing:
            sleep(_LOOK_AGAIN_S)
