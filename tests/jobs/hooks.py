"""A user's own `worker_process_setup_hook`, as his runtime environment names it."""

from __future__ import annotations

import os


def leave_a_mark() -> None:
    os.environ["SET_BY_THE_USERS_HOOK"] = "yes"
