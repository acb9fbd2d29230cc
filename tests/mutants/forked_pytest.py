"""Forks pytest from a process that has imported the libraries, but nothing of ours.

Importing the libraries anew takes longer than most tests. A request is a line of JSON: arguments, the file for
what is printed, and seconds of processor time. The answers are the child's process id, and later its exit code. The
kernel ends a child at its processor time: a bug that makes a test loop ends, too, where the
runner was killed.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from importlib import import_module

_LIBRARIES = (
    "alembic.command",
    "confluent_kafka.admin",
    "confluent_kafka.schema_registry.avro",
    "cryptography.hazmat.primitives.ciphers.aead",
    "fastapi.testclient",
    "hypothesis.strategies",
    "httpx",
    "jinja2",
    "prometheus_client",
    "psycopg",
    "pydantic_settings",
    "pytest",
    "rich.console",
    "sqlalchemy.orm",
    "structlog",
    "tenacity",
    "typer.testing",
    "uvicorn",
)


def main() -> None:
    """Serve requests until there is no more input."""
    for name in _LIBRARIES:
        import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if not pid:
            _run(request["arguments"], request["output"], request["processor_s"])
        print(pid, flush=True)  # noqa: T201  # an answer
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201  # the other answer


def _run(arguments: list[str], output: str, processor_s: int) -> None:
    """Be a session of its own that runs pytest and ends."""
    code: int = 70
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (processor_s, processor_s))
        written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for old, new in ((nothing, 0), (written, 1), (written, 2)):
            os.dup2(old, new)
        import pytest  # noqa: PLC0415  # imported before the fork

        code = int(pytest.main(arguments))
    except BaseException:  # noqa: BLE001  # this process ends here, whatever it is
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
