"""The list of topics, and how each has to be made."""

from __future__ import annotations

from hookstream.processors.topic_specs import TopicLimits, TopicSpec, topic_specs
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.topics import TopicNames
from tests.support.foreign_topics import catalogue_with

NAMES = TopicNames("p.")
DAY_MS = 86_400_000


def specs() -> dict[str, TopicSpec]:
    return {spec.name: spec for spec in topic_specs(NAMES, Catalogue.shipped(), TopicLimits(partitions=6))}


def test_every_name_of_a_deployment_is_a_topic() -> None:
    names = {value for name in dir(TopicNames) if isinstance(value := getattr(NAMES, name), str)}
    groups = {NAMES.router_group, NAMES.deliver_group, NAMES.attempt_log_group, NAMES.notices_group}
    groups |= {"p.", TopicNames.__module__}
    topics = {name for name in names if name.startswith("p.")} - groups
    assert set(specs()) == topics | {NAMES.events(namespace) for namespace in Catalogue.shipped().namespaces}


def test_the_topic_of_another_service_is_none_of_the_deployment_s() -> None:
    source = (
        '[order]\ntopic = "shop.orders"\nevent = "constant:placed"\nclient = "key"\n[parcel]\n'
        'event = "constant:sent"\nclient = "key"\n'
    )
    names = [spec.name for spec in topic_specs(NAMES, catalogue_with(source, NAMES), TopicLimits())]
    assert sorted(names) == sorted(specs())


def test_every_topic_takes_the_broker_s_clock() -> None:
    assert {spec.config["message.timestamp.type"] for spec in specs().values()} == {"LogAppendTime"}


def test_partitions_are_as_many_as_asked_but_for_the_table() -> None:
    assert {name: spec.partitions for name, spec in specs().items() if spec.partitions != 6} == {"p.subscriptions": 1}


def test_what_is_looked_up_by_key_is_compacted_and_what_is_a_log_is_cut() -> None:
    compacted = {name for name, spec in specs().items() if spec.config["cleanup.policy"] == "compact"}
    assert compacted == {NAMES.subscriptions, NAMES.delivery_state, NAMES.control}
    days = {name: int(s.config["retention.ms"]) / DAY_MS for name, s in specs().items() if name not in compacted}
    longer = {name: day for name, day in days.items() if day != 7}
    assert longer == {NAMES.dead_letters: 30, NAMES.attempts: 3}


def test_a_delivery_fits_where_its_event_did_and_a_dead_letter_where_its_delivery_did() -> None:
    size = {name: int(spec.config["max.message.bytes"]) for name, spec in specs().items()}
    assert size[NAMES.deliveries] == size[NAMES.replays] == size[NAMES.events("lead")] + 16 * 1024
    assert size[NAMES.dead_letters] == size[NAMES.events("lead")] + 64 * 1024
