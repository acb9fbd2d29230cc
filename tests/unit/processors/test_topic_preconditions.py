"""Every difference of a topic that the code relies on is told, with the command that mends it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hookstream.processors.errors import TopicMismatchError
from hookstream.processors.topic_preconditions import Complaint, FoundTopic, complaints
from hookstream.processors.topic_specs import TopicLimits, TopicSpec, topic_specs
from hookstream.processors.topics import judge_schemas, register_schemas
from hookstream.producers.errors import NotRegisteredError
from hookstream.producers.registry import COMPATIBILITY
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.topics import TopicNames

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hookstream.producers.registry import SchemaRegistry

NAMES = TopicNames("p.")
EVENTS, DELIVERIES, TABLE = NAMES.events("lead"), NAMES.deliveries, NAMES.subscriptions
DAY_MS = 86_400_000
# A broker's defaults.
DEFAULTS = {
    "cleanup.policy": "delete",
    "message.timestamp.type": "CreateTime",
    "max.message.bytes": "1048588",
    "retention.ms": str(7 * DAY_MS),
    "retention.bytes": "-1",
    "delete.retention.ms": str(DAY_MS),
    "min.insync.replicas": "1",
    "unclean.leader.election.enable": "false",
}


def specs() -> dict[str, TopicSpec]:
    """Every topic of a deployment."""
    return {spec.name: spec for spec in topic_specs(NAMES, Catalogue.shipped(), TopicLimits(partitions=6))}


def as_wanted(spec: TopicSpec) -> FoundTopic:
    """What `topics create` makes of it on three brokers of which two have to acknowledge."""
    config = {**DEFAULTS, "min.insync.replicas": "2", **spec.config}
    return FoundTopic(partitions=spec.partitions, replicas=3, config=config)


def judged(name: str, changes: Mapping[str, str], topic: FoundTopic | None = None) -> list[Complaint]:
    """Judge a deployment of which one topic differs."""
    found = {each: as_wanted(spec) for each, spec in specs().items()}
    topic = topic or found[name]
    found[name] = replace(topic, config={**topic.config, **changes})
    return complaints(specs().values(), found)


def alter(name: str, key: str, value: str) -> str:
    """How a topic's configuration is mended."""
    return f"`kafka-configs.sh --bootstrap-server SERVER --alter --topic {name} --add-config {key}={value}`"


def test_a_deployment_as_it_is_made_has_nothing_to_complain_about() -> None:
    assert judged(EVENTS, {}) == []


@pytest.mark.parametrize(
    ("name", "key", "value", "wanted"),
    [
        (EVENTS, "message.timestamp.type", "CreateTime", "LogAppendTime"),
        (DELIVERIES, "cleanup.policy", "compact", "delete"),
        (DELIVERIES, "cleanup.policy", "compact,delete", "delete"),
        (TABLE, "cleanup.policy", "delete", "compact"),
    ],
)
def test_what_loses_records_unseen_is_refused_at_every_start(name: str, key: str, value: str, wanted: str) -> None:
    (told,) = judged(name, {key: value})
    assert told.refused
    assert f"topic {name} has {key}={value}, needs {wanted}" in told.text
    assert told.text.endswith(alter(name, key, wanted))


@pytest.mark.parametrize(
    ("name", "key", "value", "wanted"),
    [
        (EVENTS, "max.message.bytes", "1000", "1048576"),
        (DELIVERIES, "max.message.bytes", "1048588", "1064960"),
        (DELIVERIES, "retention.ms", str(DAY_MS), str(7 * DAY_MS)),
        (DELIVERIES, "retention.bytes", "1000000", "-1"),
        (TABLE, "delete.retention.ms", str(DAY_MS), str(7 * DAY_MS)),
        (EVENTS, "unclean.leader.election.enable", "true", "false"),
        (EVENTS, "min.insync.replicas", "1", "2"),
        (EVENTS, "min.insync.replicas", "4", "3"),
        (EVENTS, "max.message.bytes", "9" * 5000, "1048576"),
        (EVENTS, "retention.ms", "a week", str(7 * DAY_MS)),
    ],
)
def test_what_is_weak_is_told_and_no_role_refuses_it(name: str, key: str, value: str, wanted: str) -> None:
    (told,) = judged(name, {key: value})
    assert not told.refused
    assert told.text.startswith(f"topic {name} has {key}={value}")
    assert told.text.endswith(alter(name, key, wanted))


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        (DELIVERIES, "retention.ms", "-1"),
        (DELIVERIES, "retention.ms", str(30 * DAY_MS)),
        (DELIVERIES, "max.message.bytes", "10485760"),
        (TABLE, "delete.retention.ms", str(30 * DAY_MS)),
        (TABLE, "retention.ms", str(DAY_MS)),  # nothing of a table goes by its age
        (EVENTS, "min.insync.replicas", "3"),
    ],
)
def test_what_is_larger_than_it_has_to_be_is_the_operator_s_to_choose(name: str, key: str, value: str) -> None:
    assert judged(name, {key: value}) == []


def test_one_replica_needs_no_second_one_in_sync() -> None:
    lone = replace(as_wanted(specs()[EVENTS]), replicas=1)
    assert judged(EVENTS, {"min.insync.replicas": "1"}, lone) == []


def test_events_made_by_others_with_a_broker_s_defaults_are_refused() -> None:
    made = FoundTopic(partitions=6, replicas=1, config=DEFAULTS)
    assert [(told.refused, "LogAppendTime" in told.text) for told in judged(EVENTS, {}, made)] == [(True, True)]


def test_partitions_that_differ_are_told_with_what_to_do() -> None:
    (told,) = judged(DELIVERIES, {}, replace(as_wanted(specs()[DELIVERIES]), partitions=7))
    assert told.refused
    assert "p.deliveries has 7 partitions, needs 6: set HOOKSTREAM_PARTITIONS=7" in told.text
    (told,) = judged(TABLE, {}, replace(as_wanted(specs()[TABLE]), partitions=12))
    assert "`hookstream topics create` and `hookstream subscriptions resync`" in told.text


def test_a_missing_topic_is_told_with_the_command_that_makes_it() -> None:
    found = {name: as_wanted(spec) for name, spec in specs().items() if name != NAMES.control}
    assert complaints(specs().values(), found) == [
        Complaint("topic p.control does not exist: run `hookstream topics create`", refused=True)
    ]


class Registry:
    """A registry that lacks one subject's schema, and is lenient with another one; `fits`: whether it would take it."""

    def __init__(self, *, fits: bool = True) -> None:
        self._fits = fits

    def id_for(self, subject: str, _text: str) -> int:
        """Give an id, but for one."""
        if subject == f"{DELIVERIES}-value":
            raise NotRegisteredError(f"{subject}: this schema is not registered; run `hookstream topics create`")
        return 1

    def takes(self, _subject: str, _text: str) -> bool:
        """Say whether the lacking schema fits to what the subject had before."""
        return self._fits

    def compatibility(self, subject: str) -> str:
        """Give what a subject accepts."""
        return "NONE" if subject == f"{TABLE}-value" else COMPATIBILITY


def test_schemas_that_the_registry_lacks_or_does_not_guard_are_told() -> None:
    registry: SchemaRegistry = Registry()  # type: ignore[assignment]  # the methods that are asked
    assert sorted(judge_schemas(registry, Catalogue.shipped(), NAMES)) == [
        "p.deliveries-value: this schema is not registered; run `hookstream topics create`",
        "p.subscriptions-value: its compatibility is NONE, needs BACKWARD_TRANSITIVE: run `hookstream topics create`",
    ]


def test_topics_that_hold_what_this_release_cannot_read_are_told_alone() -> None:
    registry: SchemaRegistry = Registry(fits=False)  # type: ignore[assignment]
    (told,) = judge_schemas(registry, Catalogue.shipped(), NAMES)
    assert told.startswith("p.deliveries: these topics hold records of an earlier release that this one cannot read;")
    assert "HOOKSTREAM_TOPIC_PREFIX" in told
    with pytest.raises(TopicMismatchError):
        register_schemas(registry, Catalogue.shipped(), NAMES)
