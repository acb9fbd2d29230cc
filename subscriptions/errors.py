"""What can go wrong between a request and the row it asks for.

SubscriptionsError
├── InvalidTargetError           a URL that no delivery can or may be sent to
├── HookExistsError              the client has a hook for the event; names it
├── HooksExistError              the client has hooks for some of the events; names them
├── HookNotFoundError            no such hook, or another client's
├── HookChangedError             it is at another revision than the one that its change was meant for
├── TooManySecretsError          as many old secrets are still in use as a hook may have
├── ReplayNotFoundError          no such replay, or another client's
├── ReplayStateError             it is at another point than the one that this can be done at
├── ReplayUnfinishedError        the client has a replay that has not ended; names it
├── LeaseLostError               another process works on the replay now
├── EndpointNotFoundError        no hook has this target, and it has no settings
├── TooManySkipsError            too many deliveries of one endpoint are skipped one by one
├── HookDisabledError            nothing can be sent for it until it is enabled
├── HookDeletedError             nothing is sent for it any more
├── DeliveryNotFoundError        no such delivery, or another client's
├── DeliveryExpiredError         it was attempted once, and no log holds it any more
├── LogSearchError               the logs cannot be searched now, or not within one request
├── IdempotencyConflictError     the key was used with another body
├── TokenError
│   ├── UnknownTokenError        never issued, or not even of our form
│   ├── ExpiredTokenError
│   └── RevokedTokenError
├── SessionEndedError            no session of the portal is open with this key
├── SpentLinkError               the link into the portal was used, or its time is over
├── SecretError
│   ├── InvalidKeyError          a master key that has not 32 bytes, or no key at all
│   ├── InvalidSecretError       a signing secret outside Standard Webhooks
│   ├── UnknownKeyError          sealed under a master key that is not among ours
│   └── TamperedError            not a ciphertext of ours, or one that belongs elsewhere
├── DatabaseError
│   ├── DatabaseUnavailableError no connection, no lock, no answer; nothing was written
│   │   └── DatabaseRefusedError the server says no, and would say it again
│   └── SchemaRevisionError      the database is at another schema revision than this release needs
├── DeadLettersUnavailableError  Kafka does not show its dead letters
├── NotPublishedError            Kafka did not acknowledge; it may have the record all the same
├── BrokerClockError             the broker did not say what time it is
└── BacklogUnknownError          backlogs cannot be computed now
"""

from __future__ import annotations

from collections.abc import Mapping


class SubscriptionsError(Exception):
    """Root of this package's errors."""


class InvalidTargetError(SubscriptionsError):
    """A URL that no delivery can or may be sent to; the message says why, without repeating it."""


class HookExistsError(SubscriptionsError):
    """The client has a hook for the event."""

    def __init__(self, hook_id: int) -> None:
        super().__init__(f"hook {hook_id} exists for this event")
        self.hook_id = hook_id


class HooksExistError(SubscriptionsError):
    """The client has hooks for some of the events: their ids, by the event."""

    def __init__(self, hooks: Mapping[str, int]) -> None:
        super().__init__(f"{len(hooks)} of these events have hooks")
        self.hooks = hooks


class HookNotFoundError(SubscriptionsError):
    """No such hook, or another client's: the caller cannot tell which."""

    def __init__(self, hook_id: int) -> None:
        super().__init__(f"no hook {hook_id}")
        self.hook_id = hook_id


class HookChangedError(SubscriptionsError):
    """The hook is at another revision than the one that its change was meant for."""

    def __init__(self, hook_id: int, revision: int) -> None:
        super().__init__(f"hook {hook_id} has changed: it is at revision {revision}")
        self.hook_id = hook_id
        self.revision = revision


class TooManySecretsError(SubscriptionsError):
    """As many old secrets are still in use as a hook may have; the oldest ones end at `until_ms`."""

    def __init__(self, hook_id: int, until_ms: int) -> None:
        super().__init__(f"hook {hook_id} has as many secrets as it may have")
        self.hook_id = hook_id
        self.until_ms = until_ms


class ReplayNotFoundError(SubscriptionsError):
    """No such replay, or another client's: the caller cannot tell which."""

    def __init__(self, replay_id: int) -> None:
        super().__init__(f"no replay {replay_id}")
        self.replay_id = replay_id


class ReplayStateError(SubscriptionsError):
    """The replay is at another point than the one that this can be done at."""

    def __init__(self, replay_id: int, state: str) -> None:
        super().__init__(f"replay {replay_id} is {state}")
        self.state = state


class ReplayUnfinishedError(SubscriptionsError):
    """The client has a replay that has not ended."""

    def __init__(self, replay_id: int) -> None:
        super().__init__(f"replay {replay_id} has not ended: wait for it, or cancel it")
        self.replay_id = replay_id


class LeaseLostError(SubscriptionsError):
    """Another process works on the replay now."""

    def __init__(self, replay_id: int) -> None:
        super().__init__(f"replay {replay_id} is held by another process")


class EndpointNotFoundError(SubscriptionsError):
    """No hook has this target, and it has no settings."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(f"no endpoint {endpoint}")
        self.endpoint = endpoint


class TooManySkipsError(SubscriptionsError):
    """Too many deliveries of one endpoint are skipped one by one."""

    def __init__(self, endpoint: str, most: int) -> None:
        super().__init__(f"{most} deliveries of {endpoint} are skipped one by one already; drain it")


class HookDisabledError(SubscriptionsError):
    """The hook is disabled: nothing can be sent for it."""

    def __init__(self, hook_id: int) -> None:
        super().__init__(f"hook {hook_id} is disabled: enable it first")
        self.hook_id = hook_id


class HookDeletedError(SubscriptionsError):
    """The delivery's hook was deleted, or another hook has its subscription key."""

    def __init__(self, hook_id: int) -> None:
        super().__init__(f"hook {hook_id} was deleted: nothing is sent for it any more")
        self.hook_id = hook_id


class DeliveryNotFoundError(SubscriptionsError):
    """No such delivery, or another client's: the caller cannot tell which."""

    def __init__(self, delivery_id: str) -> None:
        super().__init__(f"there is no delivery {delivery_id}")


class DeliveryExpiredError(SubscriptionsError):
    """The attempt log knows the delivery, and no log holds its record any more."""

    def __init__(self, delivery_id: str) -> None:
        super().__init__(f"no log holds delivery {delivery_id} any more")


class LogSearchError(SubscriptionsError):
    """The logs of deliveries cannot be searched now, or not to their ends within one request."""


class IdempotencyConflictError(SubscriptionsError):
    """The idempotency key was used with another body."""

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was used with another body")


class TokenError(SubscriptionsError):
    """A token that opens nothing."""


class UnknownTokenError(TokenError):
    """Never issued, or not even of our form."""


class ExpiredTokenError(TokenError):
    """Issued, and past its time."""


class RevokedTokenError(TokenError):
    """Issued, and withdrawn."""


class SessionEndedError(SubscriptionsError):
    """No session of the portal is open with this key: the caller cannot tell whether one ever was."""


class SpentLinkError(SubscriptionsError):
    """The link into the portal was used, or its time is over: the caller cannot tell whether it was ever made."""


class SecretError(SubscriptionsError):
    """What is sealed cannot be sealed or opened."""


class InvalidKeyError(SecretError):
    """A master key that is not base64 of 32 bytes, or no key at all."""


class InvalidSecretError(SecretError):
    """A signing secret outside what Standard Webhooks allows."""


class UnknownKeyError(SecretError):
    """Sealed under a master key that is not among ours."""


class TamperedError(SecretError):
    """Not a ciphertext of ours, or one that belongs to something else."""


class DatabaseError(SubscriptionsError):
    """The database does not serve us."""


class DatabaseUnavailableError(DatabaseError):
    """No connection, no lock, no answer. The transaction did not happen, unless the commit's answer was lost."""


class DatabaseRefusedError(DatabaseUnavailableError):
    """The server says no, and would say it again: no such database, a wrong password. What runs waits all the same."""


class SchemaRevisionError(DatabaseError):
    """The database is at another schema revision than this release needs."""


class DeadLettersUnavailableError(SubscriptionsError):
    """Kafka does not show its dead letters now."""


class NotPublishedError(SubscriptionsError):
    """Kafka did not acknowledge in time; it may have the record all the same."""


class BrokerClockError(SubscriptionsError):
    """The broker did not say what time it is where events arrive."""


class BacklogUnknownError(SubscriptionsError):
    """Backlogs cannot be computed now."""
