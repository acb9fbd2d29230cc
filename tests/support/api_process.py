"""The API, on fakes of Kafka, as a process that may have few files open: run as a script, with its database's URL.

It prints one line of JSON: its port, and tokens of a platform service and of an integrator. A second argument is how
many requests a second a token may make.
"""

from __future__ import annotations

import json
import resource
import socket
import sys

from hookstream.processors.serving.connections import ConnectionLimits
from hookstream.processors.serving.server import HttpServer
from hookstream.subscriptions.api import ApiLimits, Rate
from hookstream.subscriptions.models import Role
from tests.support.subscriptions_api import Api

FILES = 1024


def main() -> None:
    """Serve until killed."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    url, per_s = [*sys.argv[1:], "0"][:2]
    api = Api(url, limits=ApiLimits(token_rate=Rate.per_second(float(per_s))))
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    tokens = {"platform": api.token(Role.PLATFORM), "integrator": api.token(Role.INTEGRATOR, 434)}
    print(json.dumps({"port": listener.getsockname()[1], **tokens}), flush=True)  # noqa: T201  # the test reads it
    HttpServer(api.app, limits=ConnectionLimits(), stop_timeout_s=1).run(listener)


if __name__ == "__main__":
    main()
