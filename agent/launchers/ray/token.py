"""How this process presents itself to a cluster: with which token, found where."""

from __future__ import annotations

import os

from dsray_inspect.agent.compat import ray as shelf


def token_source() -> str:
    """Return where the token that we send lies, "" when we send none.

    To be asked after `launchers.ray.connect`, which may have taken the local cluster's own.
    """
    return token_place() if os.environ.get(shelf.AUTH_MODE_VARIABLE, "").lower() == "token" else ""


def token_place() -> str:
    """Return where Ray looks for a token here, sent or not; order as in its `token_auth_config`."""
    if os.environ.get(shelf.TOKEN_VARIABLE):
        return shelf.TOKEN_VARIABLE

    return os.environ.get(shelf.TOKEN_PATH_VARIABLE) or os.path.join("~", shelf.TOKEN_FILE)
