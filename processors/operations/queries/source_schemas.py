"""The latest schemas of topics that other services write, for the API's descriptions of their events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import structlog

from hookstream.processors.lifecycle import StopSignal
from hookstream.producers.errors import ProducerError
from hookstream.schemas.catalogue import subject
from hookstream.schemas.errors import SchemaError
from hookstream.schemas.sources.source import Source, ValueFormat
from hookstream.schemas.topics import TopicNames

_EVERY_S = 60.0

log = structlog.get_logger("hookstream.api")


class SourceSchemas:
    """Asks the registry in one thread, again and again. Calling it gives what is known, at once, from any thread."""

    def __init__(
        self,
        sources: Iterable[Source],
        topics: TopicNames,
        latest_text: Callable[[str], str | None],
        *,
        every_s: float = _EVERY_S,
    ) -> None:
        """`latest_text` gives the text of a subject's latest schema, None where there is no such subject."""
        self._subjects = {
            source.namespace: subject(source.topic_in(topics)) for source in sources if source.value is ValueFormat.AVRO
        }
        self._latest_text = latest_text
        self._every_s = every_s
        self._known: Mapping[str, str] = {}
        self._faults: dict[str, str] = {}
        """Why a schema could not be read, by namespace: logged when it changes."""

    def __call__(self) -> Mapping[str, str]:
        """The schemas by namespace. What was known stays known while the registry does not answer."""
        return self._known

    def run(self, stop: StopSignal) -> None:
        """Ask until asked to stop; not at all where no source has such schemas."""
        while self._subjects and not stop.asked:
            for namespace in self._subjects:
                if not stop.asked:
                    self.ask(namespace)
            stop.wait(self._every_s)

    def ask(self, namespace: str) -> None:
        """Ask for the schema of one source."""
        name = self._subjects[namespace]
        try:
            text = self._latest_text(name)
        except (ProducerError, SchemaError) as exc:
            reason = str(exc)
            if self._faults.get(namespace) != reason:
                self._faults[namespace] = reason
                log.warning("the schema of a source could not be read", subject=name, reason=reason)
            return
        self._faults.pop(namespace, None)
        others = {key: known for key, known in self._known.items() if key != namespace}
        self._known = others if text is None else {**others, namespace: text}
