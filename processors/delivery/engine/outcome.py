"""What an answer means: the outcome policy as pure functions, decided once, for everything that follows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum

from hookstream.schemas.attempt import AttemptResult

_REJECTED = frozenset({400, 404, 405, 413, 415, 422})
_GONE = 410
_TOO_MANY = 429
_UNAVAILABLE = 503

# The longest form of a date has 33 characters.
_MAX_RETRY_AFTER_CHARACTERS = 64
# What the standard library raises for text that is no date, among them a year or a day that no integer type holds.
_NO_DATE = (ValueError, OverflowError, TypeError, LookupError)


class Verdict(Enum):
    """What the engine does about an answer."""

    DELIVERED = "delivered"
    GONE = "gone"  # the hook is disabled
    BUSY = "busy"  # the whole endpoint waits
    REJECTED = "rejected"  # a failure that may concern the record alone
    FAILED = "failed"
    REFUSED = "refused"  # no failure: the receiver takes this record for done


@dataclass(frozen=True, slots=True)
class Outcome:
    """One answer, judged. `retry_after_s` is what a busy endpoint asked for, None where it named no time.

    `refused`: the record becomes a dead letter, whatever the verdict says of endpoint and hook.
    """

    verdict: Verdict
    retry_after_s: float | None = None
    refused: bool = False


DELIVERED = Outcome(Verdict.DELIVERED)
GONE = Outcome(Verdict.GONE)
REJECTED = Outcome(Verdict.REJECTED)
FAILED = Outcome(Verdict.FAILED)
REFUSED = Outcome(Verdict.REFUSED, refused=True)


def result_of(status: int, *, retry_after: bool) -> AttemptResult:
    """Classify a status line."""
    if 200 <= status < 300:  # noqa: PLR2004 - HTTP status classes
        return AttemptResult.DELIVERED
    if status == _GONE:
        return AttemptResult.GONE
    if status == _TOO_MANY or (status == _UNAVAILABLE and retry_after):
        return AttemptResult.BUSY
    if status in _REJECTED:
        return AttemptResult.REJECTED
    if 300 <= status < 400:  # noqa: PLR2004
        return AttemptResult.REDIRECTED
    return AttemptResult.ERROR_STATUS


def judge(
    status: int | None, error: AttemptResult | None, retry_after: str | None, *, wall_s: float, refused: bool = False
) -> tuple[AttemptResult, Outcome]:
    """Classify how a request ended, with a status or an error, and decide what the engine does about it.

    `retry_after` is the header as it came; `wall_s` is Unix time. `refused`: the answer has `webhook-delivery: abort`,
    which counts for this delivery with any status but 2xx. Of the endpoint and the hook the status speaks: 410 and a
    Retry-After mean what they mean without it; any other comes from an endpoint that is up, and is no failure.
    """
    if status is None:
        result = error or AttemptResult.BROKEN_ANSWER
        return result, outcome_of(result, retry_after, wall_s=wall_s)
    result = result_of(status, retry_after=retry_after is not None)
    outcome = outcome_of(result, retry_after, wall_s=wall_s)
    if not refused or result is AttemptResult.DELIVERED:
        return result, outcome
    if outcome.verdict in (Verdict.GONE, Verdict.BUSY):
        return result, replace(outcome, refused=True)
    return result, REFUSED


def outcome_of(result: AttemptResult, retry_after: str | None, *, wall_s: float) -> Outcome:
    """Decide what the engine does about one attempt. `wall_s` is Unix time, for a Retry-After that is a date."""
    if result is AttemptResult.DELIVERED:
        return DELIVERED
    if result is AttemptResult.GONE:
        return GONE
    if result is AttemptResult.BUSY:
        return Outcome(Verdict.BUSY, parse_retry_after(retry_after, wall_s=wall_s))
    if result is AttemptResult.REJECTED:
        return REJECTED
    return FAILED


def parse_retry_after(header: str | None, *, wall_s: float) -> float | None:
    """Read Retry-After, seconds or an HTTP date; None where it is absent or says nothing. Never raises.

    Source: RFC 9110, section 10.2.3.
    """
    if header is None or len(header) > _MAX_RETRY_AFTER_CHARACTERS:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return max(0.0, date.timestamp() - wall_s)
    except _NO_DATE:
        return None
