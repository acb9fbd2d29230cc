"""Rights on topics of other services: what is missing is said once, and looked at again until it is there."""

from __future__ import annotations

import threading

from structlog.testing import capture_logs

from hookstream.processors.errors import KafkaUnavailableError
from hookstream.processors.routing.source_rights import SourceRights


def test_what_is_missing_is_said_when_it_changes_and_read_when_nothing_is() -> None:
    answers = [{"a": "Describe"}, {"a": "Describe"}, {"a": "Read"}, {}]
    rights = SourceRights(lambda: answers.pop(0))
    with capture_logs() as lines:
        seen = []
        while answers:
            rights.look()
            seen.append((rights.may_read("a"), rights.may_read("b")))
    assert seen == [(False, True), (False, True), (False, True), (True, True)]
    assert [(line["topic"], line.get("right")) for line in lines] == [("a", "Describe"), ("a", "Read"), ("a", None)]


def test_it_looks_until_nothing_is_missing_whatever_kafka_answers_between() -> None:
    looked, ended = threading.Semaphore(0), threading.Event()
    answers: list[dict[str, str] | None] = [{"a": "Read"}, None, {"a": "Read"}, {}]

    def ask() -> dict[str, str]:
        looked.release()
        answer = answers.pop(0)
        if not answers:
            ended.set()
        if answer is None:
            raise KafkaUnavailableError("no answer")
        return answer

    rights = SourceRights(ask, every_s=0.0)
    rights.look()
    rights.watch()
    assert ended.wait(10)
    rights.close()
    assert answers == []
