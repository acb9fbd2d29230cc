"""Making and checking topics on a real cluster, and the ids by which a deployment knows them again.

The embedded mock has no admin API and makes topics on first use, as it likes: there, nothing is
configured, checked or identified.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from hookstream.producers.registry import SchemaRegistry
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.topics import TopicNames

from .errors import KafkaUnavailableError, TopicMismatchError
from .kafka import REQUEST_TIMEOUT_S, KafkaConfig, kafka_error, make_admin, result_of, translated
from .topic_specs import FoundTopic, TopicSpec, mismatches

_VISIBLE_WITHIN_S = 30.0
_LOOK_AGAIN_S = 0.1


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
    _partition_counts(admin)  # a broker that is away is told from one that refuses, and sooner
    # The controller is asked, and not a broker's list, which may still show what was deleted a moment ago.
    wanted = [NewTopic(spec.name, spec.partitions, replication_factor, config=dict(spec.config)) for spec in specs]
    futures = admin.create_topics(wanted, operation_timeout=_VISIBLE_WITHIN_S, request_timeout=_VISIBLE_WITHIN_S)
    created = [name for name, future in futures.items() if _was_created(name, future.result)]
    _wait_visible(admin, specs, sleep)
    return created


def check_topics(kafka: KafkaConfig, specs: Sequence[TopicSpec]) -> None:
    """Prove that every topic exists with its partition count and cleanup policy.

    Raises:
        TopicMismatchError: what differs, with the command that mends it.
        KafkaUnavailableError: no answer.
        KafkaRefusedError: no right to look.
    """
    if kafka.embedded:
        return
    admin = make_admin(kafka)
    counts = _partition_counts(admin)
    names = [spec.name for spec in specs if spec.name in counts]
    policies = _cleanup_policies(admin, names)
    found = {name: FoundTopic(partitions=counts[name], cleanup=policies[name]) for name in names}
    complaints = mismatches(specs, found)
    if complaints:
        raise TopicMismatchError("; ".join(complaints))


def register_schemas(registry: SchemaRegistry, catalogue: Catalogue, names: TopicNames) -> None:
    """Make every subject of the deployment hold its schema, and refuse what would break readers. Idempotent.

    Raises:
        IncompatibleSchemaError: a schema would break readers of what was written before.
        RegistryUnavailableError: the registry could not be asked.
    """
    for subject, text in catalogue.subjects(names).items():
        registry.set_compatibility(subject)
        registry.register(subject, text)


def topic_ids(kafka: KafkaConfig, names: Collection[str]) -> dict[str, str | None]:
    """The ids by which Kafka tells a topic from a later one of its name; None on the embedded mock, which has none.

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


def cluster_id(kafka: KafkaConfig) -> str | None:
    """The cluster's id; None on the embedded mock.

    Raises:
        KafkaUnavailableError: no answer.
    """
    if kafka.embedded:
        return None
    doing = "cannot look the cluster up"
    admin = make_admin(kafka)  # has to live until the answer is there
    with translated(doing):
        future = admin.describe_cluster(request_timeout=REQUEST_TIMEOUT_S)
    found: str | None = result_of(future, doing).cluster_id
    return found


def _make_appear(admin: AdminClient, specs: Iterable[TopicSpec]) -> None:
    """Ask the mock for each topic by name, which makes it; a consumer that comes first would meet an unknown one."""
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


def _partition_counts(admin: AdminClient) -> dict[str, int]:
    with translated("cannot list topics"):
        topics = admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
    return {name: len(topic.partitions) for name, topic in topics.items() if topic.error is None}


def _cleanup_policies(admin: AdminClient, names: Iterable[str]) -> Mapping[str, str]:
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    if not resources:
        return {}
    doing = "cannot read the configuration of topics"
    with translated(doing):
        futures = admin.describe_configs(resources, request_timeout=REQUEST_TIMEOUT_S)
    return {
        resource.name: result_of(future, f"{doing}: {resource.name}")["cleanup.policy"].value
        for resource, future in futures.items()
    }


def _wait_visible(admin: AdminClient, specs: Iterable[TopicSpec], sleep: Callable[[float], None]) -> None:
    """Wait until every topic has a leader for each partition, so that whoever comes next can use it."""
    ends = time.monotonic() + _VISIBLE_WITHIN_S
    missing = {spec.name for spec in specs}
    while missing:
        with translated("cannot list topics"):
            topics = admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
        ready = {n for n, t in topics.items() if t.error is None and all(p.leader >= 0 for p in t.partitions.values())}
        missing -= ready
        if missing and time.monotonic() >= ends:
            message = f"topics without leaders after {_VISIBLE_WITHIN_S:.0f} s: {', '.join(sorted(missing))}"
            raise KafkaUnavailableError(message)
        if missing:
            sleep(_LOOK_AGAIN_S)
