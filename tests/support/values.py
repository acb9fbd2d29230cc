"""One value of every kind that travels through Kafka, and schemas by id without a registry."""

from __future__ import annotations

from uuid import UUID

from hookstream.schemas.attempt import Attempt, AttemptResult
from hookstream.schemas.control import EndpointSettings, SkippedDelivery
from hookstream.schemas.delivery import DeadLetter, DeadLetterReason, Delivery, DeliveryId
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.event import ClientId, Concept, Event, EventName
from hookstream.schemas.hook import Hook, HookId, HookNotice, HookState, NoticeKind, ResyncMark, Revision

EVENT_ID = UUID("0190b7a2-7c1e-7d4f-9d6e-5f3f1f2e4a5b")
DELIVERY_ID = DeliveryId("msg_00112233445566778899aabbccddeeff")
OCCURRED_AT_MS = 1_790_000_000_123


LONGEST_ID = "\U0001d11e" * 255
"""As long as the id of a client or a resource may be, and of characters that take as many bytes as any."""


def an_event(
    name: str = "property.updated", *, client: int = 9999, concept: int = 888999, sub: str | None = None
) -> Event:
    """Make the seed's own example, or one like it, with a new id."""
    namespace = name.partition(".")[0]
    return Event(
        name=EventName(name),
        client=client,
        concept=Concept(id=concept, namespace=namespace, sub_namespace=sub),
        occurred_at_ms=OCCURRED_AT_MS,
    )


EVENT = Event(
    id=EVENT_ID,
    name=EventName("property.updated"),
    client=9999,
    concept=Concept(id=888999, namespace="property", sub_namespace="villa"),
    occurred_at_ms=OCCURRED_AT_MS,
)
DELIVERY = Delivery(
    id=DELIVERY_ID,
    event=EventName("property.updated"),
    client=ClientId("9999"),
    concept_id="888999",
    namespace="property",
    body=b'{"event":"property.updated","client":9999,"concept":{"id":888999,"namespace":"property","sub_namespace":null}}',
    occurred_at_ms=OCCURRED_AT_MS,
    hook_id=HookId(223443),
    hook_revision=Revision(7),
    source_topic="events.property",
    source_partition=3,
    source_offset=123456,
    arrived_ms=OCCURRED_AT_MS + 5,
    replay="job-1",
    live_end=77,
    replayed_at_ms=OCCURRED_AT_MS + 9,
)
SETTINGS = EndpointSettings(
    client=ClientId("9999"),
    target_digest=bytes.fromhex("0123456789abcdef"),
    paused=True,
    skip_before_ms=OCCURRED_AT_MS,
    retry_at_ms=OCCURRED_AT_MS + 1,
    skipped=(SkippedDelivery(delivery_id=DELIVERY_ID, at_ms=OCCURRED_AT_MS, asked_by="token 3", reason="poison"),),
    asked_by="token 5",
    reason="it melts",
    drained_by="token 4",
    drain_reason="too old",
    revision=7,
)
ATTEMPT = Attempt(
    delivery_id=DELIVERY_ID,
    hook_id=HookId(223443),
    hook_revision=Revision(7),
    client=ClientId("9999"),
    event=EventName("property.updated"),
    namespace="property",
    concept_id="888999",
    partition=3,
    offset=123456,
    number=2,
    probe=True,
    replay=None,
    started_at_ms=OCCURRED_AT_MS,
    duration_ms=12.5,
    result=AttemptResult.ERROR_STATUS,
    status=500,
    answer=b"\x00sorry",
)
DEAD_LETTER = DeadLetter(
    reason=DeadLetterReason.TOO_LARGE,
    detail="the broker refused it",
    topic="deliveries",
    partition=3,
    offset=123456,
    record_key=b"9999",
    record_value=b"\x00\x00",
    client=ClientId("9999"),
    hook_id=None,
    delivery_id=DELIVERY_ID,
    died_at_ms=OCCURRED_AT_MS,
    last_status=None,
    last_answer=b"",
)
HOOK = Hook(
    id=HookId(223443),
    client=ClientId("434"),
    event=EventName("lead.new"),
    target="http://custom-platform.com/create-lead.php",
    state=HookState.DISABLED,
    revision=Revision(7),
    secrets=(b"newer", b"older"),
    not_before_ms=5,
    rate_limit_per_s=2.5,
)
RESYNC_MARK = ResyncMark(topic_id="AAAAAAAAAAAAAAAAAAAAAA", written_at_ms=OCCURRED_AT_MS)
NOTICE = HookNotice(
    hook_id=HookId(223443),
    client=ClientId("434"),
    event=EventName("lead.new"),
    revision=Revision(7),
    kind=NoticeKind.GONE,
    observed_at_ms=OCCURRED_AT_MS,
)


class Schemas(dict[int, str]):
    """Writer schemas by id, as a registry would give them."""

    def __call__(self, schema_id: int, /) -> str:
        """Give the text, or raise as a registry's client does for an unknown id."""
        if schema_id not in self:
            raise UndecodableError(f"no schema {schema_id}")
        return self[schema_id]
