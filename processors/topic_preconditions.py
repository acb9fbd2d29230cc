"""What the code relies on of topics that exist, and the command that mends each difference. Pure.

Some differences lose order or records without a sign: with them no role starts. The others cost safety, or
make single records undeliverable: `topics check` fails with them, and a role that starts says so in its log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from .topic_specs import Cleanup, TopicSpec

_MAX_DIGITS = 19
# Kafka's word for "for ever" and "without bound".
_UNLIMITED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTopic:
    """One topic as it is. `config`: Kafka's keys as they are in force; `replicas`: the fewest that a partition has."""

    partitions: int
    replicas: int
    config: Mapping[str, str]


class Complaint(NamedTuple):
    """What differs, in one sentence with the command that mends it; `refused`: no role starts with it."""

    text: str
    refused: bool


def complaints(specs: Iterable[TopicSpec], found: Mapping[str, FoundTopic]) -> list[Complaint]:
    """Judge every topic of a deployment; nothing where all is as it has to be."""
    complaints: list[Complaint] = []
    for spec in specs:
        topic = found.get(spec.name)
        if topic is None:
            complaints.append(
                Complaint(f"topic {spec.name} does not exist: run `hookstream topics create`", refused=True)
            )
        else:
            complaints += _refused(spec, topic)
            complaints += (Complaint(weak, refused=False) for weak in _weak(spec, topic))
    return complaints


def _refused(spec: TopicSpec, topic: FoundTopic) -> Iterator[Complaint]:
    if topic.partitions != spec.partitions:
        yield Complaint(_partitions_differ(spec, topic.partitions), refused=True)
    cleanup = topic.config.get("cleanup.policy", "")
    if set(cleanup.split(",")) != {spec.cleanup.value}:
        yield Complaint(_differs(spec, "cleanup.policy", cleanup, spec.cleanup.value), refused=True)
    # Under the writer's clock a backfilled event is deleted and expires by its own age: on arrival.
    stamp, wanted = topic.config.get("message.timestamp.type", ""), spec.config["message.timestamp.type"]
    if stamp != wanted:
        yield Complaint(_differs(spec, "message.timestamp.type", stamp, wanted), refused=True)


def _weak(spec: TopicSpec, topic: FoundTopic) -> Iterator[str]:
    yield from _too_small(spec, topic, "max.message.bytes")
    if spec.cleanup is Cleanup.COMPACT:
        yield from _too_small(spec, topic, "delete.retention.ms")
    else:
        yield from _too_small(spec, topic, "retention.ms")
        yield from _too_small(spec, topic, "retention.bytes")
    if topic.config.get("unclean.leader.election.enable", "false") != "false":
        yield _differs(spec, "unclean.leader.election.enable", "true", "false")
    in_sync = _number(topic.config.get("min.insync.replicas")) or 1
    if in_sync > topic.replicas:  # then nothing is ever acknowledged
        yield _differs(spec, "min.insync.replicas", f"{in_sync} with {topic.replicas} replicas", str(topic.replicas))
    elif topic.replicas > 1 and in_sync == 1:  # then what one broker alone has is acknowledged, and lost with it
        yield _differs(spec, "min.insync.replicas", f"1 with {topic.replicas} replicas", "2")


def _too_small(spec: TopicSpec, topic: FoundTopic, key: str) -> Iterator[str]:
    """Complain where a limit is below what is relied on; a larger one is the operator's own business."""
    wanted, has = _number(spec.config[key]), _number(topic.config.get(key))
    if wanted is None or has == _UNLIMITED:
        return
    if has is None or wanted == _UNLIMITED or has < wanted:
        yield _differs(spec, key, topic.config.get(key, ""), spec.config[key])


def _number(text: str | None) -> int | None:
    """A number that a broker wrote; None where it is none."""
    digits = (text or "").removeprefix("-")
    if text is None or len(digits) > _MAX_DIGITS or not (digits.isascii() and digits.isdecimal()):
        return None
    return int(text)


def _differs(spec: TopicSpec, key: str, has: str, wanted: str) -> str:
    return (
        f"topic {spec.name} has {key}={has}, needs {wanted}: run `kafka-configs.sh --bootstrap-server SERVER --alter"
        f" --topic {spec.name} --add-config {key}={wanted}`"
    )


def _partitions_differ(spec: TopicSpec, partitions: int) -> str:
    counts = f"topic {spec.name} has {partitions} partitions, needs {spec.partitions}"
    if spec.partitions == 1:
        return f"{counts}: delete it, then run `hookstream topics create` and `hookstream subscriptions resync`"
    return (
        f"{counts}: set HOOKSTREAM_PARTITIONS={partitions} if it was made so on purpose; keys move when the count"
        " changes, so it is not changed under records that are pending"
    )
