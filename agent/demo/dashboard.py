"""A minimal client for the REST API of Ray's dashboard: jobs and nodes."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

_CALL_S = 10.0
# Ignore proxy settings: the dashboard is on this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Dashboard:
    """The dashboard at `url`; calls return None or "" while it does not answer."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url
        self._headers = {"Content-Type": "application/json"}
        self._headers |= {"Authorization": f"Bearer {token}"} if token else {}

    def live_nodes(self) -> int:
        answer = self._call("/nodes?view=summary")

        try:
            rows = answer["data"]["summary"]
            return sum(row["raylet"].get("state") == "ALIVE" for row in rows)
        except (KeyError, TypeError):
            return 0

    def submit(self, submission_id: str, entrypoint: str) -> bool:
        """Submit a job like `ray job submit`; return whether it was accepted."""
        body = {"submission_id": submission_id, "entrypoint": entrypoint}
        return self._call("/api/jobs/", body) is not None

    def job_state(self, submission_id: str) -> str | None:
        """Return PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
        answer = self._call(f"/api/jobs/{submission_id}")
        return answer.get("status") if isinstance(answer, dict) else None

    def job_log(self, submission_id: str) -> str:
        answer = self._call(f"/api/jobs/{submission_id}/logs")
        return str(answer.get("logs", "")) if isinstance(answer, dict) else ""

    def _call(self, path: str, body: dict[str, str] | None = None) -> Any:
        request = urllib.request.Request(
            self._url + path,
            data=json.dumps(body).encode() if body is not None else None,
            headers=self._headers,
        )

        try:
            with _OPENER.open(request, timeout=_CALL_S) as answer:
                return json.load(answer)
        except (urllib.error.URLError, OSError, ValueError):
            return None
