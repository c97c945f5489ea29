"""The recorder that a submitted job runs as its `sitecustomize`, in fresh processes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsray_inspect.agent.errors import UsageError
from dsray_inspect.agent.launchers.ray import submission as submission
from dsray_inspect.agent.remote import faultdump as faultdump
from dsray_inspect.agent.remote.startup_record import identity_of, start_record
from dsray_inspect.agent.startup.ranks import parse
from tests.ray.processes import wait_for

HOLDS_THE_GIL = """
import re
import dsray_inspect_guest as guest

def held_in_c():
    re.match(r"(a+)+$", "a" * 60 + "b")

guest.begin("train_func")
guest.record.record_rank()
print("ready", flush=True)
held_in_c()
"""


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A folder on whose path Python finds the recorder first."""
    return submission.staged(tmp_path).parent


def python(shipped: Path, code: str, *, more: str = "", **env: str) -> list[str]:
    return [
        "env",
        f"PYTHONPATH={shipped}{os.pathsep + more if more else ''}",
        "RAY_JOB_CONFIG_JSON_ENV_VAR={}",
        *(f"{name}={value}" for name, value in env.items()),
        sys.executable,
        "-c",
        code,
    ]


@contextlib.contextmanager
def ready(argv: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Give a process that has said "ready"; nothing of it is left afterwards."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()

            for path in Path("/dev/shm").glob(f"dsray-start-{process.pid}-*"):
                path.unlink(missing_ok=True)


def run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60)


def test_it_runs_before_anything_and_lets_the_images_own_run_too(
    shipped: Path, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "sitecustomize.py").write_text("import builtins\nbuiltins.theirs_ran = True\n")
    code = "import sys, sitecustomize; print(theirs_ran, sitecustomize.__file__, 'dsray_inspect_guest' in sys.modules)"
    done = run(python(shipped, code, more=str(theirs)))
    assert done.stderr == ""
    assert done.stdout.split() == ["True", str(theirs / "sitecustomize.py"), "True"]


def test_it_stays_out_of_other_processes_and_can_be_switched_off(shipped: Path) -> None:
    code = "import sys; print([type(one).__module__ for one in sys.meta_path])"
    plain = run(["env", f"PYTHONPATH={shipped}", sys.executable, "-c", code])
    off = run(python(shipped, code, DSRAY_INSPECT_DISABLE="1"))
    assert "sitecustomize" not in plain.stdout + off.stdout
    assert "sitecustomize" in run(python(shipped, code)).stdout


def test_a_failing_folder_costs_the_record_not_the_job(shipped: Path) -> None:
    code = (
        "import dsray_inspect_guest as guest; guest.FOLDERS = ('/proc/nowhere',); "
        "print(guest.begin('x'), guest.end(1), guest.forget())"
    )
    done = run(python(shipped, code))
    assert (done.stdout.split(), done.stderr) == (["None", "None", "None"], "")


def test_a_full_record_counts_what_it_lost(shipped: Path) -> None:
    code = (
        "import os, dsray_inspect_guest as guest\n"
        "for number in range(5000): guest.begin(f'span {number}')\n"
        "guest.record.write_head()\n"
        "print(os.path.getsize(guest.record.paths[0]), open(guest.record.paths[0]).read())"
    )
    size, _, text = run(python(shipped, code)).stdout.partition(" ")
    start = parse(text)
    assert int(size) <= 60 * 1024
    assert start is not None
    assert start.lost == 5000 - len(start.spans) > 0


def test_a_forked_child_writes_nothing_and_removes_nothing(shipped: Path) -> None:
    code = (
        "import os, dsray_inspect_guest as guest\n"
        "guest.begin('parent')\n"
        "if os.fork() == 0: guest.begin('child'); guest.forget(); os._exit(0)\n"
        "os.wait()\n"
        "print(open(guest.record.paths[0]).read())"
    )
    start = parse(run(python(shipped, code)).stdout)
    assert start is not None
    assert [span.name for span in start.spans] == ["parent"]


def test_files_go_with_the_process(shipped: Path) -> None:
    code = "import dsray_inspect_guest as guest; guest.begin('x'); print(*guest.record.paths)"
    paths = run(python(shipped, code)).stdout.split()
    assert len(paths) == 2
    assert not any(Path(path).exists() for path in paths)


def test_stacks_come_by_signal_while_the_gil_is_held(shipped: Path) -> None:
    with ready(python(shipped, HOLDS_THE_GIL, RANK="3")) as process:

        def held() -> bool:
            answer = faultdump.dump(process.pid)
            assert answer is not None
            assert "json" in answer, answer
            threads = json.loads(answer["json"])
            (main,) = [thread for thread in threads if thread["thread_name"] == "MainThread"]
            return "held_in_c" in [frame["name"] for frame in main["frames"]]

        wait_for("the process is in the regular expression", held)
        assert identity_of(start_record(process.pid) or "") == {"RANK": "3"}
        assert held(), "only once"
        assert process.poll() is None


def test_a_process_that_does_not_catch_the_signal_gets_none(shipped: Path) -> None:
    code = (
        "import time, faulthandler, dsray_inspect_guest as guest\n"
        "guest.begin('x'); faulthandler.unregister(guest.record.head['signal'])\n"
        "print('ready', flush=True); time.sleep(60)"
    )

    with ready(python(shipped, code)) as process:
        answer = faultdump.dump(process.pid)
        assert answer is not None
        assert "does not catch" in answer["detail"]
        assert process.poll() is None


def test_patches_go_by_identity_and_leave_what_others_put_on_top(shipped: Path) -> None:
    code = """
import types, dsray_inspect_guest as guest

def work(): return 1
module = types.ModuleType("deepspeed"); module.initialize = work
other = types.ModuleType("deepspeed.comm.comm"); other.init_distributed = work
guest.time_module(module); guest.time_module(other)
assert module.initialize is not work and module.initialize() == 1
ours = other.init_distributed
def theirs(): return ours()
other.init_distributed = theirs
guest.leave()
print(module.initialize is work, other.init_distributed is theirs, other.init_distributed())
"""
    done = run(python(shipped, code))
    assert (done.stdout.split(), done.stderr) == (["True", "True", "1"], "")


def test_errors_of_the_jobs_own_pass_through(shipped: Path) -> None:
    code = """
import types, dsray_inspect_guest as guest
def fail(): raise KeyError("theirs")
module = types.ModuleType("deepspeed"); module.initialize = fail
guest.time_module(module)
try: module.initialize()
except KeyError as error: print(error.args[0])
"""
    assert run(python(shipped, code)).stdout.split() == ["theirs"]


def test_the_users_runtime_env_is_added_to_not_written_over(tmp_path: Path) -> None:
    module = tmp_path / "sitecustomize"
    users = {
        "working_dir": "s3://bucket/code.zip",
        "py_modules": ["gcs://_ray_pkg_theirs.zip"],
        "env_vars": {"A": "1", "RAY_OVERRIDE_JOB_RUNTIME_ENV": "0"},
        "worker_process_setup_hook": "theirs.hook",
    }
    assert submission.with_recorder(users, module) == {
        **users,
        "py_modules": ["gcs://_ray_pkg_theirs.zip", str(module)],
        "env_vars": {"A": "1", "RAY_OVERRIDE_JOB_RUNTIME_ENV": "0"},
    }


def test_options_of_the_runtime_env_are_taken_out_in_all_their_forms() -> None:
    kept, given = submission.taken_out(
        ["--no-wait", "--runtime-env-json={}", "--working-dir", ".", "--submission-id", "j1"]
    )
    assert kept == ["--no-wait", "--submission-id", "j1"]
    assert given == {"--runtime-env-json": "{}", "--working-dir": "."}

    with pytest.raises(UsageError, match="needs a value"):
        submission.taken_out(["--runtime-env"])


def test_the_recorder_is_one_small_file_of_the_standard_library(shipped: Path) -> None:
    assert [path.name for path in (shipped / "sitecustomize").iterdir()] == ["__init__.py"]
    code = "import sys; print(*[n for n in sys.modules if n.split('.')[0] in ('ray', 'torch', 'msgspec')])"
    assert run(python(shipped, code)).stdout.strip() == ""


def test_a_driver_takes_the_files_of_its_killed_workers_along(shipped: Path) -> None:
    """Ray kills ranks and controller when a job is stopped."""
    worker = python(
        shipped,
        "import time, dsray_inspect_guest as guest; guest.begin('x'); print('ready', flush=True); "
        "time.sleep(60)",
        RAY_JOB_ID="0f000000",
    )

    with ready(worker) as process:
        process.kill()
        process.wait()
        left = list(Path("/dev/shm").glob(f"dsray-start-{process.pid}-*"))
        assert len(left) == 2
        driver = "import dsray_inspect_guest as guest; guest.begin('fit')"
        run(python(shipped, driver, RAY_JOB_ID="ff000000"))
        assert all(path.exists() for path in left)
        run(python(shipped, driver, RAY_JOB_ID="0f000000"))
        assert not any(path.exists() for path in left)


def test_what_the_dead_left_is_swept_when_it_is_old(shipped: Path) -> None:
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True
    )
    old = Path(f"/dev/shm/dsray-start-{int(gone.stdout)}-1")
    old.write_text("{}")
    os.utime(old, (time.time() - 7200,) * 2)

    try:
        run(python(shipped, "import dsray_inspect_guest as guest; guest.begin('x')"))
        assert not old.exists()
    finally:
        old.unlink(missing_ok=True)
