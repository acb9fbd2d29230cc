"""A slow question has its place for as long as it is answered, however that ends."""

from __future__ import annotations

import pytest

from hookstream.subscriptions.api.admission import Admission, Question
from hookstream.subscriptions.api.problems import ProblemError


def fail(admission: Admission, question: Question, caller: str) -> None:
    with pytest.raises(ZeroDivisionError), admission.enter(question, caller):
        raise ZeroDivisionError


def test_a_question_that_fails_gives_its_place_back() -> None:
    admission = Admission(of_one_caller=1, of_one_kind=1)
    for _ in range(3):
        fail(admission, Question.AUDIT, "a")
    with admission.enter(Question.AUDIT, "a"):
        pass


def test_one_caller_and_one_kind_have_so_many_places() -> None:
    admission = Admission(of_one_caller=2, of_one_kind=3)
    with (
        admission.enter(Question.AUDIT, "a"),
        admission.enter(Question.BACKLOG, "a"),
        admission.enter(Question.AUDIT, "b"),
        admission.enter(Question.AUDIT, "c"),
    ):
        for question, caller in ((Question.ATTEMPTS, "a"), (Question.AUDIT, "d")):
            with pytest.raises(ProblemError), admission.enter(question, caller):
                pass
        with admission.enter(Question.ATTEMPTS, "d"):
            pass
