"""Events as the bytes of their topic's records, under the ids that the registry gives their schemas."""

from __future__ import annotations

import threading
from collections.abc import Callable

from hookstream.schemas.catalogue import Catalogue, subject
from hookstream.schemas.codecs.events import WrittenEvent, event_encoder
from hookstream.schemas.event import Event

from .config import ProducerConfig
from .registry import SchemaRegistry


class EventValues:
    """Encodes events. May be used from any thread; a namespace's first event waits for its schema id."""

    def __init__(self, config: ProducerConfig, catalogue: Catalogue, registry: SchemaRegistry) -> None:
        """Nothing is asked of the registry yet; it stays the caller's to close."""
        self._config = config
        self._catalogue = catalogue
        self._registry = registry
        self._encoders: dict[str, tuple[str, Callable[[Event], bytes]]] = {}
        self._lock = threading.Lock()

    def of(self, event: Event, written: WrittenEvent | None) -> tuple[str, bytes]:
        """The topic of an event, and the record's value: what was `written`, or the event by today's schema.

        Raises:
            UnknownEventError: not in the catalogue.
            InvalidValueError: a value that its schema does not allow.
            RegistryError: no schema id.
        """
        self._catalogue.require_written(event.name)
        namespace = event.name.partition(".")[0]
        if written is None:
            topic, encode = self.encoder(namespace)
            return topic, encode(event)
        topic = self._config.topics.events(namespace)
        return topic, written.under(self._schema_id(topic, written.schema_text))

    def encoder(self, namespace: str) -> tuple[str, Callable[[Event], bytes]]:
        """The topic of a namespace, and what encodes its events.

        Raises:
            UnknownEventError: there is no such namespace.
            RegistryError: no schema id.
        """
        found = self._encoders.get(namespace)
        if found is not None:
            return found
        with self._lock:
            found = self._encoders.get(namespace)
            if found is None:
                text = self._catalogue.schema_text(namespace)
                topic = self._config.topics.events(namespace)
                schema_id = self._schema_id(topic, text)
                found = self._encoders[namespace] = (topic, event_encoder(self._catalogue, namespace, schema_id))
        return found

    def _schema_id(self, topic: str, text: str) -> int:
        """The id of a schema of a topic's values; the registry remembers what it was asked."""
        return self._registry.wait_for(
            lambda: self._registry.id_for(subject(topic), text), self._config.registry_deadline_s
        )
