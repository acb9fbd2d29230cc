"""Which topics exist, whoever made them."""

from __future__ import annotations

from collections.abc import Collection

from .kafka import REQUEST_TIMEOUT_S, KafkaConfig, make_admin, translated


def existing_topics(kafka: KafkaConfig, names: Collection[str]) -> set[str]:
    """Those of the names that there is a topic of.

    Raises:
        KafkaUnavailableError: no answer.
        KafkaRefusedError: no right to look.
    """
    admin = make_admin(kafka)
    with translated("cannot list topics"):
        listed = admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
    return {name for name in names if name in listed and listed[name].error is None}
