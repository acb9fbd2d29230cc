"""What the log and the metric say of an exception of our own code, and what they must not say."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from hookstream.processors.delivery.worker.internal_errors import TELL_AGAIN_AFTER_S, InternalErrors
from hookstream.processors.metrics import Metrics


def fail(what: str) -> None:
    """Raise an exception with a cause, both of which say what must not be shown."""
    try:
        int(what)
    except ValueError as exc:
        raise KeyError(what) from exc


def caught() -> BaseException:
    """Give such an exception."""
    with pytest.raises(KeyError) as found:
        fail("SENTINEL")
    return found.value


def reported(errors: InternalErrors, *args: Any, **about: Any) -> list[Any]:
    with capture_logs() as lines:
        errors.report(*args, **about)
    return list(lines)


def test_the_log_has_types_and_lines_of_code_and_none_of_what_was_said() -> None:
    (line,) = reported(InternalErrors(Metrics()), "judge", caught(), hook=7)
    assert (line["where"], line["hook"], line["log_level"]) == ("judge", 7, "error")
    first, _, cause = line["traceback"].partition(" | from ")
    assert first.startswith("builtins.KeyError at ")
    assert cause.startswith("builtins.ValueError at ")
    assert "test_internal_errors.py:" in first
    assert "SENTINEL" not in str(line)


def test_the_same_again_is_counted_and_told_seldom() -> None:
    now, metrics = [1000.0], Metrics()
    errors = InternalErrors(metrics, lambda: now[0])
    again = caught()
    assert [len(reported(errors, "build", again)) for _ in range(50)] == [1] + [0] * 49
    assert len(reported(errors, "send", again)) == 1, "elsewhere it is another one"
    now[0] += TELL_AGAIN_AFTER_S
    (line,) = reported(errors, "build", again)
    assert line["left_out"] == 49
    assert (metrics.worker.internal_errors["build"], metrics.worker.internal_errors["send"]) == (51, 1)


def test_many_different_ones_are_remembered_within_bounds() -> None:
    errors = InternalErrors(Metrics())
    kinds = [type(f"Error{n}", (Exception,), {}) for n in range(1000)]
    for kind in kinds:
        reported(errors, "task", kind())
    assert len(errors._logged) <= 256


def test_an_exception_that_is_its_own_cause_ends() -> None:
    first, second = ValueError(), KeyError()
    first.__context__, second.__context__ = second, first
    assert len(reported(InternalErrors(Metrics()), "task", first)) == 1


def test_a_place_that_is_not_announced_is_an_error() -> None:
    with pytest.raises(KeyError):
        InternalErrors(Metrics()).report("elsewhere", None)
