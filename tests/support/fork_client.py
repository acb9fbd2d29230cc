"""Stands for the command `hookstream` where a shell runs it: asks the fork server, and ends with the same exit code.

As a program: `python -I -S fork_client.py SOCKET ARGS...`. It imports next to nothing, so that it starts at once.
"""

import json
import os
import socket
import struct
import sys


def main() -> int:
    """Have the command run with this process's streams, environment and folder."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(sys.argv[1])
        program = ["hookstream", *sys.argv[2:]]
        request = json.dumps([program, dict(os.environ), os.getcwd()]).encode()  # noqa: PTH109  # no more imports
        number = struct.Struct("!i")
        socket.send_fds(connection, [number.pack(len(request))], [0, 1, 2])
        connection.sendall(request)
        connection.recv(number.size, socket.MSG_WAITALL)
        answer = connection.recv(number.size, socket.MSG_WAITALL)
    code: int = number.unpack(answer)[0] if answer else 1
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
