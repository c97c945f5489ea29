"""One call to Ray's dashboard; a program too, so that it can be made from inside another host."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from typing import Any


def call(url: str, *, method: str = "GET", body: object = None, token: str | None = None) -> Any:
    """Return the JSON answer, or None when nothing answers yet or the thing is not known."""
    request = urllib.request.Request(url, method=method)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=20) as answer:
            text = answer.read().decode()
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    print(json.dumps(call(sys.argv[1], method=sys.argv[2], token=os.environ.get("RAY_AUTH_TOKEN"))))
