"""The latest schemas of topics that other services write, for the API's descriptions of their events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import structlog

from hookstream.processors.lifecycle import StopSignal
from hookstream.producers.errors import ProducerError
from hookstream.schemas.errors import SchemaError
from hookstream.schemas.sources.source import Source, ValueFormat

_EVERY_S = 60.0

log = structlog.get_logger("hookstream.api")


class SourceSchemas:
    """Asks the registry in one thread, again and again. Calling it gives what is known, at once, from any thread."""

    def __init__(self, sources: Iterable[Source], latest: Callable[[Source], str | None]) -> None:
        """`latest` asks for the text of a source's latest schema, and gives None where there is none."""
        self._sources = tuple(source for source in sources if source.value is ValueFormat.AVRO)
        self._latest = latest
        self._known: Mapping[str, str] = {}
        self._faults: dict[str, str] = {}
        """Why a schema could not be read, by namespace: logged when it changes."""

    def __call__(self) -> Mapping[str, str]:
        """The schemas by namespace. What was known stays known while the registry does not answer."""
        return self._known

    def run(self, stop: StopSignal) -> None:
        """Ask until asked to stop; not at all where no source has such schemas."""
        while self._sources and not stop.asked:
            for source in self._sources:
                if not stop.asked:
                    self.ask(source)
            stop.wait(_EVERY_S)

    def ask(self, source: Source) -> None:
        """Ask for the schema of one source."""
        namespace = source.namespace
        try:
            text = self._latest(source)
        except (ProducerError, SchemaError) as exc:
            reason = str(exc)
            if self._faults.get(namespace) != reason:
                self._faults[namespace] = reason
                log.warning("the schema of a source could not be read", namespace=namespace, reason=reason)
            return
        self._faults.pop(namespace, None)
        others = {key: known for key, known in self._known.items() if key != namespace}
        self._known = others if text is None else {**others, namespace: text}
