"""Waiting ends with the value, or with a complaint that says what was last seen."""

from __future__ import annotations

import asyncio

import pytest

from hookstream.processors.errors import KafkaUnavailableError
from tests.support.wait import eventually, eventually_async


def test_the_first_truthy_value_is_returned() -> None:
    values = iter([0, None, 7])
    assert eventually(lambda: next(values), every_s=0.0) == 7


def test_a_failing_assertion_means_not_yet() -> None:
    values = iter([1, 2])

    def condition() -> str:
        assert next(values) == 2
        return "now"

    assert eventually(condition, every_s=0.0) == "now"


def test_a_kafka_that_cannot_answer_now_means_not_yet() -> None:
    answers = [KafkaUnavailableError("the leader moves")]

    def condition() -> str:
        if answers:
            raise answers.pop()
        return "now"

    assert eventually(condition, every_s=0.0) == "now"


def test_the_complaint_names_the_condition_and_the_last_value() -> None:
    with pytest.raises(AssertionError, match=r"not true within 0 s: lag is gone \(last value: \[\]\)"):
        eventually(list, 0.0, describe="lag is gone")


def test_the_complaint_is_chained_to_the_last_assertion() -> None:
    def condition() -> None:
        message = "3 of 4 arrived"
        raise AssertionError(message)

    with pytest.raises(AssertionError) as caught:
        eventually(condition, 0.0)
    assert str(caught.value.__cause__) == "3 of 4 arrived"


def test_other_errors_are_not_waited_out() -> None:
    def condition() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        eventually(condition, 5.0)


def test_the_loop_runs_on_while_a_coroutine_waits() -> None:
    async def main() -> int:
        ready = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, ready.set)
        return await eventually_async(lambda: 5 if ready.is_set() else 0, 5.0, every_s=0.001)

    assert asyncio.run(main()) == 5


def test_a_coroutine_function_can_be_waited_for() -> None:
    values = iter([False, True])

    async def condition() -> bool:
        return next(values)

    assert asyncio.run(eventually_async(condition, 5.0, every_s=0.0)) is True
