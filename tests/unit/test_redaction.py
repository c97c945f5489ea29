"""Secrets stay on their node, whatever they look like and wherever they stand."""

from __future__ import annotations

import json
import pickle
import string
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ray import cloudpickle

from dsray_inspect.agent.remote import redaction as redaction
from dsray_inspect.agent.remote.redaction import (
    REDACTED,
    flatten_config,
    known_secrets,
    redact_argv,
    redact_pair,
    redact_text,
)

# Twelve or more, so that a secret is not by chance a word of the text around it.
SECRETS = st.text(
    string.ascii_letters + string.digits + "+/=_-.@:#!$%^&*", min_size=12, max_size=60
)
SECRET_NAMES = st.sampled_from(
    "HF_TOKEN WANDB_API_KEY AWS_SECRET_ACCESS_KEY DB_PASSWORD MYSQL_PWD PGPASSWORD SENTRY_DSN api_key "
    "apiKey authToken GITHUB-TOKEN client.secret session_cookie OP_SESSION_team PRIVATE_KEY "
    "SSH_PASSPHRASE MY_CREDENTIALS slackWebhook AUTHORIZATION".split()
)
WORDS = st.sampled_from(["train.py", "--lr", "0.1", "epochs", "->", "{", "rank 0", "loss=0.5", ""])


def redacted(env: dict[str, str]) -> dict[str, str]:
    known = known_secrets(env)
    return {name: redact_pair(name, value, known) for name, value in env.items()}


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "WANDB_API_KEY",
        "DB_PASSWORD",
        "MYSQL_PWD",
        "PGPASSWORD",
        "GOOGLE_CREDENTIALS",
        "SENTRY_DSN",
        "SESSION_ID",
        "BW_SESSION",
        "MY_PRIVATE_KEY",
        "authToken",
        "JWT",
        "COOKIE",
        "RAY_AUTH_TOKEN",
    ],
)
def test_secret_by_name(name: str) -> None:
    assert redact_pair(name, "hunter2") == REDACTED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RAY_AUTH_MODE", "token"),
        ("RAY_AUTH_TOKEN_PATH", "/root/.ray/auth_token"),
        ("PYTHONHASHSEED", "12345"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("MASTER_PORT", "29500"),
        ("NCCL_SOCKET_IFNAME", "eth0"),
        ("SSH_AUTH_SOCK", "/tmp/ssh-x/agent.12"),
        ("XDG_SESSION_ID", "3"),
        ("PWD", "/home/user"),
        ("MAX_TOKENS", "4096"),
        ("eos_token_id", "2"),
        ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/home/user/.aws/credentials"),
        ("PRIMARY_KEY", "id"),
        ("DS_PIN_MEMORY", "1"),
        ("HF_TOKEN", ""),
        ("KUBERNETES_PORT", "tcp://10.0.0.1:443"),
        ("LS_COLORS", "rs=0:di=01;34:ln=01;36"),
        ("RAY_ADDRESS", "10.0.0.1:6379"),
    ],
)
def test_plain_values_stay(name: str, value: str) -> None:
    assert redact_pair(name, value) == value


@pytest.mark.parametrize(
    "secret",
    [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "github_pat_11ABCDEFG0aBcDeFgHiJkL_mnopqrst",
        "hf_abcdefghijklmnopqrstuvwxyz",
        "sk-proj-abcdefghijklmnop1234",
        "sk_live_abcdefghijklmnop1234",
        "xoxb-123456789012-abcdef",
        "glpat-abcdefghij1234567890",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz cut off here",
    ],
)
def test_secret_by_shape(secret: str) -> None:
    assert redact_text(f"before {secret}") == f"before {REDACTED}"
    assert redact_pair("INNOCENT", secret) == REDACTED


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://bob:pw@db/x", f"postgresql://bob:{REDACTED}@db/x"),
        ("https://bob:p@ss/w0rd@host:80/x", f"https://bob:{REDACTED}@host:80/x"),
        ("https://0123456789abcdef@github.com/x", f"https://{REDACTED}@github.com/x"),
        ("http://localhost:8000/p?mail=a@b", "http://localhost:8000/p?mail=a@b"),
        ("ssh://git@github.com/x", "ssh://git@github.com/x"),
        ("train.py --token=abc --lr 1", f"train.py --token={REDACTED} --lr 1"),
        ("train.py --password 'a b' --lr 1", f"train.py --password {REDACTED} --lr 1"),
        ("['--token', 'abc', '--lr']", f"['--token', {REDACTED}, '--lr']"),
        ("x: Bearer abcdefgh", f"x: Bearer {REDACTED}"),
        ("curl -u bob:pw http://x", f"curl -u bob:{REDACTED} http://x"),
        ("{'lr': 1, 'api_key': 'abc', 'n': 2}", f"{{'lr': 1, 'api_key': {REDACTED}, 'n': 2}}"),
        ('{"token": "ab"cd", "x": 1}', f'{{"token": {REDACTED}, "x": 1}}'),
        (r'"{\"token\": \"abc\", \"x\": 1}"', rf'"{{\"token\": {REDACTED}, \"x\": 1}}"'),
        ("{'token': 'cut off he", f"{{'token': {REDACTED}"),
        ("token_budget=100 lr=0.1", "token_budget=100 lr=0.1"),
    ],
)
def test_only_the_secret_part_goes(text: str, shown: str) -> None:
    assert redact_text(text) == shown


def test_json_is_searched_by_its_keys() -> None:
    hidden = {
        "env_vars": {"HF_TOKEN": "abc", "LR": "1"},
        "env": [{"name": "PASSWORD", "value": "x"}],
    }
    shown = json.loads(redact_text(json.dumps(hidden)))
    assert shown["env_vars"] == {"HF_TOKEN": REDACTED, "LR": "1"}
    assert shown["env"] == [{"name": "PASSWORD", "value": REDACTED}]


def test_a_secret_is_hidden_in_other_variables_too() -> None:
    env = {"HF_TOKEN": "correct-horse", "COMMAND": "login correct-horse now"}
    assert redacted(env)["COMMAND"] == f"login {REDACTED} now"


def test_argv() -> None:
    argv = ["train.py", "--api-key", "a b c", "--db=postgres://u:p@h/d", "--lr", "0.1"]
    shown = f"train.py --api-key {REDACTED} --db=postgres://u:{REDACTED}@h/d --lr 0.1"
    assert redact_argv(argv) == shown
    assert redact_argv(argv, ["train"]) == shown.replace("train", REDACTED)


@given(name=SECRET_NAMES, secret=SECRETS)
def test_no_leak_from_a_secret_variable(name: str, secret: str) -> None:
    shown = redacted({name: secret, "COPY": f"x {secret} y", "LR": "0.1"})
    assert secret not in "".join(shown.values())
    assert shown[name] == REDACTED


@given(name=SECRET_NAMES, secret=SECRETS, before=st.lists(WORDS), after=st.lists(WORDS))
def test_no_leak_from_a_command_line(
    name: str, secret: str, before: list[str], after: list[str]
) -> None:
    for argv in ([f"--{name}={secret}"], [f"--{name}", secret], ["env", f"{name}={secret}"]):
        assert secret not in redact_argv([*before, *argv, *after])


@given(name=SECRET_NAMES, secret=SECRETS, before=st.lists(WORDS), after=st.lists(WORDS))
def test_no_leak_from_a_text(name: str, secret: str, before: list[str], after: list[str]) -> None:
    for pair in (f"{name}={secret}", f"'{name}': '{secret}',", json.dumps({name: secret})):
        text = " ".join([*before, pair, *after])
        assert secret not in redact_text(text)


@given(name=SECRET_NAMES, secret=st.text(min_size=12))
def test_no_leak_from_json_in_json(name: str, secret: str) -> None:
    inner = json.dumps({name: "S" + secret, "lr": 1})
    for text in (inner, json.dumps({"config": inner}), json.dumps([{"a": {name: ["S" + secret]}}])):
        shown = redact_text(text)
        assert json.dumps("S" + secret)[1:-1] not in shown
        json.loads(shown)


@given(user=st.text(string.ascii_lowercase, max_size=8), secret=SECRETS)
@example(user="bob", secret="p@ss/w0rd:80@x")
def test_no_leak_from_a_url(user: str, secret: str) -> None:
    assert secret not in redact_text(f"db is https://{user}:x{secret}@host/path")


@given(name=SECRET_NAMES, secret=SECRETS)
def test_no_leak_from_a_config(name: str, secret: str) -> None:
    config = {"monitor": {"comet": {name: secret}, "urls": [{"to": f"https://u:x{secret}@h"}]}}
    assert secret not in "".join(flatten_config(config).values())


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    assert isinstance(redact_text(text), str)


@pytest.mark.parametrize(
    "text",
    [
        "a=[" * 5000,
        'token="a\\' * 3000,
        "a" * 200_000,
        "token: " * 20_000,
        "\\" * 20_000 + '"',
        "http://a:" * 5000 + "@",
        'token="' + '"a' * 20_000,
        "-----BEGIN PRIVATE KEY" * 3000,
        '{"token":' * 3000,
    ],
    ids=lambda text: text[:12],
)
def test_no_text_takes_long(text: str) -> None:
    start = time.process_time()
    redact_text(text)
    assert time.process_time() - start < 2


def test_config_is_flat_sorted_and_short() -> None:
    config = {
        "zero": {"stage": 2, "x": {}},
        "betas": [0.9, 0.99],
        "a": "y" * 500,
        "l": [{"b": None}],
    }
    flat = flatten_config(config)
    assert list(flat) == ["a", "betas", "l.0.b", "zero.stage", "zero.x"]
    assert flat["zero.stage"] == "2"
    assert flat["betas"] == "[0.9, 0.99]"
    assert len(flat["a"]) == redaction.SHORT_VALUE


def test_config_has_a_limit() -> None:
    loop: dict[str, object] = {str(n): n for n in range(50)}
    loop["self"] = loop
    flat = flatten_config(loop, 100)
    assert len(flat) == 101
    assert flat["..."] == "cut after 100 values"


def test_config_outlives_a_broken_repr() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert flatten_config({"x": Broken()}) == {"x": "<Broken>"}


def test_is_sent_by_value() -> None:
    cloudpickle.register_pickle_by_value(redaction)
    try:
        sent = cloudpickle.dumps(redaction.redact_pair)
    finally:
        cloudpickle.unregister_pickle_by_value(redaction)
    assert b"dsray_inspect.agent.remote.redaction\x94\x8c\x0bredact_pair" not in sent
    assert pickle.loads(sent)("HF_TOKEN", "abc") == REDACTED
