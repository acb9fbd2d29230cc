"""The quick way to an attempt's bytes is the codec's way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from hookstream.processors.delivery.attempts.bytes import MAX_ANSWER_BYTES, AttemptBytes
from hookstream.processors.delivery.http.exchange import Answer
from hookstream.schemas.attempt import Attempt, AttemptResult
from hookstream.schemas.codecs.attempts import attempt_encoder
from hookstream.schemas.codecs.avro_bytes import long_bytes
from hookstream.schemas.delivery import DeliveryId
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookId, Revision
from tests.support.posts import a_post
from tests.support.values import DELIVERY, HOOK

if TYPE_CHECKING:
    from hookstream.processors.delivery.engine.model import Post

numbers = st.integers(0, 2**62)
encoder = AttemptBytes(9)
codec = attempt_encoder(9)


deliveries = st.builds(
    lambda hook, client, event, namespace, concept, id_, replay: replace(
        DELIVERY,
        hook_id=HookId(hook),
        client=ClientId(str(client)),
        event=EventName(event),
        namespace=namespace,
        concept_id=str(concept),
        id=DeliveryId(id_),
        replay=replay,
    ),
    st.integers(1, 3),
    numbers,
    st.text(max_size=9),
    st.text(max_size=9),
    numbers,
    st.text(max_size=40),
    st.none() | st.text(max_size=9),
)
posts = st.builds(
    lambda delivery, revision, offset, number, probe: a_post(
        delivery, replace(HOOK, revision=Revision(revision)), offset=offset, number=number, probe=probe
    ),
    deliveries,
    st.integers(0, 2**40),
    numbers,
    st.integers(1, 2**20),
    st.booleans(),
)
answers = st.builds(
    Answer,
    st.none() | st.integers(100, 999),
    st.none(),
    st.binary(max_size=300),
    st.none(),
    st.floats(0, 1000),
)


@given(posts, st.sampled_from(AttemptResult), answers, st.integers(0, 10_000), st.integers(2**40, 2**42))
def test_every_field_is_where_the_codec_puts_it(
    post: Post, result: AttemptResult, answer: Answer, partition: int, wall_ms: int
) -> None:
    delivery = post.pending.delivery
    expected = Attempt(
        delivery_id=delivery.id,
        hook_id=delivery.hook_id,
        hook_revision=Revision(post.row.revision),
        client=delivery.client,
        event=delivery.event,
        namespace=delivery.namespace,
        concept_id=delivery.concept_id,
        partition=partition,
        offset=post.pending.offset,
        number=post.number,
        probe=post.probe,
        replay=delivery.replay,
        started_at_ms=wall_ms - int(answer.duration_s * 1000),
        duration_ms=answer.duration_s * 1000,
        result=result,
        status=answer.status,
        answer=answer.body,
    )

    key, value = encoder.encode(post, result, answer, partition=partition, wall_ms=wall_ms)

    assert value == codec(expected)
    assert key == delivery.key


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_long_is_zigzag_and_as_short_as_it_can_be(number: int) -> None:
    data = long_bytes(number)
    value = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(data))

    assert (value >> 1) ^ -(value & 1) == number
    assert all(byte & 0x80 for byte in data[:-1])
    assert not data[-1] & 0x80
    assert len(data) == 1 or data[-1]


def test_a_long_answer_is_cut() -> None:
    post = a_post()
    _, value = encoder.encode(
        post, AttemptResult.DELIVERED, Answer(200, None, b"x" * 30_000, None, 0.1), partition=0, wall_ms=2**41
    )

    assert value.count(b"x") == MAX_ANSWER_BYTES
