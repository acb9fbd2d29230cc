"""Who runs a command, for the audit."""

from __future__ import annotations

import os
import pwd
import socket


def actor() -> str:
    """The user of the operating system, and the machine; no environment variable can name another user."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # a container's user that has no name
        name = str(uid)
    return f"cli {name}@{socket.gethostname()}"
