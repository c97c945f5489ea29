"""Incident files: what was judged live is judged the same offline, and nothing secret is written."""

from __future__ import annotations

import inspect
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from dsray_inspect.agent.assemble.snapshot import AnalysisInput, assemble
from dsray_inspect.agent.errors import ExitCode, UsageError
from dsray_inspect.agent.explain import explain
from dsray_inspect.agent.incident.codec import Decoder, EncodedRecord, Encoder
from dsray_inspect.agent.incident.layout import (
    SAMPLE,
    WHY,
)
from dsray_inspect.agent.incident.publishing import Publisher
from dsray_inspect.agent.incident.replay import replay
from dsray_inspect.agent.incident.writer import IncidentWriter
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.text.command_hint import CommandHint
from dsray_inspect.agent.verdict import NO_HINT, judge
from tests.unit import (
    endings,
    samples,
    test_input_pipeline,
    test_network,
    test_process_exits,
    test_rendezvous,
    test_restart_loop,
    test_stall,
    test_stopped_and_gil,
    test_straggler,
    test_verdict,
)
from tests.unit.incidents import HEADER_ONLY, LINES, all_bytes, hung, run, two_samples, write
from tests.unit.samples import sample_of, waits

CASES = (
    test_input_pipeline,
    test_network,
    test_process_exits,
    test_rendezvous,
    test_restart_loop,
    test_stall,
    test_stopped_and_gil,
    test_straggler,
    test_verdict,
)


# The verdict


def cases() -> Iterator[tuple[ModuleType, Callable[[], None]]]:
    """Yield the tests of detectors that put samples together themselves."""
    for module in CASES:
        for name, test in sorted(vars(module).items()):
            is_test = name.startswith("test_") and inspect.isfunction(test)

            if is_test and not inspect.signature(test).parameters:
                yield module, test


def again(sample: AnalysisInput, change: Callable[[Observation], Observation]) -> AnalysisInput:
    """Return a sample and the one before it as they come out of a file."""
    encoder, decoder = Encoder(), Decoder()

    def from_file(observation: Observation) -> Observation:
        raw = msgspec.json.encode(encoder.encoded(change(observation), Observation))
        encoded = msgspec.json.decode(raw, type=EncodedRecord)
        found: Observation = decoder.decoded(encoded, Observation)
        return found

    earlier = sample.earlier

    if earlier is not None:
        before = assemble(from_file(earlier.observation))
        earlier = msgspec.structs.replace(before, advances=earlier.advances)

    return assemble(from_file(sample.observation), earlier=earlier)


@pytest.mark.parametrize(("module", "test"), list(cases()))
def test_each_case_of_the_detectors_is_judged_alike_from_a_file(
    module: ModuleType, test: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(sample: AnalysisInput, hint: CommandHint = NO_HINT) -> Snapshot:
        live = judge(sample, hint)
        filed = judge(again(sample, lambda observation: observation), hint)
        assert (filed.verdict, filed.findings) == (live.verdict, live.findings)
        assert (filed.graph, filed.workers) == (live.graph, live.workers)
        return live

    for judging in (samples, endings, *CASES):
        monkeypatch.setattr(judging, "judge", twice, raising=False)

    test()


@pytest.mark.parametrize(("module", "test"), list(cases()))
def test_each_case_of_the_detectors_has_the_same_cause_in_a_public_file(
    module: ModuleType, test: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(sample: AnalysisInput, hint: CommandHint = NO_HINT) -> Snapshot:
        live = judge(sample, hint)

        if not sample.snapshot.notes:
            publisher = Publisher()
            keep = msgspec.structs.replace(sample, earlier=_renamed(sample.earlier))
            filed = judge(again(keep, publisher.observation), hint)
            assert not live.verdict.differs_from(filed.verdict), filed.verdict

        return live

    for judging in (samples, endings, *CASES):
        monkeypatch.setattr(judging, "judge", twice, raising=False)

    test()


def _renamed(earlier: AnalysisInput | None) -> AnalysisInput | None:
    """Return the sample before without its advances: these go by the names of actors."""
    return earlier and msgspec.structs.replace(earlier, advances={})


def test_the_file_is_explained_as_the_run_was(incident: Path, tmp_path: Path) -> None:
    given = write(tmp_path / "again.dsray", two_samples())
    found = replay(incident)
    assert found.snapshots == tuple(given)
    assert found.explanation() == explain(tuple(given))
    assert found.last.verdict.cause == "rank_blocked_in_user_code"
    assert found.damage is None
    assert found.manifest is not None
    assert found.manifest.verdicts[-1].verdict == found.last.verdict


def test_what_samples_have_in_common_is_written_once(incident: Path) -> None:
    with zipfile.ZipFile(incident) as archive:
        first, second = (json.loads(archive.read(SAMPLE.format(number))) for number in (1, 2))

    assert set(first["observation"]["parts"]) == {"stacks", "groups", "jobs", "nodes", "processes"}
    assert second["observation"]["parts"] == {}


def test_a_file_grows_little_with_ranks(tmp_path: Path) -> None:
    """50 MB for 10,000 ranks are 5 KB a rank."""
    ranks, count = 400, 3
    observations = [sample_of(*map(waits, range(ranks))).observation for _ in range(count)]

    for number, observation in enumerate(observations):
        observation.taken_at = 100.0 + number

    path = tmp_path / "large.dsray"
    given = write(path, observations)
    assert path.stat().st_size < ranks * 1000
    assert replay(path).last == given[-1]


# Commands


def test_why_says_what_it_said(incident: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("why", "--json", "--from", str(incident)) == ExitCode.FINDINGS
    printed = json.loads(capfdbinary.readouterr().out)

    with zipfile.ZipFile(incident) as archive:
        assert printed == json.loads(archive.read(WHY))


def test_attach_prints_the_last_snapshot(
    incident: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run("attach", "--json", "--from", str(incident)) == ExitCode.FINDINGS
    out = capfdbinary.readouterr().out
    assert msgspec.json.decode(out, type=Snapshot) == replay(incident).last


def test_stacks_shows_the_end_of_a_log(
    incident: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run("stacks", "--from", str(incident), "--rank", "1", "--log", "--lines", "2")
    out = capfdbinary.readouterr().out.decode()
    assert "load_batch" in out
    assert [line for line in LINES if f"│ {line}\n" in out + "\n"] == list(LINES[-2:])


def test_a_rank_without_a_log_says_so(
    incident: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run("stacks", "--from", str(incident), "--rank", "0", "--log")
    assert "it is not in the incident file" in capfdbinary.readouterr().out.decode()


def test_env_reads_the_file(incident: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("env", "--json", "--from", str(incident)) == ExitCode.OK
    assert len(json.loads(capfdbinary.readouterr().out)["ranks"]) == 3


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("why", "--watch"), r"--watch needs the live job"),
        (("stacks", "--native"), r"--native needs the live job"),
        (("stacks", "--locals"), r"--locals needs the live job"),
        (("why", "j1"), r"j1 is live and --from .* is not"),
        (("why", "--local"), r"--local is live and --from .* is not"),
        (("env", "--address", "192.0.2.1:6379"), r"192.0.2.1:6379 is live"),
        (("attach", "--follow"), r"--follow needs a live job"),
    ],
)
def test_what_needs_the_live_job_is_refused(
    incident: Path, args: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        run(*args, "--from", str(incident))

    assert caught.value.help_text


# Writing


def test_a_recording_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), IncidentWriter(tmp_path / "x.dsray", HEADER_ONLY):
        raise RuntimeError

    assert list(tmp_path.iterdir()) == []


def test_only_its_owner_can_read_it_and_it_has_no_local_time(incident: Path) -> None:
    assert incident.stat().st_mode & 0o777 == 0o600

    with zipfile.ZipFile(incident) as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


def test_a_file_that_exists_is_not_overwritten(incident: Path) -> None:
    before = incident.read_bytes()

    with pytest.raises(UsageError, match="exists already"):
        IncidentWriter(incident, HEADER_ONLY)

    assert incident.read_bytes() == before


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written: No such file or directory"):
        IncidentWriter(tmp_path / "gone" / "x.dsray", HEADER_ONLY)


def test_a_full_file_takes_no_more_samples(tmp_path: Path) -> None:
    with IncidentWriter(tmp_path / "x.dsray", HEADER_ONLY, max_file_bytes=1000) as writer:
        assert not writer.is_full
        observation = hung(1.0)
        writer.add_sample(observation, None, assemble(observation).snapshot.verdict)
        assert writer.is_full


def test_a_variable_that_is_no_text_is_written_as_far_as_it_is(tmp_path: Path) -> None:
    observation = hung(1.0)
    given = {"ODD": "caf\udce9", "PLAIN": "1"}
    observation.job = msgspec.structs.replace(observation.job, runtime_env_vars=given)
    write(tmp_path / "x.dsray", [observation])
    assert b'"ODD":"caf?","PLAIN":"1"' in all_bytes(tmp_path / "x.dsray")
    assert replay(tmp_path / "x.dsray").damage is None


def test_what_ray_was_given_is_redacted(tmp_path: Path) -> None:
    observation = hung(1.0)
    given = {"WANDB_API_KEY": "0123456789abcdef", "PLAIN": "0123456789abcdef"}
    observation.job = msgspec.structs.replace(observation.job, runtime_env_vars=given)
    assert observation.actors is not None
    workers = tuple(
        msgspec.structs.replace(row, runtime_env_vars=given, raw=b"0123456789abcdef")
        for row in observation.actors.workers
    )
    observation.actors = msgspec.structs.replace(observation.actors, workers=workers)
    write(tmp_path / "x.dsray", [observation])
    unpacked = all_bytes(tmp_path / "x.dsray")
    assert b"0123456789abcdef" not in unpacked
    assert b"WANDB_API_KEY" in unpacked
