"""Encoders and readers of the internal topics, which ask the registry when they are first used."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeAlias, TypeVar

from hookstream.processors.cli.deps import Deps
from hookstream.processors.tables.endpoint_settings import EndpointSettingsReader, SettingsBatch
from hookstream.processors.tables.subscription_reader import SubscriptionReader, TableBatch
from hookstream.schemas.catalogue import subject
from hookstream.schemas.codecs.endpoint_settings import endpoint_settings_decoder
from hookstream.schemas.codecs.hooks import subscription_decoder, subscription_encoder
from hookstream.schemas.hook import Hook, ResyncMark

_T = TypeVar("_T")
RowEncoder: TypeAlias = Callable[[Hook | ResyncMark], bytes]


def row_encoder(deps: Deps) -> RowEncoder:
    """Encode rows of the subscriptions topic; the registry is asked for the schema's id when the first one is."""
    return value_encoder(deps, deps.topics.subscriptions, subscription_encoder)


def value_encoder(deps: Deps, topic: str, make: Callable[[int], Callable[[_T], bytes]]) -> Callable[[_T], bytes]:
    """Encode values of a topic; the registry is asked for the schema's id when the first one is."""

    @cache
    def encoder() -> Callable[[_T], bytes]:
        name = subject(topic)
        return make(deps.registry.id_for(name, deps.catalogue.subjects(deps.topics)[name]))

    def encode(value: _T) -> bytes:
        return encoder()(value)

    return encode


def table_readers(deps: Deps) -> Callable[[Callable[[TableBatch], None]], SubscriptionReader]:
    """Make readers of the subscriptions topic that hand over what they read."""

    def make(deliver: Callable[[TableBatch], None]) -> SubscriptionReader:
        decode = subscription_decoder(deps.registry.schema_text_by_id)
        return SubscriptionReader(deps.kafka, deps.topics.subscriptions, decode=decode, deliver=deliver)

    return make


def settings_readers(deps: Deps) -> Callable[[Callable[[SettingsBatch], None]], EndpointSettingsReader]:
    """Make readers of the control topic that hand over what they read."""

    def make(deliver: Callable[[SettingsBatch], None]) -> EndpointSettingsReader:
        decode = endpoint_settings_decoder(deps.registry.schema_text_by_id)
        return EndpointSettingsReader(deps.kafka, deps.topics.control, decode=decode, deliver=deliver)

    return make
