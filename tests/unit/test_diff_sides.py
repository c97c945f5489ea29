"""The sides of `diff`: files at their moments, public ones, and what is no side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dsray_inspect.agent.diff.compare import compare
from dsray_inspect.agent.diff.side import Side
from dsray_inspect.agent.errors import ExitCode, UsageError
from dsray_inspect.agent.incident.layout import Header
from dsray_inspect.agent.incident.publishing import Publisher
from dsray_inspect.agent.incident.sides import Target, side_of_file, target_of
from dsray_inspect.agent.incident.writer import IncidentWriter
from dsray_inspect.agent.sample_chain import SampleChain
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.sampling.process_probe import Environ
from dsray_inspect.agent.sampling.rank_report import RankReport
from tests.unit.incidents import TOOL, hung, run, two_samples, write


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hang.dsray"
    write(path, (hung(100.0), hung(101.0), hung(103.0)))
    return path


def side(path: Path, moment: str | None = None, publisher: Publisher | None = None) -> Side:
    given = str(path) if moment is None else f"{path}@{moment}"
    return side_of_file(target_of(given), path, publisher=publisher)[0]


def with_env(observation: Observation, **variables: str) -> Observation:
    """Return a sample in which each rank has these variables."""
    environ = Environ(variables=variables, set_after_exec=frozenset(), from_parent=frozenset())
    observation.ranks = {
        actor: msgspec.structs.replace(report, environ=environ)
        for actor, report in observation.ranks.items()
        if isinstance(report, RankReport)
    }
    return observation


def write_public(path: Path, *observations: Observation) -> None:
    publisher, chain = Publisher(), SampleChain()

    with IncidentWriter(path, Header(tool=TOOL, began_at=1.0, public=True)) as writer:
        for observation in observations:
            published = publisher.observation(observation)
            writer.add_sample(published, None, chain.add(published).verdict)

        writer.finish()


# What a word means


@pytest.mark.parametrize(
    ("word", "path", "moment"),
    [
        ("j47", None, None),
        ("j47/2", None, None),
        ("me@work", None, None),
        ("a.dsray", "a.dsray", None),
        ("a.dsray@first", "a.dsray", "first"),
        ("d/a.dsray@12s", "d/a.dsray", "12s"),
        ("a@b.dsray", "a@b.dsray", None),
    ],
)
def test_what_a_word_means(word: str, path: str | None, moment: str | None) -> None:
    wanted = Target(given=word, path=Path(path) if path else None, moment=moment)
    assert target_of(word) == wanted


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("a.dsray@noon", r"noon is no moment of a\.dsray"),
        ("a.dsray@", r" is no moment of a\.dsray"),
        ("j47@last", "names a moment, and j47 is no file"),
    ],
)
def test_what_is_no_side(word: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        target_of(word)

    assert caught.value.help_text


@pytest.mark.parametrize(
    ("moment", "at"),
    [(None, 103.0), ("last", 103.0), ("first", 100.0), ("0.8s", 101.0), ("3.4s", 103.0)],
)
def test_a_moment_is_the_nearest_sample(file: Path, moment: str | None, at: float) -> None:
    found = side(file, moment)
    assert found.last.taken_at == at
    assert [one.taken_at for one in found.snapshots] == [
        one for one in (100.0, 101.0, 103.0) if one <= at
    ]


def test_a_moment_after_the_end_is_told(file: Path) -> None:
    with pytest.raises(UsageError, match=r"has no sample at 30 s: its last one is at 3\.0 s"):
        side(file, "30s")


# Commands


def test_two_moments_of_one_file(file: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    first, last = f"{file}@first", f"{file}@last"
    code = run("diff", first, last, "--json")
    document = json.loads(capfdbinary.readouterr().out)
    assert code == (ExitCode.FINDINGS if document["differences"] else ExitCode.OK)
    assert {one["kind"] for one in document["differences"]} <= {"verdict", "finding", "place"}
    assert (document["a"]["samples"], document["b"]["samples"]) == (1, 3)
    assert run("diff", last, str(file)) == ExitCode.OK


def test_a_file_that_cannot_be_read_is_told(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        run("diff", str(file), str(tmp_path / "gone.dsray"))


def test_a_file_that_is_cut_off_gives_what_can_be_read(
    file: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    half = tmp_path / "half.dsray"
    half.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    run("diff", str(file), str(half))
    captured = capfdbinary.readouterr()
    assert b"half.dsray is cut off; this is what could be read of it." in captured.err
    assert captured.out.startswith(b"A  ")


def test_local_is_for_jobs(file: Path) -> None:
    with pytest.raises(UsageError, match="both sides are files"):
        run("diff", str(file), str(file), "--local")


# Public files

OWN = {"ACME_MODE": "fast", "NCCL_ACME": "7", "NCCL_DEBUG_FILE": "/home/me/x", "NCCL_DEBUG": "INFO"}


def test_a_public_file_is_compared_with_what_the_other_would_have_in_one(tmp_path: Path) -> None:
    private, public = tmp_path / "private.dsray", tmp_path / "public.dsray"
    write(private, [with_env(one, **OWN) for one in two_samples()])
    write_public(public, *(with_env(one, **{**OWN, "NCCL_DEBUG": "WARN"}) for one in two_samples()))
    a, b = side(private, publisher=Publisher()), side(public)
    document = compare(a, b)
    assert [(one.kind, one.name) for one in document.differences] == [("env", "NCCL_DEBUG")]
    missing = {one.what: one.why for one in document.not_compared}
    assert missing["NCCL_VARIABLE_1"] == "names are replaced in a public file"
    assert missing["NCCL_DEBUG_FILE"] == "names are replaced in a public file"
    assert missing["1 environment variable"] == "a public file does not have them"
    assert b"acme" not in msgspec.json.encode(document).lower()
    assert b"load_batch" not in msgspec.json.encode(document)


def test_pseudonyms_of_one_file_are_compared(tmp_path: Path) -> None:
    public = tmp_path / "public.dsray"
    later = with_env(hung(101.0), **{**OWN, "NCCL_DEBUG_FILE": "/home/me/y"})
    write_public(public, with_env(hung(100.0), **OWN), later)
    document = compare(side(public, "first"), side(public, "last"))
    assert ("env", "NCCL_DEBUG_FILE") in {(one.kind, one.name) for one in document.differences}


@pytest.mark.parametrize("is_turned", [False, True])
def test_the_command_publishes_the_other_side(
    tmp_path: Path, is_turned: bool, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    private, public = tmp_path / "private.dsray", tmp_path / "public.dsray"
    write(private, two_samples())
    write_public(public, *two_samples())
    sides: Any = (str(public), str(private)) if is_turned else (str(private), str(public))
    assert run("diff", *sides, "--json") == ExitCode.OK
    printed = capfdbinary.readouterr().out
    assert b"load_batch" not in printed
    assert [json.loads(printed)[one]["public"] for one in "ab"] == [is_turned, not is_turned]
