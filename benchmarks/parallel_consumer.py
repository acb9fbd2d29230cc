"""Confluent's parallel-consumer as a peer: our small driver of it, built once, run against the same receiver."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.machine import CACHE, MINIMUM_JAVA, java_version

if TYPE_CHECKING:
    from benchmarks.stack import Stack
    from tests.support.processes import Process

_PROJECT = Path(__file__).with_name("peers") / "parallel_consumer"
_SOURCES = (_PROJECT / "pom.xml", _PROJECT / "src/main/java/hookstream/benchmarks/Peer.java")
AT_ONCE = 64
NAME = "parallel-consumer"
_MAIN = "hookstream.benchmarks.Peer"


def missing() -> str | None:
    """Why the peer cannot run here; None where it can."""
    if java_version() < MINIMUM_JAVA:
        return f"parallel-consumer skipped: no Java {MINIMUM_JAVA}"
    if shutil.which("mvn") is None:
        return "parallel-consumer skipped: no Maven"
    try:
        built()
    except subprocess.CalledProcessError as error:
        return f"parallel-consumer skipped: Maven could not build it: {error.stdout.decode(errors='replace')[-300:]}"
    return None


def built() -> Path:
    """The folder of the driver's classes and jars, built when the sources are new.

    Raises:
        CalledProcessError: Maven could not.
    """
    digest = hashlib.blake2b(b"".join(source.read_bytes() for source in _SOURCES), digest_size=6).hexdigest()
    folder = CACHE / "peers" / f"parallel-consumer-{digest}"
    if not folder.exists():
        fresh = folder.with_suffix(f".{os.getpid()}")
        command = ["mvn", "--batch-mode", "--quiet", "-f", str(_PROJECT / "pom.xml"), f"-Dinto={fresh}"]
        copy = ["dependency:copy-dependencies", f"-DoutputDirectory={fresh / 'jars'}"]
        subprocess.run([*command, "package", *copy], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # noqa: S603  # our own program, and no shell
        fresh.rename(folder)
    return folder


def group(stack: Stack) -> str:
    """Its group."""
    return f"{stack.topics.prefix}peer"


def start(stack: Stack, *, buffer: int = 0, at_once: int = AT_ONCE) -> Process:
    """Run it on the stack's records for peers; `buffer` is its messageBufferSize, 0 its own choice.

    `at_once`: its maxConcurrency, requests of all targets together; it has no limit for one target.
    """
    folder = built()
    return stack.processes.start(
        [
            shutil.which("java") or "java",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=off",
            "-cp",
            f"{folder / 'classes'}:{folder / 'jars'}/*",
            _MAIN,
            stack.bootstrap_servers,
            stack.bodies_topic,
            group(stack),
            stack.receiver.url,
            str(buffer),
            str(at_once),
        ],
        name="parallel-consumer",
    )
