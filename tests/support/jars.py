"""Jars from Maven's repository, fetched once and kept in `.cache/`."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.machine import APICURIO_VERSION, CACHE, KAFKA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The class-data archive of the JVM is not worth its space here, one garbage collector thread and one compiler are.
JVM_OPTIONS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

_POM = Path(__file__).with_name("kafka-broker-pom.xml")
_TOOLS_POM = Path(__file__).with_name("kafka-tools-pom.xml")


def kafka_jars() -> Path:
    """The folder of the jars of an Apache Kafka broker."""
    return fetched(CACHE / "kafka" / KAFKA_VERSION, _fetch_kafka)


def kafka_tools() -> Path:
    """The folder of the jars behind `kafka-topics.sh` and its like."""
    return fetched(CACHE / "kafka-tools" / KAFKA_VERSION, lambda into: _fetch_kafka(into, _TOOLS_POM))


def apicurio() -> Path:
    """The unpacked folder of the Apicurio registry."""
    return fetched(CACHE / "apicurio" / APICURIO_VERSION, _fetch_apicurio)


def _fetch_kafka(into: Path, pom: Path = _POM) -> None:
    mvn(
        "-f", str(pom),
        f"-Dkafka.version={KAFKA_VERSION}",
        "dependency:copy-dependencies",
        f"-DoutputDirectory={into}",
    )  # fmt: skip


def _fetch_apicurio(into: Path) -> None:
    artifact = f"io.apicurio:apicurio-registry-app:{APICURIO_VERSION}:tar.gz:all"
    archives = into / "archives"
    mvn("dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={archives}")
    for archive in archives.iterdir():
        with tarfile.open(archive) as tar:
            tar.extractall(into, filter="data")
    shutil.rmtree(archives)


def mvn(*args: str) -> None:
    """Run Maven; what it prints is in the error."""
    mvn = shutil.which("mvn") or "mvn"
    done = subprocess.run(  # noqa: S603  # our own program, and no shell
        [mvn, "--batch-mode", "--quiet", *args], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        message = f"Maven could not fetch the jars:\n{done.stdout}{done.stderr}"
        raise RuntimeError(message)


def fetched(folder: Path, fetch: Callable[[Path], None]) -> Path:
    """Fetch into a neighbour and rename: a folder that exists is whole, whoever was killed meanwhile."""
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_suffix(".lock")):
        if not folder.exists():
            fresh = Path(tempfile.mkdtemp(dir=folder.parent))
            fetch(fresh)
            fresh.rename(folder)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
