"""`doctor` on real clusters: what it says attaching can see, attaching sees."""

from __future__ import annotations

import os

import msgspec
import pytest
import yaml  # type: ignore[import-untyped]

from dsray_inspect.agent.doctor.report import RUNGS, Diagnosis
from tests.ray.cluster import Cluster
from tests.ray.inspecting import our_actors
from tests.ray.jobs import Job
from tests.ray.messages import Done, expect_output
from tests.ray.users import TOLERATED

NO_PTRACE = ("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives rights away")


def run_doctor(cluster: Cluster, *before: str, flags: tuple[str, ...] = ()) -> Done:
    """Run the doctor, as another user or with fewer rights if `before` says so."""
    argv = ("dsray-inspect", "doctor", "--quiet", "--address", cluster.address, *flags)
    return cluster.run(*before, *argv)


def diagnosis_of(done: Done) -> Diagnosis:
    assert done.stderr == ""
    return msgspec.json.decode(done.stdout, type=Diagnosis)


def states_of(diagnosis: Diagnosis) -> dict[str, str]:
    (node,) = diagnosis.nodes
    return {name: node.rungs[name].state for name in RUNGS}


def test_a_whole_node(cluster: Cluster, healthy_job: Job) -> None:
    done = run_doctor(cluster)
    assert done.returncode == 0, done
    assert done.stdout.startswith("All evidence sources on 1 of 1 nodes.")

    diagnosis = diagnosis_of(run_doctor(cluster, flags=("--json",)))
    assert states_of(diagnosis) | {"gpu": ""} == dict.fromkeys(RUNGS, "ok") | {"gpu": ""}
    assert diagnosis.problem is None
    assert (diagnosis.cluster.ray, diagnosis.cluster.token) == (diagnosis.cluster.our_ray, "")
    (node,) = diagnosis.nodes
    assert node.hostname == os.uname().nodename
    assert node.gpu_slots == cluster.num_gpus
    assert node.facts is not None
    assert node.facts.target is not None
    assert node.facts.target.title.startswith("ray::")


def test_a_node_without_a_job(guarded_cluster: Cluster) -> None:
    done = run_doctor(guarded_cluster)
    assert done.returncode == 0, done
    assert done.stdout.splitlines()[0] == "All evidence sources on 1 of 1 nodes."
    assert "GPU" not in done.stdout.splitlines()[0]


def test_leaves_no_actor(cluster: Cluster) -> None:
    expect_output(run_doctor(cluster))
    cluster.wait_for("the doctor's actors to be gone", lambda: not our_actors(cluster))


def test_does_not_stop_the_job(cluster: Cluster, healthy_job: Job) -> None:
    expect_output(run_doctor(cluster))
    healthy_job.assert_moving()


@needs_root
def test_without_ptrace_rights(cluster: Cluster, healthy_job: Job) -> None:
    done = run_doctor(cluster, *NO_PTRACE)
    assert done.returncode == 0, done
    assert "no stacks from outside" in done.stdout
    assert "In-process reads answer there" in done.stdout
    assert "has capabilities that dsray-inspect lacks" in done.stdout

    diagnosis = diagnosis_of(run_doctor(cluster, *NO_PTRACE, flags=("--json",)))
    assert states_of(diagnosis) | {"gpu": ""} == {
        "gcs": "ok",
        "controller": "ok",
        "in_process": "ok",
        "stacks": "no",
        "native_stacks": "no",
        "memory": "no",
        "environ": "no",
        "gpu": "",
    }


@needs_root
def test_without_any_way_to_see(cluster: Cluster, healthy_job: Job) -> None:
    done = run_doctor(cluster, *NO_PTRACE, flags=("--no-inject",))
    assert done.returncode == 4
    assert "Ranks there cannot be inspected." in done.stdout
    blind = cluster.run(*NO_PTRACE, *attach(cluster, healthy_job), "--no-inject")
    assert blind.returncode == 4


def attach(cluster: Cluster, healthy_job: Job) -> tuple[str, ...]:
    return ("dsray-inspect", "attach", "--address", cluster.address, healthy_job.submission_id)


@needs_root
@pytest.mark.parametrize("place", ["pod", "machine"])
def test_as_another_user(cluster: Cluster, healthy_job: Job, place: str) -> None:
    pod = ("env", "KUBERNETES_SERVICE_HOST=10.96.0.1") if place == "pod" else ()
    diagnosis = diagnosis_of(run_doctor(cluster, *pod, *TOLERATED, flags=("--json",)))
    assert diagnosis.exit_code == 0
    (fix,) = [fix for fix in diagnosis.fixes if "the workers as user 0" in fix.what]

    if place == "pod":
        assert yaml.safe_load("\n".join(fix.lines)) == {
            "securityContext": {"runAsUser": 0, "runAsGroup": 0}
        }
    else:
        assert "user 0" in fix.lines[0]  # as user 0, or docker exec --user 0
