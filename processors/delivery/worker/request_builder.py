"""The request of a delivery: its target, its header lines and its body, as bytes.

What depends on the hook alone (target parsed, secrets opened, hash states) is prepared once a row and remembered for
the hooks that are busy. Belongs to the event loop's thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import structlog

from hookstream.processors.delivery.engine.model import Post
from hookstream.processors.delivery.http.errors import InvalidSecretError
from hookstream.processors.delivery.http.signing import Signer
from hookstream.processors.delivery.http.target import Target, target_of
from hookstream.schemas.delivery import Delivery
from hookstream.schemas.hook import Hook
from hookstream.subscriptions.errors import InvalidTargetError, SecretError
from hookstream.subscriptions.secrets import SecretBox, open_hook_secrets
from hookstream.subscriptions.target_policy import TargetPolicy
from hookstream.subscriptions.target_url import parse_target_url

# A prepared row is some 3 KiB; the busy ones of a worker are fewer.
_REMEMBERED = 4_096

log = structlog.get_logger("hookstream.deliver")


@dataclass(slots=True)
class _Prepared:
    """What requests of one row have in common."""

    row: Hook
    target: Target | None
    signer: Signer | None
    head: bytes


@dataclass(slots=True, init=False)
class Request:
    """What the HTTP client needs."""

    target: Target
    headers: bytes
    body: bytes

    def __init__(self, target: Target, headers: bytes, body: bytes) -> None:
        """Take the fields. Written out, because what `dataclass` writes is not compiled with the class."""
        self.target = target
        self.headers = headers
        self.body = body


class RequestBuilder:
    """Builds requests."""

    def __init__(self, secrets: SecretBox, targets: TargetPolicy) -> None:
        """Open secrets with this box, and send to no target that the policy refuses, whatever was registered before."""
        self._secrets = secrets
        self._targets = targets
        self._prepared: dict[int, _Prepared] = {}
        self._topics: dict[str, bytes] = {}
        self._static = f"content-type: application/json\r\nuser-agent: hookstream/{_version()}\r\n".encode()

    def build(self, post: Post, wall_s: int) -> Request | None:
        """Build the request; None where no request can be made for this row: it is logged once, and counts as failure.

        A delivery is never sent unsigned, and one that cannot be signed is not lost either: it waits like any other
        whose target is down, until the key is back.
        """
        return self.request_of(post.row, post.pending.delivery, post.number, wall_s)  # type: ignore[arg-type]  # the table's rows are hooks

    def request_of(self, row: Hook, delivery: Delivery, number: int, wall_s: int) -> Request | None:
        """The same for a delivery and the number of its attempt; the time is in Unix seconds."""
        prepared = self._prepared.get(row.id)
        if prepared is None or prepared.row is not row:
            prepared = self._prepare(row)
        target, signer = prepared.target, prepared.signer
        if target is None or signer is None:
            return None
        body = delivery.body
        topic = self._topics.get(delivery.source_topic)
        if topic is None:
            topic = self._topics[delivery.source_topic] = _header_value(delivery.source_topic)
        headers = b"%b%d\r\nhookstream-sequence: %b:%d:%d\r\nhookstream-occurred-at: %d\r\n%b" % (
            prepared.head,
            number,
            topic,
            delivery.source_partition,
            delivery.source_offset,
            delivery.occurred_at_ms,
            signer.header_lines(delivery.id.encode(), wall_s, body),
        )
        if delivery.replay is not None:
            headers += b"hookstream-replay: %b\r\n" % _header_value(delivery.replay)
        return Request(target, headers, body)

    def _prepare(self, row: Hook) -> _Prepared:
        # It ends where the number of the attempt follows.
        head = b"%bhookstream-hook: %d\r\nhookstream-attempt: " % (self._static, row.id)
        prepared = _Prepared(row, None, None, head)
        try:
            url = parse_target_url(row.target)
            self._targets.check(url)
            prepared.target = target_of(url)
            prepared.signer = Signer([secret.key for secret in open_hook_secrets(self._secrets, row)])
        except (InvalidTargetError, SecretError, InvalidSecretError) as exc:
            log.error(  # noqa: TRY400 - the traceback says nothing
                "no request can be made for a hook; its deliveries stay pending",
                hook=row.id,
                client=row.client,
                event_name=row.event,
                revision=row.revision,
                reason=str(exc),
            )
        self._prepared.pop(row.id, None)
        self._prepared[row.id] = prepared
        if len(self._prepared) > _REMEMBERED:
            del self._prepared[next(iter(self._prepared))]  # the one that was prepared longest ago
        return prepared


def _header_value(text: str) -> bytes:
    """The text as it may stand in a header: printable ASCII, everything else as a question mark."""
    return "".join(character if character.isprintable() and character != " " else "?" for character in text).encode(
        "ascii", "replace"
    )


def _version() -> str:
    try:
        return version("hookstream")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0"
