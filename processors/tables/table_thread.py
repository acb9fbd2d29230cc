"""A thread that follows a compacted topic until it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

_STEP_S = 0.2


class SteppedReader(Protocol):
    """What reads in steps."""

    def step(self, timeout_s: float) -> int:
        """Read what is there, waiting for the first of it."""
        ...

    def close(self) -> None:
        """Stop reading."""
        ...


class TableThread:
    """Steps a reader in a thread of its own until it is stopped; `failed` is called there with what ended it early."""

    def __init__(
        self,
        reader: SteppedReader,
        *,
        failed: Callable[[Exception], None],
        name: str = "subscription-table",
    ) -> None:
        """Take an open reader; it is closed when the thread ends."""
        self._reader = reader
        self._failed = failed
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop reading and wait for the thread, if it was started."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._reader.step(_STEP_S)
        except Exception as exc:  # noqa: BLE001 - else a table that is not read any more would be used for ever
            self._failed(exc)
        finally:
            self._reader.close()
