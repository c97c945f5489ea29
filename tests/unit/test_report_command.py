"""`report` as a command: where the page goes, what is refused, and what a public one keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from dsray_inspect.agent.errors import ExitCode, UsageError
from dsray_inspect.agent.report.document import ReportDocument
from tests.unit import reports
from tests.unit.incidents import run
from tests.unit.reports import Page, write_file
from tests.unit.test_public_incident import PLANTED

# The command


def test_a_page_is_written_for_its_owner(changing_file: Path, capfd: Any) -> None:
    page = changing_file.with_name("x.html")
    assert run("report", str(changing_file), "-o", str(page)) == ExitCode.OK
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("HUNG: Rank 1 has been blocked in load_batch (train.py:20)")
    assert f"{page}: " in err
    assert page.stat().st_mode & 0o777 == 0o600
    assert sorted(one.name for one in page.parent.iterdir()) == ["hang.dsray", "x.html"]
    assert page.read_text().startswith("<!doctype html>")


def test_without_a_file_it_goes_to_a_pipe(changing_file: Path, capfd: Any) -> None:
    assert run("report", str(changing_file), "--format", "folded") == ExitCode.OK
    out, err = capfd.readouterr()
    assert out.endswith("teach (train.py);load_batch (train.py) 2000\n")
    assert err == ""


def test_nothing_is_overwritten(changing_file: Path) -> None:
    before = changing_file.read_bytes()

    with pytest.raises(UsageError, match=r"hang\.dsray exists already and is not overwritten\."):
        run("report", str(changing_file), "-o", str(changing_file))

    assert changing_file.read_bytes() == before


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--seconds", "3"), "--seconds is for a live job, and .* is a file"),
        (("--local",), "--local is for a live job"),
        (("--address", "192.0.2.1:6379"), "--address is for a live job"),
        (("-o", "/nowhere/x.html"), "The folder /nowhere does not exist or is not writable"),
        (("--format", "yaml"), "has no format yaml; it has folded, html, json and speedscope"),
    ],
)
def test_what_cannot_be_is_told(changing_file: Path, args: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run("report", str(changing_file), *args)


def test_a_page_is_not_written_to_a_terminal(
    changing_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)

    with pytest.raises(UsageError, match="A page needs a file"):
        run("report", str(changing_file))


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file or directory"):
        run("report", str(tmp_path / "gone.dsray"), "-o", str(tmp_path / "x.html"))

    (tmp_path / "notes.txt").write_text("hello")

    with pytest.raises(UsageError, match="is no incident file of dsray-inspect"):
        run("report", str(tmp_path / "notes.txt"), "-o", str(tmp_path / "x.html"))

    assert not (tmp_path / "x.html").exists()


def test_what_is_missing_of_a_damaged_file_is_told(changing_file: Path, capfd: Any) -> None:
    changing_file.write_bytes(changing_file.read_bytes()[:-1500])
    page = changing_file.with_name("x.html")
    assert run("report", str(changing_file), "-o", str(page)) == ExitCode.OK
    assert "is cut off; this is what could be read of it." in capfd.readouterr().err
    assert "The incident file is cut off" in Page(page.read_text()).text


# Public reports


@pytest.mark.parametrize("name", ["html", "json", "folded", "speedscope"])
def test_a_public_report_of_a_private_file_names_nothing(
    tmp_path: Path, name: str, capfdbinary: Any
) -> None:
    file = write_file(tmp_path / "x.dsray", reports.planted(), log="plant-log")
    run("report", str(file), "--format", name)
    assert PLANTED.search(capfdbinary.readouterr().out) is not None
    run("report", str(file), "--format", name, "--public")
    found = capfdbinary.readouterr().out
    assert PLANTED.search(found) is None
    assert b"function-" in found


def test_a_public_file_stays_as_it_is(tmp_path: Path, capfdbinary: Any) -> None:
    file = write_file(tmp_path / "x.dsray", reports.changing(), public=True)
    run("report", str(file), "--json")
    plain = capfdbinary.readouterr().out
    run("report", str(file), "--json", "--public")
    assert capfdbinary.readouterr().out == plain
    assert json.loads(plain)["public"] is True


def test_the_report_has_the_fields_that_the_manual_names() -> None:
    text = (Path(__file__).parents[2] / "docs" / "commands" / "report.md").read_text()
    assert [name for name in get_type_hints(ReportDocument) if f"`{name}`" not in text] == []
