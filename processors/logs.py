"""How this process writes its log: one JSON object a line, or coloured text on a terminal; never a secret.

What may be logged is decided where it is logged. The redaction here is the second lock: it drops what is called like a
payload or a secret, and cuts the query, the fragment and the credentials out of every URL. A log is also read in a
terminal: what that would obey is shown as an escape.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from .printable import printable

REDACTED = "[redacted]"
# Any of these words in a name, between underscores, dashes or dots.
_SECRET_WORDS = frozenset(
    {
        "authorization",
        "body",
        "cookie",
        "credentials",
        "key",
        "passphrase",
        "password",
        "payload",
        "secret",
        "secrets",
        "signature",
        "token",
        "tokens",
        "value",
    }
)
# Their lines are ours, not of their cause.
_TRACEBACKS = frozenset({"exception", "stack"})
_WORDS = re.compile(r"[^a-z0-9]+")
_URL = re.compile(r"\b([a-z][a-z0-9+.-]*://)(?:[^\s/?#@]*@)?([^\s?#]*)[^\s]*", re.IGNORECASE)
_HOOK_SECRET = re.compile(r"\bwhsec_[A-Za-z0-9+/=_-]+")
_BEARER = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]+", re.IGNORECASE)


def configure(*, level: str = "info", form: str = "auto", stream: TextIO | None = None) -> None:
    """Set logging up for the whole process. `form`: json, console, or auto: console where the stream is a terminal."""
    out = stream if stream is not None else sys.stderr
    console = form == "console" or (form == "auto" and out.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    last: Processor = (
        structlog.dev.ConsoleRenderer(colors=out.isatty()) if console else structlog.processors.JSONRenderer(_dumps)
    )
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    # Libraries log through the standard module: the same lines, from warnings on.
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take secrets out of a line, by name and by form."""
    return {
        name: REDACTED if _is_secret(name) else _clean(value, keep="\n" if name in _TRACEBACKS else "")
        for name, value in event.items()
    }


def clean_url(url: str) -> str:
    """A URL as it may be logged: without credentials, query and fragment."""
    return _URL.sub(r"\1\2", url)


def _is_secret(name: str) -> bool:
    return not _SECRET_WORDS.isdisjoint(_WORDS.split(name.lower()))  # "_" and "-" part words


def _clean(value: object, *, keep: str = "") -> object:
    if isinstance(value, str):
        return printable(_BEARER.sub(rf"\1 {REDACTED}", _HOOK_SECRET.sub(REDACTED, clean_url(value))), keep=keep)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if isinstance(value, Mapping):
        return {name: REDACTED if _is_secret(str(name)) else _clean(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(inner) for inner in value]
    return value


def _dumps(event: object, **_: object) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
