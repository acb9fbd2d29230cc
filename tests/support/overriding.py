"""An object with some of its methods replaced, for classes that may be compiled: their instances take no attribute."""

from __future__ import annotations

from typing import Any


class Overriding:
    """Everything that `real` has, but for what is named."""

    def __init__(self, real: Any, **replaced: Any) -> None:
        """Hold both."""
        self._real, self._replaced = real, replaced

    def __getattr__(self, name: str) -> Any:
        """The replacement, if there is one."""
        return self._replaced[name] if name in self._replaced else getattr(self._real, name)
