"""Java's hash, by Kafka's own vectors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hookstream.producers.murmur2 import murmur2, partition_of

HASHES = json.loads((Path(__file__).parents[2] / "vectors" / "murmur2_java.json").read_text())["hashes"]


@pytest.mark.parametrize(("key", "signed"), HASHES.items())
def test_the_hash_is_java_s(key: str, signed: int) -> None:
    assert murmur2(key.encode()) == signed % 2**32


@pytest.mark.parametrize(("key", "signed"), HASHES.items())
def test_the_partition_is_the_positive_hash_modulo(key: str, signed: int) -> None:
    assert partition_of(key.encode(), 12) == (signed & 0x7FFFFFFF) % 12
