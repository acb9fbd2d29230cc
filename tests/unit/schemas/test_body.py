"""The bodies that integrators get, compared with literal bytes: the seed's contract."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hookstream.schemas.body import thin_body
from hookstream.schemas.event import Concept
from tests.support.values import EVENT


def test_the_body_is_the_seed_s_flat_json_byte_for_byte() -> None:
    assert thin_body(replace(EVENT, concept=Concept(id=888999, namespace="property"))) == (
        b'{"event":"property.updated","client":9999,'
        b'"concept":{"id":888999,"namespace":"property","sub_namespace":null}}'
    )


@pytest.mark.parametrize(
    ("client", "concept", "body"),
    [
        (
            2**63 - 1,
            Concept(id=0, namespace="property", sub_namespace='ä"b'),
            (
                '{"event":"property.updated","client":9223372036854775807,'
                '"concept":{"id":0,"namespace":"property","sub_namespace":"ä\\"b"}}'
            ),
        ),
        (
            "acme",
            Concept(id="o-17", namespace="property"),
            (
                '{"event":"property.updated","client":"acme",'
                '"concept":{"id":"o-17","namespace":"property","sub_namespace":null}}'
            ),
        ),
        (
            "434",
            Concept(id=17, namespace="property"),
            (
                '{"event":"property.updated","client":"434",'
                '"concept":{"id":17,"namespace":"property","sub_namespace":null}}'
            ),
        ),
    ],
)
def test_ids_are_shown_as_the_event_has_them(client: int | str, concept: Concept, body: str) -> None:
    assert thin_body(replace(EVENT, client=client, concept=concept)) == body.encode()
