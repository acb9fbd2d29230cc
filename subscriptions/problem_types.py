"""Every type of problem that the API answers: its status, what causes it, and what ends it.

The name of a type never changes, and none is removed: clients tell problems apart by it. docs/problems.md is made from
this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

ProblemKind: TypeAlias = Literal[
    "bad-head",
    "body-too-large",
    "broker-clock-unavailable",
    "database-unavailable",
    "dead-letter-not-found",
    "dead-letters-unavailable",
    "delivery-expired",
    "delivery-not-found",
    "endpoint-not-found",
    "foreign-client",
    "hook-changed",
    "hook-deleted",
    "hook-disabled",
    "hook-exists",
    "hook-not-found",
    "idempotency-key-reused",
    "internal-error",
    "invalid-request",
    "log-search-unavailable",
    "malformed-json",
    "method-not-allowed",
    "no-such-route",
    "not-json",
    "not-published",
    "nothing-to-resend",
    "operators-replay",
    "owed-unknown",
    "portal-off",
    "rate-limited",
    "replay-not-found",
    "replay-state",
    "replay-unfinished",
    "request-refused",
    "too-many-connections",
    "too-many-requests",
    "too-many-secrets",
    "too-many-skips",
    "unauthorized",
    "wrong-role",
]

# What the server says before a request reaches the API.
LONG_HEAD: Final = "the head of a request has at most {} bytes"
UNREADABLE_HEAD: Final = "this is no HTTP request that can be read"
_PREFIX: Final = "urn:hookstream:problem:"


class ProblemType(NamedTuple):
    """One type: its statuses (the first is the usual one), the cause and the cure, each in sentences."""

    statuses: tuple[HTTPStatus, ...]
    cause: str
    cure: str


def type_uri(kind: ProblemKind) -> str:
    """The `type` of a problem document."""
    return _PREFIX + kind


def _only(status: HTTPStatus, cause: str, cure: str) -> ProblemType:
    return ProblemType((status,), cause, cure)


_BAD, _CONFLICT, _MISSING = HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND
_WRONG, _LATER = HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE

PROBLEM_TYPES: Final[Mapping[ProblemKind, ProblemType]] = MappingProxyType(
    {
        "bad-head": ProblemType(
            (_BAD, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
            "The head of the request is no HTTP/1.1, or is longer than the server takes.",
            "Send fewer or shorter headers. Something other than an HTTP client on this port is answered so, too.",
        ),
        "body-too-large": _only(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "The body of the request has more bytes than this path takes.",
            "Send less at once: `POST /events` takes several requests of fewer events.",
        ),
        "broker-clock-unavailable": _only(
            _LATER,
            "Kafka did not say what time it is on its brokers, which decides what is older than this request.",
            "Repeat the request after the time in `Retry-After`. An operator looks at `/readyz`.",
        ),
        "database-unavailable": _only(
            _LATER,
            "The database does not answer, or is at another schema revision than this release needs.",
            "Repeat the request after the time in `Retry-After`; with an `Idempotency-Key` also where it creates"
            " something. An operator looks at `/readyz`, and runs `hookstream migrate` after an upgrade.",
        ),
        "dead-letter-not-found": _only(
            _MISSING,
            "There is no such dead letter: retention deleted it, it is another client's, or the id is wrong.",
            "Look it up in `GET /dead-letters`.",
        ),
        "dead-letters-unavailable": _only(
            _LATER,
            "Kafka does not show its dead letters now.",
            "Repeat the request after the time in `Retry-After`. An operator looks at `/readyz`.",
        ),
        "delivery-expired": _only(
            _CONFLICT,
            "The delivery is known from its attempts, and no log holds its bytes any more.",
            "Nothing can be sent again. Query the platform's API for the state of the resource.",
        ),
        "delivery-not-found": _only(
            _MISSING,
            "There is no such delivery: it was never made, it is another client's, or both logs and attempts have been"
            " deleted by retention.",
            "Compare the id with the header `webhook-id`. A delivery that was routed a moment ago may be found later.",
        ),
        "endpoint-not-found": _only(
            _MISSING,
            "There is no such endpoint: no hook of the client has this target.",
            "Look its `id` up in `GET /endpoints`. It changes with the target.",
        ),
        "foreign-client": _only(
            HTTPStatus.FORBIDDEN,
            "The request names a client, and the token is another client's.",
            "Leave the client out: a token of an integrator sees its own client's things. Operators see all.",
        ),
        "hook-changed": _only(
            HTTPStatus.PRECONDITION_FAILED,
            "The request has `If-Match`, and the hook has changed since that state.",
            "Get the hook again, decide again, and send its new `ETag` as `If-Match`.",
        ),
        "hook-deleted": _only(
            _CONFLICT,
            "The delivery's hook was deleted, so that nothing is sent for it.",
            "Register a hook for the event; an operator may replay the time in question to it.",
        ),
        "hook-disabled": _only(
            _CONFLICT,
            "The hook is disabled, so that nothing is sent for it.",
            "Enable it (`POST /hooks/{id}/enable`), and repeat the request.",
        ),
        "hook-exists": _only(
            _CONFLICT,
            "The client has a hook for this event. One event has one hook.",
            "Change the target of the hook that the answer names, with `PATCH /hooks/{id}`. Do not delete it first:"
            " that cancels what is pending.",
        ),
        "hook-not-found": _only(
            _MISSING,
            "There is no such hook: it was deleted, it is another client's, or the id is wrong.",
            "Look it up in `GET /hooks`.",
        ),
        "idempotency-key-reused": _only(
            _WRONG,
            "The `Idempotency-Key` was used within 24 hours, with another body.",
            "Use a new key for each thing that is to be created; repeat a lost request with the same key and body.",
        ),
        "internal-error": _only(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "An exception that hookstream did not expect.",
            "Repeat the request once. An operator finds the exception in the log of the API process.",
        ),
        "invalid-request": _only(
            _WRONG,
            "A part of the body, a parameter or a header does not have the form, or names something that is unknown.",
            "`errors` names each part: `pointer` points into the body, `parameter` is a parameter or header. Correct"
            " them; the same request is refused again.",
        ),
        "log-search-unavailable": _only(
            _LATER,
            "Kafka's logs of deliveries cannot be searched now, or not to their ends within one request.",
            "Repeat the request after the time in `Retry-After`: what was read is kept, and the search goes on.",
        ),
        "malformed-json": _only(
            _BAD,
            "The body is not JSON: it is cut off, is not UTF-8, or is nested too deeply.",
            "Send what a JSON library writes, with the `content-length` of its bytes.",
        ),
        "method-not-allowed": _only(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "The path exists, and does not take this method.",
            "Use a method that the header `Allow` names.",
        ),
        "no-such-route": _only(
            _MISSING,
            "There is nothing at this path.",
            "Compare it with `/docs`. Paths have no slash at their end.",
        ),
        "not-json": _only(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "The request has a body, and its `content-type` is not JSON's.",
            "Send `content-type: application/json`.",
        ),
        "not-published": _only(
            _LATER,
            "Kafka did not acknowledge in time. It may have the record all the same.",
            "Repeat the request. For events, repeat those in `failures` with the `id`s that are named there: a second"
            " record of the same id makes no delivery with another `webhook-id`.",
        ),
        "nothing-to-resend": _only(
            _WRONG,
            "None of the dead letters can be sent again.",
            "`GET /dead-letters/{id}` says in `unfit` why. One that could not be read can be resent once it can be"
            " read.",
        ),
        "operators-replay": _only(
            HTTPStatus.FORBIDDEN,
            "An operator asked for this replay. Its client sees it, and cannot change it.",
            "Ask the operator.",
        ),
        "owed-unknown": _only(
            _LATER,
            "Backlogs cannot be computed now: Kafka, or a table that is read from it, does not answer.",
            "Repeat the request after the time in `Retry-After`. Deliveries do not depend on this question.",
        ),
        "portal-off": _only(
            _MISSING,
            "This deployment serves no portal.",
            "Use the API. An operator sets `HOOKSTREAM_PORTAL` to serve it.",
        ),
        "rate-limited": _only(
            HTTPStatus.TOO_MANY_REQUESTS,
            "The token has made as many requests as it may within some seconds.",
            "Wait for as long as `Retry-After` says. `RateLimit` on each answer says how many requests are left.",
        ),
        "replay-not-found": _only(
            _MISSING,
            "There is no such replay, or it is another client's.",
            "Look it up in `GET /replays`.",
        ),
        "replay-state": _only(
            _CONFLICT,
            "The replay is in a state in which this cannot be done, such as a pause of one that has ended.",
            "`replay.state` of the answer names the state. Wait until it is counted before you let it run; make a new"
            " one where it has ended.",
        ),
        "replay-unfinished": _only(
            _CONFLICT,
            "The client has a replay that has not ended, and integrators have one at a time.",
            "Wait for the replay that the answer names, or cancel it.",
        ),
        "request-refused": ProblemType(
            (),
            "The server refuses the request for the reason that its status names.",
            "Change what the status names; the same request is refused again.",
        ),
        "too-many-connections": _only(
            _LATER,
            "So many connections are open that this one is kept for health checks only.",
            "Close connections that are not used, and repeat the request after the time in `Retry-After`.",
        ),
        "too-many-requests": _only(
            HTTPStatus.TOO_MANY_REQUESTS,
            "As many slow requests of this token, or of this kind, are being answered as may be at once.",
            "Wait for as long as `Retry-After` says, and send fewer requests at once.",
        ),
        "too-many-secrets": _only(
            _CONFLICT,
            "The hook was given so many secrets within a day that no further one can be valid beside them.",
            "Wait until `old_secrets_until_ms`, when the oldest ones end.",
        ),
        "too-many-skips": _only(
            _CONFLICT,
            "So many deliveries of the endpoint are skipped one by one that no further one can be kept.",
            "Drain the endpoint (`POST /endpoints/{endpoint}/drain`), or wait until they have been passed.",
        ),
        "unauthorized": _only(
            HTTPStatus.UNAUTHORIZED,
            "The request has no token, or one that is unknown, expired or revoked.",
            "Send `Authorization: Bearer` with a token that an operator issued (`hookstream token create`).",
        ),
        "wrong-role": _only(
            HTTPStatus.FORBIDDEN,
            "The token has a role that this route is not for.",
            "Use a token of the role that the answer names.",
        ),
    }
)
