"""Make a snapshot fit to be kept: neutral paths, and only such variables as matter.

    dsray-inspect attach JOB --json | python tests/golden/scrub.py > tests/golden/snapshots/NAME.json

Run it with the Python that the job ran with. Then UPDATE_GOLDEN=1 pytest tests/unit/test_text.py
writes what is printed for it.
"""

from __future__ import annotations

import json
import re
import sys
import sysconfig
from typing import Any

# What the machine itself sets tells nothing of a job, and much of the machine.
KEPT_INHERITED = frozenset(["DS_ACCELERATOR", "HOME", "LANG", "PYTHONUNBUFFERED", "SHELL"])
PATHS = (
    (sysconfig.get_paths()["purelib"], "/opt/venv/lib/python3.11/site-packages"),
    (sysconfig.get_paths()["stdlib"], "/usr/lib/python3.11"),
    (sys.prefix, "/opt/venv"),
    (sys.base_prefix, "/usr"),
)
SESSION = re.compile(r"/[\w./-]*/session_[\d_-]+/")
SCRATCH = re.compile(r"/tmp/(?:\w+[/-])?(ext|out)\b")


def scrub(snapshot: dict[str, Any]) -> dict[str, Any]:
    """Return the snapshot without this machine's paths and variables."""
    for worker in snapshot["workers"]:
        worker["env"] = {
            name: one
            for name, one in worker["env"].items()
            if one["source"] != "inherited" or name in KEPT_INHERITED
        }

    cleaned: dict[str, Any] = clean(snapshot)
    return cleaned


def clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items()}

    if isinstance(value, list):
        return [clean(item) for item in value]

    return clean_text(value) if isinstance(value, str) else value


def clean_text(text: str) -> str:
    for real, neutral in PATHS:
        text = text.replace(real, neutral)

    text = SESSION.sub("/tmp/ray/session_latest/", text)
    return SCRATCH.sub(r"/tmp/\1", text)


if __name__ == "__main__":
    json.dump(scrub(json.load(sys.stdin)), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
