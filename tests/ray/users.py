"""Other users to run a command as; each prefix goes before the command line.

Python itself may lie in root's home folder, so a user who is to run all of it may read there.
"""

from __future__ import annotations

NOBODY = ("setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all")
"""May read no file of root's, a token for one."""


def _with_rights(*rights: str) -> tuple[str, ...]:
    given = ",".join(["-all", *(f"+{right}" for right in rights)])
    return (
        *("setpriv", "--reuid=65534", "--clear-groups"),
        *(f"--{which}-caps={given}" for which in ("inh", "ambient")),
    )


READER = _with_rights("dac_read_search")
"""May read every file and write none: a socket of root's is closed to it."""
TOLERATED = _with_rights("dac_override", "dac_read_search")
"""May use every file, sockets too, and ptrace nobody."""
