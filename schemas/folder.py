"""A folder of schemas as people write one, judged whole: every fault of every file at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from .errors import InvalidEnvelopeError, InvalidSchemaError
from .event import EventName
from .event_schema import NOTICES, RESERVED, check_event_schema, event_symbols
from .sources.source import Source
from .sources.sources_file import FILE_NAME, read_sources
from .topics import TopicNames

ENVELOPE_SUFFIX = ".avsc"
MAX_FILES = 1000


class JudgedFolder(NamedTuple):
    """What a folder describes as far as it can be used, and what is wrong with the rest."""

    envelopes: Mapping[str, bytes]
    """Content of `<namespace>.avsc` by namespace, sorted."""
    sources: tuple[Source, ...]
    """The tables of `sources.toml` that have no fault."""
    event_names: tuple[EventName, ...]
    faults: tuple[str, ...]


def read_folder(path: Path) -> dict[str, bytes]:
    """The files of a folder that describe events, by name.

    Raises:
        InvalidSchemaError: it cannot be read, or holds none.
    """
    try:
        found = sorted(file for file in path.iterdir() if file.suffix == ENVELOPE_SUFFIX or file.name == FILE_NAME)
        files = {file.name: file.read_bytes() for file in found[:MAX_FILES]}
    except OSError as exc:
        msg = f"cannot read the schema folder {path}: {exc.strerror}"
        raise InvalidSchemaError(msg) from exc
    if not files:
        msg = f"neither {ENVELOPE_SUFFIX} files nor {FILE_NAME} in the schema folder {path}"
        raise InvalidSchemaError(msg)
    return files


def judge_folder(files: Mapping[str, bytes], topics: TopicNames) -> JudgedFolder:
    """Judge the files of a folder, by name; `topics` are those that the deployment uses itself."""
    envelopes: dict[str, bytes] = {}
    names: list[EventName] = []
    faults: list[str] = []
    written = [name for name in sorted(files) if name != FILE_NAME]
    for name in written:
        namespace = name.removesuffix(ENVELOPE_SUFFIX)
        if namespace == NOTICES:
            faults.append(f"{name}: {RESERVED}")
            continue
        try:
            symbols = event_symbols(check_event_schema(namespace, files[name]))
        except InvalidEnvelopeError as exc:
            faults += (f"{name}: {fault}" for fault in exc.faults)
            continue
        envelopes[namespace] = files[name]
        names += (EventName(f"{namespace}.{symbol}") for symbol in symbols)
    described = [name.removesuffix(ENVELOPE_SUFFIX) for name in written]
    judged = read_sources(files.get(FILE_NAME, b""), described=described, topics=topics)
    names += (name for source in judged.sources for name in source.event_names)
    return JudgedFolder(envelopes, judged.sources, tuple(names), (*faults, *judged.faults))
