"""What can go wrong in what runs.

ProcessorError
├── SettingsError            a setting is missing or malformed
├── KafkaUnavailableError    no answer from Kafka in time; asking again may help
├── KafkaRefusedError        Kafka said no, and asking again will not help
├── TopicMismatchError       a topic is not what this deployment needs
├── ForeignTableError        the subscriptions topic is not the one that was read before
├── ProduceFailedError       a delivery report failed: the process has to start again from its committed offsets
├── ExpiredRecordsError      the broker deleted records before they were read
├── StoredFormatError        a commit or a state that this release cannot read
├── StartRefusedError        a partition's commit does not fit its log or its state: `hookstream recover` decides
├── GroupIsLiveError         a group has members, and what is asked would pull the log from under them
└── StoppedError             the process was asked to stop while this waited
"""

from __future__ import annotations


class ProcessorError(Exception):
    """Root of this package's errors. The message is one line that an operator can act on."""


class SettingsError(ProcessorError):
    """A setting is missing or malformed."""


class KafkaUnavailableError(ProcessorError):
    """No answer from Kafka in time; asking again may help."""


class KafkaRefusedError(ProcessorError):
    """Kafka said no, and asking again will not help."""


class TopicMismatchError(ProcessorError):
    """A topic is not what this deployment needs."""


class ForeignTableError(ProcessorError):
    """The subscriptions topic is not the one that was read before."""


class ProduceFailedError(ProcessorError):
    """A delivery report failed: the process has to start again from its committed offsets."""


class ExpiredRecordsError(ProcessorError):
    """The broker deleted records before they were read."""


class StoredFormatError(ProcessorError):
    """A commit or a state that this release cannot read."""


class StartRefusedError(ProcessorError):
    """A partition's commit does not fit its log or its state: `hookstream recover` decides what is still pending.

    `reason` is the clause of the message that says what does not fit.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class GroupIsLiveError(ProcessorError):
    """A group has members, and what is asked would pull the log from under them."""


class StoppedError(ProcessorError):
    """The process was asked to stop while this waited."""
