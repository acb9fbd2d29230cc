"""The guard against another owner: nothing is sent while it is not known that the partitions are this worker's. Pure.

30 s without a successful commit, or a process that was suspended, close the fence until a commit succeeds that began
afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

FENCED_AFTER_S = 30.0


class CommitFence:
    """Open while commits succeed."""

    __slots__ = ("_commit_required", "_monotonic_s", "_outdated", "_succeeded_at")

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        """Open, since there is nothing to own."""
        self._monotonic_s = monotonic_s
        self._succeeded_at = monotonic_s()  # when a commit succeeded last, or there was nothing to own
        self._commit_required = False
        self._outdated: object = None

    @property
    def closed(self) -> bool:
        """Whether nothing may be sent: perhaps another worker has the partitions."""
        return self._commit_required or self._monotonic_s() - self._succeeded_at > FENCED_AFTER_S

    def require_commit(self, under_way: object) -> None:
        """Close it. The answer to the request that is `under_way` says nothing of who owns the partitions now."""
        self._commit_required = True
        self._outdated = under_way

    def note_nothing_owned(self) -> None:
        """There is nothing to commit, and nothing to fence."""
        self._succeeded_at = self._monotonic_s()

    def take_answer(self, request: object, *, success: bool) -> bool:
        """Take the answer to a request; says whether that opened the fence."""
        if request is self._outdated:
            self._outdated = None
            return False
        if not success:
            return False
        closed = self.closed
        self._succeeded_at, self._commit_required = self._monotonic_s(), False
        return closed
