"""Have a worker of Ray forked by a warm process: `python ask.py NAME default_worker.py ARGS...`."""

from __future__ import annotations

import json
import os
import socket
import sys
import time

LIMIT_S = 60.0


def connected(name: str) -> socket.socket:
    """Return a connection; the warm process may be about to start."""
    deadline = time.monotonic() + LIMIT_S

    while True:
        connection = socket.socket(socket.AF_UNIX)

        try:
            connection.connect(f"\0{name}")
        except ConnectionRefusedError:
            connection.close()

            if time.monotonic() > deadline:
                raise

            time.sleep(0.1)
        else:
            return connection


if __name__ == "__main__":
    _, asked, *argv = sys.argv
    request = {"argv": argv, "environ": dict(os.environ), "folder": os.getcwd()}

    with connected(asked) as connection:
        text = json.dumps(request).encode()
        sent = socket.send_fds(connection, [text], [0, 1, 2])
        connection.sendall(text[sent:])
        connection.shutdown(socket.SHUT_WR)

        if not connection.recv(64):
            sys.exit("the warm process has ended")
