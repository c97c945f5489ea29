"""What a command said: an error is one sentence, what to type, and an exit code; nothing else."""

from __future__ import annotations

import subprocess

Done = subprocess.CompletedProcess[str]


def refused(done: Done, code: int) -> str:
    """Return what stderr says of why the command gave up with `code`; stdout must be empty."""
    assert done.returncode == code, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    first, *rest = done.stderr.splitlines()
    assert first.startswith("error: "), done.stderr
    assert first.endswith((".", "?", ")")), first
    assert all(line.startswith("  ") for line in rest), done.stderr
    return done.stderr


def answered(done: Done) -> str:
    """Return what stdout says of a command that could do what it was asked."""
    assert done.returncode in (0, 1), done
    assert "Traceback" not in done.stderr
    assert "error:" not in done.stderr
    return done.stdout
