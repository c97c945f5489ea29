"""`dashboards DIR`: files that their readers can read, and nobody's work overwritten."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped, unused-ignore]
from click.testing import CliRunner, Result

from dsray_inspect.agent.cli import group
from dsray_inspect.agent.errors import UsageError

DASHBOARDS = {"dsray-agent", "dsray-hardware", "dsray-incident", "dsray-startup", "dsray-training"}


def run(folder: Path, *args: str) -> Result:
    return CliRunner().invoke(
        group, ["dashboards", str(folder), *args], standalone_mode=False, catch_exceptions=False
    )


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written = tmp_path / "monitoring"
    run(written)
    return written


def test_it_says_what_it_writes_and_writes_that(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "monitoring"
    said = {Path(line) for line in run(folder).stdout.splitlines()}
    there = {path for path in folder.rglob("*") if path.is_file()}
    assert said == there - {folder / ".dsray-inspect.json"}
    assert (folder / "prometheus" / "targets").is_dir()


def test_it_writes_again_only_what_differs(folder: Path) -> None:
    assert run(folder).stdout == ""
    again = run(folder, "--prometheus", "https://prom.example", "--json")
    said = json.loads(again.stdout)
    assert said["changed"] == ["grafana/provisioning/datasources/dsray.yml"]
    assert len(said["files"]) == 14
    assert said["schema_version"] == 1


def test_what_others_wrote_or_changed_stays(folder: Path) -> None:
    changed = folder / "prometheus" / "rules" / "alerts.yml"
    changed.write_text("groups: []\n")
    (folder / "compose.yml").unlink()

    with pytest.raises(UsageError, match=r"prometheus/rules/alerts\.yml\.$") as refused:
        run(folder)

    assert "--force" in refused.value.help_text
    assert changed.read_text() == "groups: []\n"
    assert not (folder / "compose.yml").exists(), "it writes all or nothing"
    assert str(changed) in run(folder, "--force").stdout
    assert "DsrayRunHung" in changed.read_text()
    assert run(folder).stdout == ""


def test_a_foreign_file_in_a_new_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text("services: {}\n")

    with pytest.raises(UsageError, match=r"compose\.yml"):
        run(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["compose.yml"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--prometheus", "localhost:9090"), "is not a URL"),
        (("--runbooks", "docs"), "is not a URL"),
        (("--ray-targets", "targets.json"), "is not the absolute path"),
    ],
)
def test_impossible_options_are_refused(tmp_path: Path, args: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        run(tmp_path / "new", *args)

    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match=r"cannot be"):
        run(tmp_path / "file" / "below")


def test_grafana_finds_its_dashboards(folder: Path) -> None:
    (providers,) = documents(folder / "grafana/provisioning/dashboards/dsray.yml")
    path = Path(providers["providers"][0]["options"]["path"])
    assert {json.loads(file.read_text())["uid"] for file in path.iterdir()} == DASHBOARDS
    (sources,) = documents(folder / "grafana/provisioning/datasources/dsray.yml")
    assert sources["datasources"][0]["type"] == "prometheus"


def test_kubernetes_gets_the_same_rules_and_dashboards(folder: Path) -> None:
    (rule,) = documents(folder / "kubernetes/prometheusrule.yml")
    plain = [
        each
        for name in ("recording.yml", "alerts.yml")
        for each in documents(folder / "prometheus" / "rules" / name)[0]["groups"]
    ]
    assert rule["spec"]["groups"] == plain
    assert rule["kind"] == "PrometheusRule"
    maps = documents(folder / "kubernetes/dashboards.yml")
    assert {config_map["metadata"]["labels"]["grafana_dashboard"] for config_map in maps} == {"1"}
    drawn = {name: text for config_map in maps for name, text in config_map["data"].items()}
    files = {path.name: path.read_text() for path in (folder / "grafana/dashboards").iterdir()}
    assert drawn == files
    (monitor,) = documents(folder / "kubernetes/podmonitor.yml")
    assert monitor["spec"]["podMetricsEndpoints"][0]["port"] == "dsray-metrics"


def test_compose_mounts_what_is_there(folder: Path) -> None:
    (compose,) = documents(folder / "compose.yml")

    for service in compose["services"].values():
        for volume in service["volumes"]:
            source, target, mode = volume.split(":")
            assert mode == "ro"
            assert target.startswith("/")
            assert source == "/tmp/ray" or (folder / source).is_dir()


def test_runbooks_are_where_they_are_said_to_be(folder: Path) -> None:
    run(folder, "--runbooks", "https://wiki.example/dsray/")
    text = (folder / "prometheus/rules/alerts.yml").read_text()
    assert "runbook_url: https://wiki.example/dsray/run-hung.md" in text
    assert "docs/runbooks" not in text


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool (Debian: prometheus)")
def test_promtool_takes_the_configuration(folder: Path) -> None:
    config = folder / "prometheus" / "prometheus.yml"
    done = subprocess.run(
        ["promtool", "check", "config", str(config)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
