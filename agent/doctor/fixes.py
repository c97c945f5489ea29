"""Maps a node's failed checks to the commands or YAML that fix them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dsray_inspect.agent.doctor.report import SYS_PTRACE, Fix, NodeAccess, NodeCheck, ProcessRights
from dsray_inspect.agent.model import OK

KUBERAY_PTRACE = """\
# RayCluster: in headGroupSpec and in each of workerGroupSpecs
template:
  spec:
    containers:
      - name: ray-worker          # the name of the Ray container
        securityContext:
          capabilities:
            add: [SYS_PTRACE]"""
KUBERAY_SIDECAR = """\
# RayCluster: in headGroupSpec and in each of workerGroupSpecs
template:
  spec:
    shareProcessNamespace: true
    containers:
      - name: ray-worker          # the name of the Ray container
        volumeMounts: [{name: ray, mountPath: /tmp/ray}]
      - name: dsray-inspect
        image: IMAGE              # the image of the Ray container, with dsray-inspect
        command: [sleep, infinity]
        securityContext:
          runAsUser: {uid}
          capabilities:
            add: [SYS_PTRACE]
        volumeMounts: [{name: ray, mountPath: /tmp/ray}]
    volumes: [{name: ray, emptyDir: {}}]"""
_SYSCTL = (
    "# or an admin on the machine, until its next boot; dsray-inspect never does this itself",
    "sysctl kernel.yama.ptrace_scope=0",
)
SETCAP = (
    "# without root in the container, also add to the image's Dockerfile:",
    "RUN setcap cap_sys_ptrace+ep $(command -v py-spy)",
)
_REBOOT = (
    "# it cannot be lowered at run time: an admin has to set it and reboot",
    "echo kernel.yama.ptrace_scope={scope} > /etc/sysctl.d/10-ptrace.conf",
)
_KUBERAY_GPU = """\
# RayCluster: in the groups with GPUs
template:
  spec:
    runtimeClassName: nvidia
    containers:
      - name: ray-worker          # the name of the Ray container
        env: [{name: NVIDIA_DRIVER_CAPABILITIES, value: 'compute,utility'}]
        resources:
          limits: {nvidia.com/gpu: {slots}}"""
_KUBERAY_UNCONFINED = """\
# RayCluster: in headGroupSpec and in each of workerGroupSpecs
template:
  spec:
    containers:
      - name: ray-worker          # the name of the Ray container
        securityContext:
          seccompProfile: {type: Unconfined}
          appArmorProfile: {type: Unconfined}"""
_ONLY_NUMBERS = "# nothing to do if the slots are virtual (`ray start --num-gpus`)"
_AS_RAY = "# run dsray-inspect with the same user and capabilities as Ray, or as root"
_YAMA = {
    1: "a process may read only its own descendants",
    2: "only SYS_PTRACE may read other processes",
    3: "no process may read others until the machine reboots",
}


def fixes(nodes: Iterable[NodeAccess]) -> tuple[Fix, ...]:
    """Return the fixes, most important first; a fix for several nodes appears once."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}

    for node in nodes:
        for what, lines in _node_fixes(node):
            found.setdefault((what, lines), []).append(node.hostname)

    return tuple(
        Fix(nodes=tuple(names), what=what, lines=lines) for (what, lines), names in found.items()
    )


def _node_fixes(node: NodeAccess) -> Iterator[tuple[str, tuple[str, ...]]]:
    facts = node.facts

    if facts is None:
        yield _no_agent(node)
    else:
        if node.rungs["2"].state == "no":
            yield _no_calls(node)

        if facts.stacks != OK or facts.environ != OK:
            yield _no_outside_reads(facts)

        if facts.sched != OK and facts.target is not None:
            yield _no_sched(facts)

        if node.rungs["gpu"].state == "no":
            yield _no_gpu(facts, node.gpu_slots)


def _no_agent(node: NodeAccess) -> tuple[str, tuple[str, ...]]:
    return (
        f"The node agent does not answer: {node.rungs['3'].why}.",
        (
            "ray status --verbose        # is the node alive, and does it have free memory?",
            f"ray list nodes --filter node_id={node.node_id}",
        ),
    )


def _no_calls(node: NodeAccess) -> tuple[str, tuple[str, ...]]:
    return (
        f"Calls into actors fail: {node.rungs['2'].why}.",
        ("dsray-inspect attach --no-inject        # reads from outside only",),
    )


def _no_outside_reads(facts: NodeCheck) -> tuple[str, tuple[str, ...]]:
    """Return why processes cannot be read from outside."""
    if facts.target is None:
        return _no_target(facts)

    if facts.pyspy is None and facts.environ == OK:
        return "py-spy is not installed.", (f"{facts.python or 'python3'} -m pip install py-spy",)

    if not facts.is_denied:
        why = facts.stacks if facts.stacks != OK else facts.environ
        python = facts.python or "python3"
        return f"Reading a worker from outside fails: {why}.", (
            f"{python} -m pip install --upgrade py-spy",
        )

    what, lines = _denied(facts, facts.target)

    if facts.pyspy is None:
        lines = (f"{facts.python or 'python3'} -m pip install py-spy", *lines)

    return what, lines


def _no_target(facts: NodeCheck) -> tuple[str, tuple[str, ...]]:
    """Return why Ray's processes are not visible in /proc."""
    if facts.hidepid:
        return (
            f"/proc hides other users' processes (hidepid={facts.hidepid}).",
            (
                "# run dsray-inspect as the user who started Ray, or let an admin run:",
                "mount -o remount,hidepid=0 /proc",
            ),
        )

    if facts.raylet is not None:
        return "The raylet has no Python worker yet to test with.", (
            "dsray-inspect doctor        # again, while a job runs",
        )

    return (
        "Ray's processes are in another pid namespace: this is a separate container.",
        beside(facts.container, facts.me.uid),
    )


def beside(container: str, uid: int) -> tuple[str, ...]:
    """Return how to share Ray's processes and files with a separate container."""
    if container == "kubernetes":
        return tuple(KUBERAY_SIDECAR.replace("{uid}", str(uid)).split("\n"))

    return (
        "docker exec -it RAY dsray-inspect doctor        # inside Ray's container, named RAY here",
        "# or in a second container, with Ray's /tmp/ray as a volume of both:",
        "docker run --pid=container:RAY --network=container:RAY --volumes-from RAY \\",
        "  --cap-add SYS_PTRACE …",
    )


def _denied(facts: NodeCheck, target: ProcessRights) -> tuple[str, tuple[str, ...]]:
    """Return why the kernel denies reading a worker, in the order of the kernel's own checks."""
    me, worker = facts.me, f"pid {target.pid} ({target.title})"

    if facts.yama == 3:
        scope = "1" if me.may_ptrace else "0"
        lines = (_REBOOT[0], _REBOOT[1].replace("{scope}", scope))
        return f"{_sentence(_YAMA[3])} (kernel.yama.ptrace_scope=3).", lines

    if not me.may_ptrace and me.uid != target.uid:
        return (
            f"dsray-inspect runs as user {me.uid} without SYS_PTRACE, the workers as user {target.uid}.",
            _same_user(facts, target.uid),
        )

    if not me.may_ptrace and facts.yama:
        return (
            f"{_sentence(_YAMA[facts.yama])} (kernel.yama.ptrace_scope={facts.yama}), and SYS_PTRACE is missing.",
            (*_grant(facts), "", *_SYSCTL),
        )

    if not me.may_ptrace and target.may_ptrace:
        return (
            f"{_sentence(worker)} has CAP_SYS_PTRACE but dsray-inspect does not.",
            (_AS_RAY,),
        )

    if not me.may_ptrace and target.cap_permitted & ~me.cap_permitted:
        return (
            f"{_sentence(worker)} has capabilities that dsray-inspect lacks: reading it requires SYS_PTRACE.",
            _grant(facts),
        )

    if (
        None not in (me.user_namespace, target.user_namespace)
        and me.user_namespace != target.user_namespace
    ):
        return f"The workers are in another user namespace, so {worker} cannot be read.", _grant(
            facts
        )

    if me.seccomp == 2:
        return (
            "A seccomp filter blocks reading other processes.",
            _grant(facts) if not me.may_ptrace else _unconfined(facts),
        )

    return (
        f"The kernel denies reading {worker}; AppArmor or SELinux may be the reason.",
        _grant(facts) if not me.may_ptrace else _unconfined(facts),
    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _same_user(facts: NodeCheck, uid: int) -> tuple[str, ...]:
    if facts.container == "kubernetes":
        return (
            "# in the container of dsray-inspect, as in Ray's:",
            "securityContext:",
            f"  runAsUser: {uid}",
        )

    if facts.container:
        return (f"docker exec --user {uid} -it CONTAINER dsray-inspect doctor",)

    return (f"# as user {uid}:", "dsray-inspect doctor")


def _grant(facts: NodeCheck) -> tuple[str, ...]:
    """Return how to obtain SYS_PTRACE here."""
    is_unprivileged = facts.me.uid != 0

    if facts.container == "kubernetes":
        in_bounds = bool(facts.me.cap_bounding & SYS_PTRACE)
        patch = () if in_bounds else (*KUBERAY_PTRACE.split("\n"), "")
        return (*patch, *SETCAP) if is_unprivileged else patch[:-1] or (_AS_RAY,)

    if facts.container:
        return (
            "docker run --cap-add SYS_PTRACE …        # the container that Ray runs in",
            *(SETCAP if is_unprivileged else ()),
        )

    return (_AS_RAY,)


def _unconfined(facts: NodeCheck) -> tuple[str, ...]:
    if facts.container == "kubernetes":
        return tuple(_KUBERAY_UNCONFINED.split("\n"))

    return ("docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined …",)


def _no_sched(facts: NodeCheck) -> tuple[str, tuple[str, ...]]:
    return (
        f"The idle time of ranks is unknown: {facts.sched}.",
        ("# the kernel lacks CONFIG_SCHED_DEBUG, or this is a sandbox such as gVisor",),
    )


def _no_gpu(facts: NodeCheck, slots: int) -> tuple[str, tuple[str, ...]]:
    what = f"Ray has GPU slots there, but no GPU can be read: {facts.gpu_why}."

    if facts.lacks_nvml:
        return what, (f"{facts.python or 'python3'} -m pip install nvidia-ml-py",)

    if facts.container == "kubernetes":
        patch = _KUBERAY_GPU.replace("{slots}", str(slots))
        return what, (*patch.split("\n"), _ONLY_NUMBERS)

    if facts.container:
        return what, (
            "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility …",
            _ONLY_NUMBERS,
        )

    return what, ("nvidia-smi        # check the driver", _ONLY_NUMBERS)
