"""From what a node's look found to what to paste, so that the missing rung answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dsray_inspect.agent.doctor.report import SYS_PTRACE, Fix, NodeCheck, NodeReport, ProcessRights
from dsray_inspect.agent.model import OK

KUBERAY_PTRACE = """\
# RayCluster: in headGroupSpec and in each of workerGroupSpecs
template:
  spec:
    containers:
      - name: ray-worker          # the Ray container, as it is called there
        securityContext:
          capabilities:
            add: [SYS_PTRACE]"""
KUBERAY_SIDECAR = """\
# RayCluster: in headGroupSpec and in each of workerGroupSpecs
template:
  spec:
    shareProcessNamespace: true
    containers:
      - name: ray-worker          # the Ray container, as it is called there
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
SYSCTL = (
    "# or an admin, on the machine, until its next boot; dsray-inspect never does it",
    "sysctl kernel.yama.ptrace_scope=0",
)
SETCAP = (
    "# not root in the container: then in the image's Dockerfile too",
    "RUN setcap cap_sys_ptrace+ep $(command -v py-spy)",
)
REBOOT = (
    "# it cannot be lowered while the machine runs: an admin sets it, and boots",
    "echo kernel.yama.ptrace_scope={scope} > /etc/sysctl.d/10-ptrace.conf",
)
KUBERAY_GPU = """\
# RayCluster: in the groups with GPUs
template:
  spec:
    runtimeClassName: nvidia
    containers:
      - name: ray-worker          # the Ray container, as it is called there
        env: [{name: NVIDIA_DRIVER_CAPABILITIES, value: 'compute,utility'}]
        resources:
          limits: {nvidia.com/gpu: {slots}}"""
KUBERAY_UNCONFINED = """\
# RayCluster: in headGroupSpec and in each of workerGroupSpecs
template:
  spec:
    containers:
      - name: ray-worker          # the Ray container, as it is called there
        securityContext:
          seccompProfile: {type: Unconfined}
          appArmorProfile: {type: Unconfined}"""
ONLY_NUMBERS = "# nothing, if the slots are only numbers (`ray start --num-gpus`)"
AS_RAY = "# start dsray-inspect as Ray was started, with the same user and capabilities, or as root"
YAMA = {
    1: "a process may read only its own children",
    2: "only SYS_PTRACE may read other processes",
    3: "nobody may read other processes, until the machine boots again",
}


def fixes(nodes: Iterable[NodeReport]) -> tuple[Fix, ...]:
    """Return what to mend, most important first, the same on several nodes once."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}

    for node in nodes:
        for what, lines in of_node(node):
            found.setdefault((what, lines), []).append(node.hostname)

    return tuple(
        Fix(nodes=tuple(names), what=what, lines=lines) for (what, lines), names in found.items()
    )


def of_node(node: NodeReport) -> Iterator[tuple[str, tuple[str, ...]]]:
    facts = node.facts

    if facts is None:
        yield unanswered(node)
    else:
        if node.rungs["2"].state == "no":
            yield inside(node)

        if facts.stacks != OK or facts.environ != OK:
            yield outside(facts)

        if facts.sched != OK and facts.target is not None:
            yield unscheduled(facts)

        if node.rungs["gpu"].state == "no":
            yield gpu(facts, node.gpu_slots)


def unanswered(node: NodeReport) -> tuple[str, tuple[str, ...]]:
    return (
        f"The node agent gives no answer: {node.rungs['3'].why}.",
        (
            "ray status --verbose        # is the node alive, has it memory left?",
            f"ray list nodes --filter node_id={node.node_id}",
        ),
    )


def inside(node: NodeReport) -> tuple[str, tuple[str, ...]]:
    return (
        f"Calls into actors do not work there: {node.rungs['2'].why}.",
        ("dsray-inspect attach --no-inject        # sees from outside only",),
    )


def outside(facts: NodeCheck) -> tuple[str, tuple[str, ...]]:
    """Return why processes cannot be read from outside."""
    if facts.target is None:
        return unseen(facts)

    if facts.pyspy is None and facts.environ == OK:
        return "py-spy is not installed.", (f"{facts.python or 'python3'} -m pip install py-spy",)

    if not facts.is_denied:
        why = facts.stacks if facts.stacks != OK else facts.environ
        python = facts.python or "python3"
        return f"Reading a worker from outside fails: {why}.", (
            f"{python} -m pip install --upgrade py-spy",
        )

    what, lines = refused(facts, facts.target)

    if facts.pyspy is None:
        lines = (f"{facts.python or 'python3'} -m pip install py-spy", *lines)

    return what, lines


def unseen(facts: NodeCheck) -> tuple[str, tuple[str, ...]]:
    """Return why the processes of Ray do not show up in /proc."""
    if facts.hidepid:
        return (
            f"/proc hides other users' processes (hidepid={facts.hidepid}).",
            (
                "# run dsray-inspect as the user who started Ray, or an admin:",
                "mount -o remount,hidepid=0 /proc",
            ),
        )

    if facts.raylet is not None:
        return "The raylet has no Python worker yet to try on.", (
            "dsray-inspect doctor        # again, while a job runs",
        )

    return (
        "The raylet's processes are in another pid namespace: this is a container beside Ray's.",
        beside(facts.container, facts.me.uid),
    )


def beside(container: str, uid: int) -> tuple[str, ...]:
    """Return how to share Ray's processes and files with a container beside Ray's."""
    if container == "kubernetes":
        return tuple(KUBERAY_SIDECAR.replace("{uid}", str(uid)).split("\n"))

    return (
        "docker exec -it RAY dsray-inspect doctor        # inside Ray's container, here called RAY",
        "# or beside it, with Ray's /tmp/ray as a volume of both:",
        "docker run --pid=container:RAY --network=container:RAY --volumes-from RAY \\",
        "  --cap-add SYS_PTRACE …",
    )


def refused(facts: NodeCheck, target: ProcessRights) -> tuple[str, tuple[str, ...]]:
    """Return why the kernel refuses to let us read a worker, in the kernel's own order."""
    me, who = facts.me, f"pid {target.pid} ({target.title})"

    if facts.yama == 3:
        scope = "1" if me.may_ptrace else "0"
        lines = (REBOOT[0], REBOOT[1].replace("{scope}", scope))
        return f"{sentence(YAMA[3])} (kernel.yama.ptrace_scope=3).", lines

    if not me.may_ptrace and me.uid != target.uid:
        return (
            f"We are user {me.uid}, the workers are user {target.uid}, and we have no SYS_PTRACE.",
            same_user(facts, target.uid),
        )

    if not me.may_ptrace and facts.yama:
        return (
            f"{sentence(YAMA[facts.yama])} (kernel.yama.ptrace_scope={facts.yama}), and SYS_PTRACE is missing.",
            (*grant(facts), "", *SYSCTL),
        )

    if not me.may_ptrace and target.may_ptrace:
        return (
            f"{sentence(who)} has SYS_PTRACE, this process has not: it was started with fewer rights.",
            (AS_RAY,),
        )

    if not me.may_ptrace and target.cap_permitted & ~me.cap_permitted:
        return (
            f"{sentence(who)} has capabilities that we have not: only SYS_PTRACE may read it.",
            grant(facts),
        )

    if (
        None not in (me.user_namespace, target.user_namespace)
        and me.user_namespace != target.user_namespace
    ):
        return f"The workers are in another user namespace, {who} may not be read.", grant(facts)

    if me.seccomp == 2:
        return (
            "A seccomp filter forbids reading other processes.",
            grant(facts) if not me.may_ptrace else unconfined(facts),
        )

    return (
        f"The kernel does not let us read {who}; perhaps AppArmor or SELinux forbids it.",
        grant(facts) if not me.may_ptrace else unconfined(facts),
    )


def sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def same_user(facts: NodeCheck, uid: int) -> tuple[str, ...]:
    if facts.container == "kubernetes":
        return ("# in our container, as in Ray's:", "securityContext:", f"  runAsUser: {uid}")

    if facts.container:
        return (f"docker exec --user {uid} -it CONTAINER dsray-inspect doctor",)

    return (f"# as user {uid}:", "dsray-inspect doctor")


def grant(facts: NodeCheck) -> tuple[str, ...]:
    """Return how to get SYS_PTRACE here."""
    allowed_only = facts.me.uid != 0

    if facts.container == "kubernetes":
        has = bool(facts.me.cap_bounding & SYS_PTRACE)
        patch = () if has else (*KUBERAY_PTRACE.split("\n"), "")
        return (*patch, *SETCAP) if allowed_only else patch[:-1] or (AS_RAY,)

    if facts.container:
        return (
            "docker run --cap-add SYS_PTRACE …        # the container that Ray runs in",
            *(SETCAP if allowed_only else ()),
        )

    return (AS_RAY,)


def unconfined(facts: NodeCheck) -> tuple[str, ...]:
    if facts.container == "kubernetes":
        return tuple(KUBERAY_UNCONFINED.split("\n"))

    return ("docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined …",)


def unscheduled(facts: NodeCheck) -> tuple[str, tuple[str, ...]]:
    return (
        f"When a rank last moved cannot be told: {facts.sched}.",
        ("# the kernel lacks CONFIG_SCHED_DEBUG, or this is a sandbox such as gVisor",),
    )


def gpu(facts: NodeCheck, slots: int) -> tuple[str, tuple[str, ...]]:
    what = f"Ray has GPU slots there, but no GPU can be read: {facts.gpu_why}."

    if facts.lacks_nvml:
        return what, (f"{facts.python or 'python3'} -m pip install nvidia-ml-py",)

    if facts.container == "kubernetes":
        patch = KUBERAY_GPU.replace("{slots}", str(slots))
        return what, (*patch.split("\n"), ONLY_NUMBERS)

    if facts.container:
        return what, (
            "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility …",
            ONLY_NUMBERS,
        )

    return what, ("nvidia-smi        # does the driver work?", ONLY_NUMBERS)
