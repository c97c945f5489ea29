"""The YAML and the lines that the doctor prints to paste."""

from __future__ import annotations

from typing import Final

_CONTAINER = """\
# RayCluster: in headGroupSpec and in each of workerGroupSpecs
template:
  spec:
    containers:
      - name: ray-worker          # the name of the Ray container
"""
KUBERAY_PTRACE: Final = (
    _CONTAINER
    + """\
        securityContext:
          runAsUser: 0            # a capability that is added has no effect for other users
          capabilities:
            add: [SYS_PTRACE]"""
)
_SIDECAR = """\
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
          runAsUser: {uid}{context}
        volumeMounts: [{name: ray, mountPath: /tmp/ray}]
    volumes: [{name: ray, emptyDir: {}}]"""
_RESTRICTED = """
          runAsNonRoot: true
          allowPrivilegeEscalation: false
          capabilities: {drop: [ALL]}
          seccompProfile: {type: RuntimeDefault}"""
KUBERAY_SECCOMP: Final = (
    _CONTAINER
    + """\
        securityContext:
          seccompProfile: {type: RuntimeDefault}    # allows ptrace on Linux 4.8 and newer"""
)
KUBERAY_UNCONFINED: Final = (
    _CONTAINER
    + """\
        securityContext:
          appArmorProfile: {type: Unconfined}"""
)
KUBERAY_GPU: Final = """\
# RayCluster: in the groups with GPUs
template:
  spec:
    runtimeClassName: nvidia
    containers:
      - name: ray-worker          # the name of the Ray container
        env: [{name: NVIDIA_DRIVER_CAPABILITIES, value: 'compute,utility'}]
        resources:
          limits: {nvidia.com/gpu: {slots}}"""
KUBECTL_EXEC: Final = "kubectl exec -it POD -c RAY_CONTAINER -- dsray-inspect doctor"
ALLOW_ANY: Final = (
    "import ctypes",
    "ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # PR_SET_PTRACER, any process",
)
"""What a rank runs to let every process of its user read it although Yama's scope is 1."""
SYSCTL: Final = (
    "# or an admin on the machine, until its next boot; dsray-inspect never does this itself:",
    "sysctl kernel.yama.ptrace_scope=0",
)
REBOOT: Final = (
    "# it cannot be lowered at run time: an admin has to set it and reboot",
    "echo kernel.yama.ptrace_scope=0 > /etc/sysctl.d/10-ptrace.conf",
)


def kuberay_sidecar(uid: int) -> str:
    """Return a container beside Ray's, which has no more rights than Ray's: as that user, it needs none."""
    return _SIDECAR.replace("{uid}", str(uid)).replace("{context}", _RESTRICTED if uid else "")
