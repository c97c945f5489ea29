"""Keep secrets on their node: environment values, command lines, locals and log lines.

Standard library only, constants and functions only: the module is pickled by value into
the processes of the job. It errs towards hiding, and a hidden value leaves no trace.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

REDACTED = "<redacted>"
SHORT_VALUE = 120
_MAX_CONFIG_KEYS = 400
_SHORTEST_KNOWN_SECRET = 8

# Words of a name (split at case changes and punctuation) that make its value a secret.
_SECRET_WORDS = frozenset(
    "TOKEN TOKENS SECRET SECRETS PASSWORD PASSWORDS PASSWD PASSPHRASE PASSCODE PASS PWD PSW "
    "CREDENTIAL CREDENTIALS CREDS CRED COOKIE COOKIES SESSION SESSIONID DSN AUTH AUTHORIZATION "
    "AUTHENTICATION PRIVATE JWT BEARER APIKEY OTP SAS WEBHOOK NETRC SIGNATURE".split()
)
_SECRET_ENDINGS = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "APIKEY", "CREDENTIALS")
# `<word>_KEY` for these is a secret whatever its value looks like.
_KEY_WORDS = frozenset(
    "API APP APPLICATION ACCESS ACCOUNT STORAGE ENCRYPTION DECRYPTION SIGNING SHARED MASTER CLIENT "
    "CONSUMER SERVICE SUBSCRIPTION LICENSE DEPLOY SSH SSL TLS GPG PGP AES RSA HMAC FERNET ADMIN "
    "ROOT OPENAI WANDB COMET NEPTUNE HF AWS GCP AZURE S3 MINIO DD DATADOG STRIPE SECURITY".split()
)
# The value of these is a secret only when it looks like random text.
_WEAK_WORDS = frozenset("SALT PIN PAT SIG CERT LICENSE NONCE".split())
_HARMLESS_NAMES = frozenset(
    "RAY_AUTH_MODE SSH_AUTH_SOCK XAUTHORITY DBUS_SESSION_BUS_ADDRESS XDG_SESSION_ID "
    "XDG_SESSION_TYPE XDG_SESSION_CLASS XDG_SESSION_DESKTOP DESKTOP_SESSION SESSION_MANAGER "
    "RAY_SESSION_DIR RAY_SESSION_NAME PWD OLDPWD TOKENIZERS_PARALLELISM".split()
)
_HARMLESS_PREFIXES = ("NCCL_", "TORCH_NCCL_", "CUDA_", "OMPI_", "FI_", "UCX_")
_PATH_ENDINGS = frozenset("FILE PATH DIR SOCK SOCKET FILENAME".split())
_PLAIN_ENDINGS = frozenset(
    "MODE TYPE TIMEOUT TTL PORT HOST ENABLED LIMIT COUNT SIZE LENGTH LEN INDEX RATIO BUDGET S MS "
    "SECONDS NUM VERSION".split()
)
_FLAGS = frozenset(["", "0", "1", "true", "false", "yes", "no", "on", "off", "none", "null"])
_PATHS = re.compile(r"(?:unix:|file://)?[~./][\w./~+@:-]*\Z")
_PLAIN = re.compile(r"(?:-?\d{1,7}(?:\.\d{1,4})?|[a-z][a-z_-]{0,15})\Z")
_NUMBER = re.compile(r"-?\d{1,7}(?:\.\d{1,6})?\Z")
_RANDOM = re.compile(r"[A-Za-z0-9+/_=.~-]{16,}\Z")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NAME_HINTS = (
    "token", "secret", "pass", "pwd", "psw", "cred", "cookie", "session", "dsn", "auth", "private",
    "jwt", "bearer", "key", "otp", "sas", "webhook", "netrc", "sig", "salt", "pin", "pat", "cert",
    "license", "nonce",
)  # fmt: skip

# (a piece of text without which the pattern cannot match, the pattern, what stays of a match)
# Compiled when one is first needed: all of them at once would hold up the process they are sent to.
_SHAPES: tuple[tuple[str, str, str], ...] = (
    (
        "PRIVATE KEY",
        r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY.*?(?:-----END [A-Z0-9 ]*-----|\Z)",
        REDACTED,
    ),
    # Greedy to the last @: a password may hold an @ or a slash that nobody escaped.
    (
        "@",
        r"(://[^\s:/@\"]{0,200}):(?!\d{1,5}(?:[/?#]|\Z))[^\s\"]{0,2000}@",
        rf"\1:{REDACTED}@",
    ),
    ("http", r"(https?://)[^\s:/@\"?#]{1,500}@", rf"\1{REDACTED}@"),
    ("eyJ", r"\beyJ[\w-]{4,}\.[\w-]+(?:\.[\w-]*)*", REDACTED),
    ("A", r"\b(?:AKIA|ASIA|AIDA|AROA|ABIA|ACCA)[A-Z0-9]{12,}", REDACTED),
    ("gh", r"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9_]{16,}", REDACTED),
    ("github_pat_", r"github_pat_\w{16,}", REDACTED),
    ("hf_", r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{16,}", REDACTED),
    ("api_org_", r"api_org_[A-Za-z0-9]{16,}", REDACTED),
    ("sk", r"(?<![A-Za-z0-9])[sr]k[-_][\w-]{16,}", REDACTED),
    ("xox", r"\bxox[a-z]-[\w-]{8,}", REDACTED),
    ("xapp-", r"\bxapp-[\w-]{8,}", REDACTED),
    ("gl", r"(?<![A-Za-z0-9])gl[a-z]{2,6}-[\w.-]{16,}", REDACTED),
    ("AIza", r"AIza[\w-]{30,}", REDACTED),
    ("ya29.", r"ya29\.[\w-]{16,}", REDACTED),
    ("npm_", r"\bnpm_[A-Za-z0-9]{30,}", REDACTED),
    ("pypi-", r"\bpypi-[\w-]{30,}", REDACTED),
    ("dckr_", r"\bdckr_[a-z]+_[\w-]{16,}", REDACTED),
    ("SG.", r"\bSG\.[\w-]{16,}\.[\w-]{16,}", REDACTED),
    ("hooks.", r"(hooks\.slack\.com/[a-z]+/)[\w/-]+", rf"\1{REDACTED}"),
    ("arer", r"(?i)(\bbearer[\s:=]+)(?!<redacted>)[^\s\"',]{6,}", rf"\1{REDACTED}"),
    ("asic ", r"(\b[Bb]asic\s+)[A-Za-z0-9+/]{12,}={0,2}", rf"\1{REDACTED}"),
    ("-u", r"((?:^|\s)(?:-u|--user)[\s=]+[^\s:]+:)\S+", rf"\1{REDACTED}"),
)

# A name with what parts it from its value; an option may have only a blank or a comma there.
_NAMES = (
    r"(?<![\w.-])(?P<option>-{1,2})?(?P<name>\w[\w.-]*)"
    r"(?:\\*[\"']?\s*[:=]>?\s*|(?(option)[\"']?(?:\s*,\s*|\s+)(?!-)|(?!)))"
)
_VALUES = (
    # An escaped quote (JSON inside JSON) closes with the same number of backslashes.
    r"(?s)(?P<esc>\\+)(?P<q>[\"']).*?(?:(?<!\\)(?P=esc)(?P=q)|\Z)"
    # A quote inside a repr may stand unescaped: only one before a delimiter closes.
    r"|[rbuf]{0,2}\"(?:[^\"\\]|\\.|\"(?![\s,;:}\])]|\Z))*(?:\"|\\?\Z)"
    r"|[rbuf]{0,2}'(?:[^'\\]|\\.|'(?![\s,;:}\])]|\Z))*(?:'|\\?\Z)"
    # Where a list or dict ends is not for a pattern to say.
    r"|[\[{(].*|\S+"
)


def _words(name: str) -> list[str]:
    return [word.upper() for word in _WORDS.findall(name)]


def _looks_random(value: str) -> bool:
    value = value.strip("\"'")
    if not _RANDOM.match(value) or not any(c.isdigit() for c in value):
        return False

    counts = Counter(value).values()
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts) > 3.0


def _is_hidden(name: str, value: str) -> bool:
    """Tell whether a variable of this name must not show this value."""
    if not _hint_in(name) or name in _HARMLESS_NAMES or name.startswith(_HARMLESS_PREFIXES):
        return False

    bare = value.strip("\"'")
    words = _words(name)
    if bare.lower() in _FLAGS or not words:
        return False

    last = words[-1]
    if last in _PATH_ENDINGS and _PATHS.match(bare):
        return False

    if last in _PLAIN_ENDINGS and len(words) > 1 and _PLAIN.match(bare):
        return False

    if any(word in _SECRET_WORDS or word.endswith(_SECRET_ENDINGS) for word in words):
        counted = "TOKENS" in words or ("TOKEN" in words and last != "TOKEN")
        return not (counted and _NUMBER.match(bare))

    if any(word.endswith(("KEY", "KEYS")) for word in words):
        return not _KEY_WORDS.isdisjoint(words) or _looks_random(value)

    return not _WEAK_WORDS.isdisjoint(words) and _looks_random(value)


def _hint_in(text: str) -> bool:
    lowered = text.lower()
    for hint in _NAME_HINTS:  # noqa: SIM110  (a generator costs twice the time)
        if hint in lowered:
            return True

    return False


def _redact_pairs(text: str) -> str:
    """Hide the values of `name=value`, `"name": "value"` and `--name value` in running text."""
    if not _hint_in(text):
        return text

    names, values = re.compile(_NAMES), re.compile(_VALUES)
    parts: list[str] = []
    done = at = 0
    while (pair := names.search(text, at)) is not None:
        at = pair.end()
        value = values.match(text, at)
        if value is not None and _is_hidden(pair["name"], value[0]):
            parts += (text[done:at], REDACTED)
            done = at = value.end()

    return "".join(parts) + text[done:]


def _redact_json(value: Any, name: str) -> Any:
    plain = "{}" if isinstance(value, (dict, list)) else str(value)
    if name and _is_hidden(name, plain):
        return REDACTED

    if isinstance(value, str):
        return redact_text(value)

    if isinstance(value, list):
        return [_redact_json(item, "") for item in value]

    if isinstance(value, dict):
        # Kubernetes lists variables as {"name": ..., "value": ...}.
        named = str(value.get("name", ""))
        return {k: _redact_json(v, named if k == "value" else k) for k, v in value.items()}

    return value


def redact_text(text: str, known: Iterable[str] = ()) -> str:
    """Hide what is secret by shape or by the name before it, and the known secrets."""
    for secret in known:
        text = text.replace(secret, REDACTED)

    for hint, pattern, kept in _SHAPES:
        if hint in text:
            text = re.sub(pattern, kept, text)

    if text[:1] in "{[" and len(text) > 2 and _hint_in(text):
        try:
            return json.dumps(_redact_json(json.loads(text), ""))
        except (ValueError, RecursionError):
            pass

    return _redact_pairs(text)


def redact_pair(name: str, value: str, known: Iterable[str] = ()) -> str:
    """Return a value that goes by this name as it may be shown, without the known secrets."""
    return REDACTED if _is_hidden(name, value) else redact_text(value, known)


def known_secrets(env: Mapping[str, str]) -> list[str]:
    """Return the values that no other variable may show either, longest first."""
    hidden = {value for name, value in env.items() if _is_hidden(name, value)}
    return sorted(
        (value for value in hidden if len(value) >= _SHORTEST_KNOWN_SECRET), key=len, reverse=True
    )


def redact_argv(argv: Sequence[str], known: Iterable[str] = ()) -> str:
    """Return a command line as it may be shown, without the known secrets."""
    return " ".join(redacted_words(argv, known))


def redacted_words(argv: Sequence[str], known: Iterable[str] = ()) -> list[str]:
    """Return the words of a command line as they may be shown, without the known secrets."""
    shown: list[str] = []
    for before, item in zip(("", *argv), argv, strict=False):
        option = before.lstrip("-") if before.startswith("-") and "=" not in before else ""
        shown.append(redact_pair(option, item, known))

    return shown


def flatten_config(
    config: Mapping[str, Any], max_items: int = _MAX_CONFIG_KEYS, *, known: Sequence[str] = ()
) -> dict[str, str]:
    """Return a nested config as dotted keys and short values, sorted, secrets hidden.

    An object that is no plain value becomes its type's name: a repr may hold an address, and
    equal configs must look equal on all ranks.
    """
    flat: dict[str, str] = {}
    stack: list[tuple[str, Any, int]] = [("", config, 0)]
    while stack:
        key, value, depth = stack.pop()
        if len(flat) >= max_items:
            flat["..."] = f"cut after {max_items} values"
            break

        if isinstance(value, Mapping) and value and depth < 20:
            prefix = f"{key}." if key else ""
            items = sorted(((str(k), v) for k, v in value.items()), key=lambda item: item[0])
            stack += [(prefix + k, v, depth + 1) for k, v in reversed(items)]
        elif isinstance(value, (list, tuple)) and depth < 20 and not all(map(_is_plain, value)):
            stack += [(f"{key}.{i}", v, depth + 1) for i, v in reversed(list(enumerate(value)))]
        else:
            flat[key] = _short(redact_pair(key, _text(value), known))

    return flat


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return str(list(value)) if all(map(_is_plain, value)) else f"{len(value)} items"

    return str(value) if _is_plain(value) else f"<{type(value).__name__}>"


def _short(text: str) -> str:
    return text if len(text) <= SHORT_VALUE else text[: SHORT_VALUE - 1] + "…"
