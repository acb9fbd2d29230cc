"""Java's default partitioner, as a function: which partition a key has.

The Kafka client does this itself (`partitioner=murmur2_random`); this is for whoever has to know without it.
Source: org.apache.kafka.common.utils.Utils.murmur2, BuiltInPartitioner.partitionForKey.
"""

from __future__ import annotations

_SEED = 0x9747B28C
_M = 0x5BD1E995
_32_BITS = 0xFFFFFFFF
_POSITIVE = 0x7FFFFFFF
_WORD = 4


def murmur2(data: bytes) -> int:
    """Give the hash as an unsigned 32-bit number."""
    whole = len(data) - len(data) % _WORD
    value = (_SEED ^ len(data)) & _32_BITS
    for start in range(0, whole, _WORD):
        word = int.from_bytes(data[start : start + _WORD], "little") * _M & _32_BITS
        word = (word ^ word >> 24) * _M & _32_BITS
        value = value * _M & _32_BITS ^ word
    if whole < len(data):
        value = (value ^ int.from_bytes(data[whole:], "little")) * _M & _32_BITS
    value = (value ^ value >> 13) * _M & _32_BITS
    return value ^ value >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """Give the partition of a key in a topic of so many partitions."""
    return (murmur2(key) & _POSITIVE) % partitions
