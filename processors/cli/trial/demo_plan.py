"""What the demo sends, and whether what arrived is what was promised. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.delivery import delivery_id
from hookstream.schemas.event import ClientId, Concept, Event
from hookstream.schemas.event_schema import DATA_FIELD
from hookstream.schemas.event_types import event_types

from .demo_receiver import Arrival

CLIENT = ClientId("434")
_WITHOUT_HOOKS = ClientId("435")
RESOURCES = 2
EVENTS_OF_EACH = 2


def path_of(event: str) -> str:
    """Where the demo's receiver takes an event."""
    return f"/{event}"


def events_to_send(catalogue: Catalogue, *, client: ClientId = CLIENT) -> list[Event]:
    """Every event that is written here, several times for each of several resources, taking turns; without times.

    Where its schema has data, an event has that of the example which integrators are shown.
    """
    ordered, ids = catalogue.written_names, catalogue.id_kinds
    data = {event.name: event.example.get(DATA_FIELD) for event in event_types(catalogue, {}) if event.example}
    return [
        Event(
            name=name,
            client=ids(namespace).client.shown(client),
            concept=Concept(id=ids(namespace).concept.shown(str(1000 * (index + 1) + resource)), namespace=namespace),
            occurred_at_ms=0,
            data=data.get(name),
        )
        for _ in range(EVENTS_OF_EACH)
        for resource in range(RESOURCES)
        for index, name in enumerate(ordered)
        for namespace in (name.partition(".")[0],)
    ]


def event_without_hooks(catalogue: Catalogue) -> Event:
    """An event of a client that has no hooks: it ends in the router."""
    return next(iter(events_to_send(catalogue, client=_WITHOUT_HOOKS)))


@dataclass(slots=True)
class Judge:
    """Compares arrivals with what was sent, hook by hook and resource by resource."""

    hook_ids: Mapping[str, int]
    """By event name."""
    expected: dict[tuple[str, int | str], list[str]] = field(default_factory=lambda: defaultdict(list))
    """Delivery ids by path and concept id, in the order in which they were sent."""
    bodies: dict[str, dict[str, object]] = field(default_factory=dict)
    """What each delivery has to say, by its id."""

    def sent(self, event: Event) -> None:
        """Expect an event; call it in the order of sending."""
        expected_id = delivery_id(event.id, self.hook_ids[event.name])
        self.expected[path_of(event.name), event.concept.id].append(expected_id)
        self.bodies[expected_id] = {
            "event": event.name,
            "client": event.client,
            "concept": {
                "id": event.concept.id,
                "namespace": event.concept.namespace,
                "sub_namespace": event.concept.sub_namespace,
            },
            **({} if event.data is None else {DATA_FIELD: event.data}),
        }

    def missing(self, arrivals: Iterable[Arrival]) -> int:
        """How many deliveries have not arrived."""
        return len(self.bodies.keys() - {arrival.webhook_id for arrival in arrivals})

    def problems(self, arrivals: Sequence[Arrival]) -> list[str]:
        """Every broken promise, a sentence each; none: all is well."""
        found = [
            f"{arrival.path}: {arrival.webhook_id}: signature: {arrival.fault}" for arrival in arrivals if arrival.fault
        ]
        found += [
            f"{arrival.path}: {arrival.webhook_id}: the body is not what was sent"
            for arrival in arrivals
            if not self._says_what_was_sent(arrival)
        ]
        first: dict[str, str] = {}
        for arrival in arrivals:
            first.setdefault(arrival.webhook_id, arrival.path)
        missing = self.missing(arrivals)
        if missing:
            found.append(f"{missing} of {len(self.bodies)} deliveries did not arrive")
        for (path, concept), ids in self.expected.items():
            here = set(ids)
            came = [webhook_id for webhook_id, came_to in first.items() if webhook_id in here and came_to == path]
            if came != [webhook_id for webhook_id in ids if webhook_id in came]:
                found.append(f"{path}: deliveries about {concept} are out of order")
        return found

    def duplicates(self, arrivals: Sequence[Arrival]) -> int:
        """Requests that repeat a delivery."""
        return len(arrivals) - len({arrival.webhook_id for arrival in arrivals})

    def _says_what_was_sent(self, arrival: Arrival) -> bool:
        body = self.bodies.get(arrival.webhook_id)
        if body is None or path_of(str(body["event"])) != arrival.path:
            return False
        try:
            said = orjson.loads(arrival.body)
        except orjson.JSONDecodeError:
            return False
        return bool(said == body)
