"""How this process presents itself to a cluster: with which token, found where."""

from __future__ import annotations

import os


def token_source() -> str:
    """Return where the token that we send lies, "" when we send none.

    To be asked after `launchers.ray.connect`, which may have taken the local cluster's own.
    """
    return token_place() if os.environ.get("RAY_AUTH_MODE", "").lower() == "token" else ""


def token_place() -> str:
    """Return where Ray looks for a token here, sent or not; order as in its `token_auth_config`."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"

    return os.environ.get("RAY_AUTH_TOKEN_PATH") or os.path.join("~", ".ray", "auth_token")
