"""Everything a producing service imports, and nothing else: event producer, registry client, transactional outbox.

What is listed in `__all__` may be imported from here; each is loaded when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hookstream.schemas.catalogue import Catalogue
    from hookstream.schemas.errors import InvalidValueError, SchemaError, UnknownEventError
    from hookstream.schemas.event import Concept, Event

    from .config import ProducerConfig
    from .errors import DeliveryFailedError, ProducerError, QueueFullError
    from .event_producer import EventProducer
    from .receipt import EventSink, Receipt

__all__ = [
    "Catalogue",
    "Concept",
    "DeliveryFailedError",
    "Event",
    "EventProducer",
    "EventSink",
    "InvalidValueError",
    "ProducerConfig",
    "ProducerError",
    "QueueFullError",
    "Receipt",
    "SchemaError",
    "UnknownEventError",
]

_MODULES: Final = {
    "Catalogue": "hookstream.schemas.catalogue",
    "Concept": "hookstream.schemas.event",
    "DeliveryFailedError": "hookstream.producers.errors",
    "Event": "hookstream.schemas.event",
    "EventProducer": "hookstream.producers.event_producer",
    "EventSink": "hookstream.producers.receipt",
    "InvalidValueError": "hookstream.schemas.errors",
    "ProducerConfig": "hookstream.producers.config",
    "ProducerError": "hookstream.producers.errors",
    "QueueFullError": "hookstream.producers.errors",
    "Receipt": "hookstream.producers.receipt",
    "SchemaError": "hookstream.schemas.errors",
    "UnknownEventError": "hookstream.schemas.errors",
}


def __getattr__(name: str) -> object:
    """Load an export: a command that only shows its help waits for no Kafka client."""
    module = _MODULES.get(name)
    if module is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(module), name)
