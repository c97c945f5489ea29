"""Check how a command ended: with its output, or with one error sentence and what to type."""

from __future__ import annotations

import subprocess

Done = subprocess.CompletedProcess[str]


def expect_error(done: Done, code: int) -> str:
    """Check that a command failed as it should, and return its stderr.

    stdout must be empty, and stderr must hold one sentence and, indented below it, the help.
    """
    assert done.returncode == code, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    first, *rest = done.stderr.splitlines()
    assert first.startswith("error: "), done.stderr
    assert first.endswith((".", "?", ")")), first
    assert all(line.startswith("  ") for line in rest), done.stderr
    return done.stderr


def expect_output(done: Done) -> str:
    """Check that a command succeeded, with or without findings, and return its stdout."""
    assert done.returncode in (0, 1), done
    assert "Traceback" not in done.stderr
    assert "error:" not in done.stderr
    return done.stdout
