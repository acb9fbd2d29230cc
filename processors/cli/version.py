"""What is installed: the version, and whether the delivery engine of this installation is compiled."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec

_COMPILED = "hookstream.processors.delivery.engine.engine"


def installed() -> str:
    """The line of `hookstream --version`: `0.2.0 (compiled)`, or `0.2.0 (pure Python)`."""
    return f"{version('hookstream')} ({'compiled' if is_compiled() else 'pure Python'})"


def is_compiled() -> bool:
    """Whether the engine is an extension module. It is not imported for that."""
    spec = find_spec(_COMPILED)
    return spec is not None and spec.origin is not None and not spec.origin.endswith(".py")
