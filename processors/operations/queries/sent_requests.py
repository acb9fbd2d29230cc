"""Builds the request of an attempt again, with the worker's own code: to show an integrator what was sent."""

from __future__ import annotations

from hookstream.processors.delivery.worker.request_builder import RequestBuilder
from hookstream.schemas.delivery import Delivery
from hookstream.schemas.hook import Hook
from hookstream.subscriptions.deliveries import SentRequest
from hookstream.subscriptions.secrets import SecretBox
from hookstream.subscriptions.target_policy import TargetPolicy


class SentRequests:
    """A `RequestRebuilder`. May be used from any thread."""

    def __init__(self, secrets: SecretBox, targets: TargetPolicy) -> None:
        """Sign with the secrets that this box opens."""
        self._secrets = secrets
        self._targets = targets

    def rebuild(self, hook: Hook, delivery: Delivery, *, number: int, at_s: int) -> SentRequest | None:
        """The request of this attempt, signed at `at_s` (Unix seconds); None where the hook's target or key is none."""
        made = RequestBuilder(self._secrets, self._targets).request_of(hook, delivery, number, at_s)
        if made is None:
            return None
        head = b"%b%d\r\n%b" % (made.target.head, len(made.body), made.headers)
        lines = head.decode("latin-1").split("\r\n")[1:-1]
        parted = (line.partition(": ") for line in lines)
        return SentRequest(url=hook.target, headers=tuple((name, value) for name, _, value in parted), body=made.body)
