"""Incident files: what was judged live is judged the same offline, and no file is a trap."""

from __future__ import annotations

import inspect
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsray_inspect.agent.assemble.snapshot import AnalysisInput, assemble
from dsray_inspect.agent.cli import group
from dsray_inspect.agent.errors import ExitCode, UsageError
from dsray_inspect.agent.explain import explain
from dsray_inspect.agent.incident.codec import Decoder, EncodedRecord, Encoder
from dsray_inspect.agent.incident.layout import (
    HEADER,
    MANIFEST,
    MAX_PART_BYTES,
    SAMPLE,
    VERSION,
    WHY,
    Header,
)
from dsray_inspect.agent.incident.parts import Damaged
from dsray_inspect.agent.incident.publishing import Publisher
from dsray_inspect.agent.incident.replay import replay
from dsray_inspect.agent.incident.writer import IncidentWriter
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.text.command_hint import CommandHint
from dsray_inspect.agent.verdict import NO_HINT, judge
from tests.unit import test_histories, test_input_pipeline, test_verdict
from tests.unit.incidents import LINES, TOOL, all_bytes, hung, two_samples, write
from tests.unit.test_histories import waits
from tests.unit.test_verdict import look

CASES = (test_histories, test_verdict, test_input_pipeline)
HEADER_ONLY = Header(tool=TOOL, began_at=1.0, public=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hang.dsray"
    write(path, two_samples())
    return path


def run(*args: str) -> ExitCode:
    code: ExitCode = group.main(args, standalone_mode=False)
    return code


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

    for one in CASES:
        monkeypatch.setattr(one, "judge", twice, raising=False)

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

    for one in CASES:
        monkeypatch.setattr(one, "judge", twice, raising=False)

    test()


def _renamed(earlier: AnalysisInput | None) -> AnalysisInput | None:
    """Return the sample before without its advances: these go by the names of actors."""
    return earlier and msgspec.structs.replace(earlier, advances={})


def test_the_file_is_explained_as_the_run_was(file: Path, tmp_path: Path) -> None:
    given = write(tmp_path / "again.dsray", two_samples())
    found = replay(file)
    assert found.snapshots == tuple(given)
    assert found.explanation() == explain(tuple(given))
    assert found.last.verdict.cause == "rank_blocked_in_user_code"
    assert found.damage is None
    assert found.manifest is not None
    assert found.manifest.verdicts[-1].verdict == found.last.verdict


def test_what_samples_have_in_common_is_written_once(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        first, second = (json.loads(archive.read(SAMPLE.format(number))) for number in (1, 2))

    assert set(first["observation"]["parts"]) == {"stacks", "groups", "jobs", "nodes", "processes"}
    assert second["observation"]["parts"] == {}


def test_a_file_grows_little_with_ranks(tmp_path: Path) -> None:
    """50 MB for 10,000 ranks are 5 KB a rank."""
    ranks, samples = 400, 3
    observations = [look(*map(waits, range(ranks))).observation for _ in range(samples)]

    for number, observation in enumerate(observations):
        observation.taken_at = 100.0 + number

    path = tmp_path / "large.dsray"
    given = write(path, observations)
    assert path.stat().st_size < ranks * 1000
    assert replay(path).last == given[-1]


# Commands


def test_why_says_what_it_said(file: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("why", "--json", "--from", str(file)) == ExitCode.FINDINGS
    printed = json.loads(capfdbinary.readouterr().out)

    with zipfile.ZipFile(file) as archive:
        assert printed == json.loads(archive.read(WHY))


def test_attach_prints_the_last_snapshot(
    file: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run("attach", "--json", "--from", str(file)) == ExitCode.FINDINGS
    out = capfdbinary.readouterr().out
    assert msgspec.json.decode(out, type=Snapshot) == replay(file).last


def test_stacks_shows_the_end_of_a_log(
    file: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run("stacks", "--from", str(file), "--rank", "1", "--log", "--lines", "2")
    out = capfdbinary.readouterr().out.decode()
    assert "load_batch" in out
    assert [line for line in LINES if f"│ {line}\n" in out + "\n"] == list(LINES[-2:])


def test_a_rank_without_a_log_says_so(
    file: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run("stacks", "--from", str(file), "--rank", "0", "--log")
    assert "it is not in the incident file" in capfdbinary.readouterr().out.decode()


def test_env_reads_the_file(file: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("env", "--json", "--from", str(file)) == ExitCode.OK
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
    file: Path, args: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        run(*args, "--from", str(file))

    assert caught.value.help_text


# Writing


def test_a_recording_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), IncidentWriter(tmp_path / "x.dsray", HEADER_ONLY):
        raise RuntimeError

    assert list(tmp_path.iterdir()) == []


def test_only_its_owner_can_read_it_and_it_has_no_local_time(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600

    with zipfile.ZipFile(file) as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


def test_a_file_that_exists_is_not_overwritten(file: Path) -> None:
    before = file.read_bytes()

    with pytest.raises(UsageError, match="exists already"):
        IncidentWriter(file, HEADER_ONLY)

    assert file.read_bytes() == before


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


# What is no file of ours, or not all of one


def error_of(path: Path) -> UsageError:
    with pytest.raises(UsageError) as caught:
        replay(path)

    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert caught.value.help_text
    assert caught.value.exit_code == ExitCode.USAGE
    return caught.value


def rewritten(path: Path, **parts: bytes | None) -> Path:
    """Write the parts of a file anew, with others in their place, or without them."""
    with zipfile.ZipFile(path) as archive:
        known = {name: archive.read(name) for name in archive.namelist()}

    other = path.with_name("other.dsray")

    with zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**known, **parts}.items():
            if data is not None:
                archive.writestr(name, data)

    return other


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert "cannot be read: No such file or directory" in str(error_of(tmp_path / "x.dsray"))


def test_a_folder_is_told(tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" in str(error_of(tmp_path))


@pytest.mark.parametrize("data", [b"", b"{}\n", b"PK\x05\x06" + bytes(18), b"\x7fELF" * 50])
def test_a_foreign_file_is_told(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.dsray"
    path.write_bytes(data)
    assert "is no incident file of dsray-inspect" in str(error_of(path))


def test_another_zip_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.dsray"

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")

    assert "is no incident file of dsray-inspect" in str(error_of(path))


def test_a_newer_format_is_told(file: Path) -> None:
    newer = msgspec.structs.replace(HEADER_ONLY, version=VERSION + 1)
    path = rewritten(file, **{HEADER: msgspec.json.encode(newer)})
    assert f"has format {VERSION + 1}, and this dsray-inspect reads {VERSION}" in str(
        error_of(path)
    )


def test_what_a_newer_version_adds_is_ignored_and_told(
    file: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    with zipfile.ZipFile(file) as archive:
        sample = json.loads(archive.read(SAMPLE.format(2)))

    sample["observation"]["parts"]["news"] = [1]
    sample["observation"]["record"]["news"] = {"a": [1]}
    sample["observation"]["record"]["job"] = 0
    sample["observation"]["record"]["ranks"]["a0"]["news"] = 1
    sample["news"] = None
    news = {SAMPLE.format(2): json.dumps(sample).encode(), "news.json": b"{}"}
    path = rewritten(file, **news)
    assert replay(path).snapshots == replay(file).snapshots
    assert replay(path).unknown == ("news.json",)
    run("why", "--from", str(path))
    assert b"parts that this dsray-inspect does not know: news.json" in capfdbinary.readouterr().err


def test_a_file_that_is_cut_off_gives_what_is_whole(
    file: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    data, path = file.read_bytes(), file.with_name("cut.dsray")
    whole = replay(file)
    kept = set()

    for end in range(0, len(data), 97):
        path.write_bytes(data[:end])

        try:
            found = replay(path)
        except UsageError:
            error_of(path)
        else:
            kept.add(len(found.snapshots))
            assert found.snapshots == whole.snapshots[: len(found.snapshots)]

    assert kept == {1, 2}
    path.write_bytes(data[: data.index(SAMPLE.format(2).encode()) + 100])
    assert run("why", "--from", str(path)) == ExitCode.FINDINGS
    assert b"is cut off; this is what could be read of it." in capfdbinary.readouterr().err


def test_a_file_without_a_sample_is_told(file: Path) -> None:
    without = rewritten(file, **{SAMPLE.format(number): None for number in (1, 2)})
    assert "holds no sample" in str(error_of(without))
    file.write_bytes(file.read_bytes()[:300])
    assert "is cut off before its first sample ends" in str(error_of(file))


@pytest.mark.parametrize("claimed", [MAX_PART_BYTES + 1, 1000, 5_000_000])
def test_a_bomb_is_not_unpacked(file: Path, claimed: int) -> None:
    """A part of many zeros, whatever size it claims to have."""
    name, zeros = SAMPLE.format(1).encode(), bytes(200_000_000)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(zeros) + packer.flush()
    path = file.with_name("bomb.dsray")

    with zipfile.ZipFile(file) as archive:
        header = archive.read(HEADER)

    local = struct.pack(
        "<4sHHHHHLLLHH", b"PK\3\4", 20, 0, 8, 0, 0, 0, len(packed), claimed, len(name), 0
    )

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(HEADER, header)

    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"PK\1\2")] + local + name + packed)
    assert "is damaged before its first sample ends" in str(error_of(path))


def test_a_part_of_too_many_values_is_not_decoded(file: Path) -> None:
    many = b'{"observation":{"record":[' + b"[]," * 7_000_000 + b"[]]}}"
    assert "is damaged" in str(error_of(rewritten(file, **{SAMPLE.format(1): many})))


def test_deep_nesting_is_damage(file: Path) -> None:
    deep = b'{"observation":{"record":' + b"[" * 500_000 + b"]" * 500_000 + b"}}"
    assert "is damaged" in str(error_of(rewritten(file, **{SAMPLE.format(1): deep})))


def test_a_part_that_is_missing_is_damage(file: Path) -> None:
    """The second sample refers to what the first one has."""
    path = rewritten(file, **{SAMPLE.format(1): None})
    assert "is damaged before its first sample ends" in str(error_of(path))


def whole_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file for all examples of a test, which hypothesis gives one fixture."""
    whole = tmp_path_factory.getbasetemp() / "whole.dsray"

    if not whole.exists():
        write(whole, two_samples())

    return whole


@given(data=st.data())
def test_no_bytes_raise_anything_but_one_sentence(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = whole_file(tmp_path_factory)
    raw = bytearray(whole.read_bytes())

    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] = data.draw(st.integers(0, 255))

    path = whole.with_name("mutated.dsray")
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])

    assert is_read_or_refused(path)


@given(data=st.data())
def test_no_change_of_the_json_raises_anything_but_one_sentence(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = whole_file(tmp_path_factory)
    with zipfile.ZipFile(whole) as archive:
        name = data.draw(st.sampled_from(archive.namelist()))
        text = bytearray(archive.read(name))

    place = data.draw(st.integers(0, len(text) - 1))
    text[place : place + data.draw(st.integers(0, 3))] = data.draw(
        st.sampled_from([b"0", b"null", b"-1", b'"x"', b"[]", b"{}", b"1e999", b"9" * 30, b"\xff"])
    )
    path = rewritten(whole, **{name: bytes(text)})

    assert is_read_or_refused(path)


def is_read_or_refused(path: Path) -> bool:
    try:
        return bool(replay(path).snapshots)
    except UsageError as error:
        return error.help_text != ""


def test_damage_says_where_it_is(file: Path) -> None:
    path = rewritten(file, **{MANIFEST: b"{"})
    assert replay(path).damage == Damaged("damaged", MANIFEST)
