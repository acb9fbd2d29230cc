"""`docs/operations.md` as tests read it: its commands in their order, and its table of who may do what in Kafka."""

from __future__ import annotations

import re
import shlex
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

from tests.support import jars
from tests.support.deployment import HOOKSTREAM
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.forks import ForkServer

DOCUMENT = ROOT / "docs" / "operations.md"
EVERY_ROLE = "every role"

_FENCE = re.compile(r"^```sh(?: (?P<info>[^\n]*))?\n(?P<script>.*?)^```$", re.MULTILINE | re.DOTALL)
_TOOLS = {
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    "kafka-consumer-groups.sh": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
}


@dataclass(frozen=True, slots=True)
class Block:
    """One block of commands. `stopped`: the roles that its text wants stopped meanwhile."""

    heading: str
    script: str
    stopped: tuple[str, ...]


def blocks(text: str) -> Iterator[Block]:
    """Every block of shell commands, in the order of the document.

    Raises:
        ValueError: words behind the fence's `sh` that mean nothing.
    """
    for match in _FENCE.finditer(text):
        headings = re.findall(r"^#+ (.+)$", text[: match.start()], re.MULTILINE)
        stopped: tuple[str, ...] = ()
        for word in (match["info"] or "").split():
            name, _, value = word.partition("=")
            if name != "stopped":
                message = f"a block of the runbook says {word}"
                raise ValueError(message)
            stopped = tuple(value.split(","))
        yield Block(headings[-1], match["script"], stopped)


def acl_rows(text: str) -> list[tuple[str, ResourceType, str, list[AclOperation]]]:
    """The rows of the table of ACLs: role, kind of resource, name, operations."""
    section = text.partition("## Who may do what in Kafka")[2].partition("\n## ")[0]
    rows = []
    for line in section.splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[1] in ("topic", "group"):
            operations = [AclOperation[re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()] for name in cells[3].split(", ")]
            rows.append((cells[0], ResourceType[cells[1].upper()], cells[2], operations))
    return rows


def acls_of(text: str, role: str) -> list[AclBinding]:
    """What the table allows a role, whose user has its name."""
    found = []
    for whose, resource, name, operations in acl_rows(text):
        if whose not in (role, EVERY_ROLE):
            continue
        pattern = ResourcePatternType.PREFIXED if name.endswith("…") else ResourcePatternType.LITERAL
        found += [
            AclBinding(resource, name.rstrip("…"), pattern, f"User:{role}", "*", operation, AclPermissionType.ALLOW)
            for operation in operations
        ]
    return found


def lay_tools(folder: Path, forks: ForkServer | None) -> Path:
    """Put `hookstream` and Kafka's own tools into a folder, under the names by which the runbook calls them."""
    folder.mkdir()
    command = folder / "hookstream"
    if forks is None:
        command.symlink_to(HOOKSTREAM)
    else:
        forks.lay_command(command)
    path = f"{jars.kafka_tools()}/*:{jars.kafka_jars()}/*"
    for name, main in _TOOLS.items():
        script = folder / name
        java = shlex.join(
            ["java", *jars.JVM_OPTIONS, "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", path, main]
        )
        script.write_text(f'#!/bin/sh\nexec {java} "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return folder
