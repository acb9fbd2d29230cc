"""Says which fields of writers' schemas are in no body: they are no event's, and a producer would not notice."""

from __future__ import annotations

import structlog

# A registry's schemas may have any fields; a line for each would let a writer fill the log.
_MAX_LINES, _SHOWN_FIELDS, _SHOWN_CHARS = 100, 10, 100

log = structlog.get_logger("hookstream.router")


class UndeliveredFields:
    """Logs each namespace's fields once, and at most a hundred lines in all."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self._said: set[tuple[str, tuple[str, ...]]] = set()

    def __call__(self, namespace: str, fields: tuple[str, ...]) -> None:
        """Take what a writer's schema has that no event has."""
        if (namespace, fields) in self._said or len(self._said) >= _MAX_LINES:
            return
        self._said.add((namespace, fields))
        log.warning(
            "a writer's schema has fields that no event has: they are not delivered; its data would be",
            namespace=namespace,
            fields=[name[:_SHOWN_CHARS] for name in fields[:_SHOWN_FIELDS]],
            count=len(fields),
        )
