"""What no body has is said in the log, and not without end."""

from __future__ import annotations

from structlog.testing import capture_logs

from hookstream.processors.routing.undelivered_fields import UndeliveredFields


def test_the_router_s_log_says_them_once_and_not_without_end() -> None:
    with capture_logs() as lines:
        say = UndeliveredFields()
        for number in range(300):
            say("lead", (f"f{number // 2}" * 200,) * 30)
    assert len(lines) == 100
    assert (lines[0]["namespace"], len(lines[0]["fields"]), len(lines[0]["fields"][0])) == ("lead", 10, 100)
