"""Which variables each launcher gives a rank: one table per launcher, with its source and version.

A value is a template of a rank's place: its braces hold fields of `agent.launch.places.Place`.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class LaunchVariable(NamedTuple):
    """One variable that a launcher sets; its value is None where only the start decides it."""

    name: str
    value: str | None
    note: str = ""
    """What decides a value that is None, or in which case it is set."""
    keeps: bool = False
    """Whether a value that the launcher inherits stays."""
    least_ranks: int = 1
    """How many ranks a node must have for it to be set."""


class LaunchTable(NamedTuple):
    """What one program sets; variables whose name begins with a prefix are its own business."""

    setter: str
    source: str
    version: str
    variables: tuple[LaunchVariable, ...]
    prefixes: tuple[str, ...] = ()


TORCHRUN: Final = LaunchTable(
    "torchrun",
    "torch/distributed/run.py and torch/distributed/elastic/agent/server/local_elastic_agent.py",
    "torch 2.13.0",
    (
        LaunchVariable("RANK", "{rank}"),
        LaunchVariable("LOCAL_RANK", "{local_rank}"),
        LaunchVariable("WORLD_SIZE", "{world_size}"),
        LaunchVariable("LOCAL_WORLD_SIZE", "{local_world_size}"),
        LaunchVariable("GROUP_RANK", "{node_rank}"),
        LaunchVariable("GROUP_WORLD_SIZE", "{nodes}"),
        LaunchVariable("ROLE_NAME", "default"),
        LaunchVariable("ROLE_RANK", "{rank}"),
        LaunchVariable("ROLE_WORLD_SIZE", "{world_size}"),
        LaunchVariable("MASTER_ADDR", "{master_addr}"),
        LaunchVariable("MASTER_PORT", "{master_port}"),
        LaunchVariable("OMP_NUM_THREADS", "1", keeps=True, least_ranks=2),
        LaunchVariable("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1", keeps=True),
        LaunchVariable("TORCHELASTIC_RUN_ID", "none"),
        LaunchVariable("TORCHELASTIC_RESTART_COUNT", "0"),
        LaunchVariable("TORCHELASTIC_MAX_RESTARTS", "0"),
        LaunchVariable("TORCHELASTIC_USE_AGENT_STORE", "True"),
        LaunchVariable("TORCHELASTIC_SIGNALS_TO_HANDLE", "SIGTERM,SIGINT,SIGHUP,SIGQUIT"),
        LaunchVariable("TORCHELASTIC_ERROR_FILE", None, "a new temporary file"),
    ),
)
DEEPSPEED: Final = LaunchTable(
    "deepspeed",
    "deepspeed/launcher/launch.py",
    "DeepSpeed 0.19.8",
    (
        LaunchVariable("RANK", "{rank}"),
        LaunchVariable("LOCAL_RANK", "{wrapped_rank}"),
        LaunchVariable("WORLD_SIZE", "{world_size}"),
        LaunchVariable("LOCAL_SIZE", "{local_world_size}"),
        LaunchVariable("CROSS_RANK", "{node_rank}"),
        LaunchVariable("CROSS_SIZE", "{nodes}"),
        LaunchVariable("MASTER_ADDR", "{master_addr}"),
        LaunchVariable("MASTER_PORT", "{master_port}"),
        LaunchVariable("CUDA_VISIBLE_DEVICES", "{local_ids}"),
        LaunchVariable("PYTORCH_NVML_BASED_CUDA_CHECK", "1", keeps=True),
    ),
)
MPIRUN: Final = LaunchTable(
    "mpirun",
    "orte/mca/odls and orte/orted/pmix of Open MPI; the variables of a rank were read",
    "Open MPI 4.1.4",
    (
        LaunchVariable("OMPI_COMM_WORLD_RANK", "{rank}"),
        LaunchVariable("OMPI_COMM_WORLD_SIZE", "{world_size}"),
        LaunchVariable("OMPI_COMM_WORLD_LOCAL_RANK", "{local_rank}"),
        LaunchVariable("OMPI_COMM_WORLD_LOCAL_SIZE", "{local_world_size}"),
        LaunchVariable("OMPI_COMM_WORLD_NODE_RANK", "{local_rank}"),
        LaunchVariable("OMPI_UNIVERSE_SIZE", "{world_size}"),
        LaunchVariable("OMPI_APP_CTX_NUM_PROCS", "{world_size}"),
        LaunchVariable("OMPI_NUM_APP_CTX", "1"),
        LaunchVariable("OMPI_FIRST_RANKS", "0"),
        LaunchVariable("OMPI_COMMAND", "{interpreter}"),
        LaunchVariable("OMPI_ARGV", "{arguments}"),
        LaunchVariable("OMPI_FILE_LOCATION", None, "a folder of this start"),
        LaunchVariable("PMIX_RANK", "{rank}"),
        LaunchVariable("PMIX_NAMESPACE", None, "the number of this start"),
        LaunchVariable("HFI_NO_BACKTRACE", "1"),
        LaunchVariable("IPATH_NO_BACKTRACE", "1"),
    ),
    ("OMPI_MCA_", "PMIX_"),
)
MPI_DISCOVERY: Final = LaunchTable(
    "deepspeed",
    "deepspeed/comm/comm.py, mpi_discovery()",
    "DeepSpeed 0.19.8",
    (
        LaunchVariable("RANK", "{rank}"),
        LaunchVariable("WORLD_SIZE", "{world_size}"),
        LaunchVariable("LOCAL_RANK", "{local_rank}"),
        LaunchVariable("MASTER_ADDR", None, "the first address of `hostname -I` on rank 0's node"),
        LaunchVariable("MASTER_PORT", "29500"),
    ),
)
"""What `deepspeed.init_distributed` sets in the rank itself, by way of mpi4py."""
TRAINER: Final = LaunchTable(
    "trainer",
    "pkg/runtime/framework/plugins/torch/torch.go of kubeflow/trainer",
    "Kubeflow Trainer 2.3.0",
    (
        LaunchVariable("PET_NNODES", "{nodes}"),
        LaunchVariable("PET_NPROC_PER_NODE", "{local_world_size}"),
        LaunchVariable("PET_NODE_RANK", "{node_rank}"),
        LaunchVariable("PET_MASTER_ADDR", "{master_addr}"),
        LaunchVariable("PET_MASTER_PORT", "{master_port}"),
        LaunchVariable("JOB_COMPLETION_INDEX", "{node_rank}", "by Kubernetes' Job controller"),
    ),
)
"""What the pods of a TrainJob get; torchrun reads `PET_*` as its options and passes them on."""
RAY: Final = LaunchTable(
    "ray",
    "ray/_private/worker.py and ray/_private/accelerators",
    "Ray 2.60.0",
    (
        LaunchVariable("OMP_NUM_THREADS", "{threads}", "the CPUs of the rank, 1 at least", True),
        LaunchVariable("CUDA_VISIBLE_DEVICES", None, "the GPUs that Ray assigns in the pod"),
        LaunchVariable("RAY_JOB_ID", None, "the number of the job"),
        LaunchVariable("RAY_RAYLET_PID", None, "the raylet of the pod"),
    ),
    ("RAY_",),
)
RAY_TRAIN: Final = LaunchTable(
    "ray_train",
    "ray/train/torch/config.py and ray/train/v2/_internal",
    "Ray 2.60.0",
    (
        LaunchVariable("RANK", "{rank}"),
        LaunchVariable("LOCAL_RANK", "{local_rank}"),
        LaunchVariable("NODE_RANK", "{node_rank}"),
        LaunchVariable("WORLD_SIZE", "{world_size}"),
        LaunchVariable("LOCAL_WORLD_SIZE", "{local_world_size}"),
        LaunchVariable("MASTER_ADDR", None, "the IP of rank 0's pod"),
        LaunchVariable("MASTER_PORT", None, "a free port of rank 0's pod"),
    ),
    ("RAY_TRAIN_",),
)
KUBERAY: Final = LaunchTable(
    "kuberay",
    "ray-operator/controllers/ray/common/pod.go",
    "KubeRay 1.7.0",
    (
        LaunchVariable("RAY_CLUSTER_NAME", None, "the RayJob's name and a suffix"),
        LaunchVariable("RAY_CLUSTER_NAMESPACE", None, "the RayJob's namespace"),
        LaunchVariable("FQ_RAY_IP", None, "the host name of the head's service"),
        LaunchVariable("RAY_IP", None, "the name of the head's service"),
        LaunchVariable("RAY_PORT", "6379"),
        LaunchVariable("RAY_ADDRESS", None, "FQ_RAY_IP and RAY_PORT"),
        LaunchVariable("RAY_USAGE_STATS_KUBERAY_IN_USE", "1"),
        LaunchVariable("KUBERAY_GEN_RAY_START_CMD", None, "the pod's `ray start`"),
    ),
)

OF_A_PLACE: Final = frozenset(
    "RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE NODE_RANK GROUP_RANK GROUP_WORLD_SIZE ROLE_RANK "
    "ROLE_NAME ROLE_WORLD_SIZE MASTER_ADDR MASTER_PORT CROSS_RANK CROSS_SIZE LOCAL_SIZE".split()
)
"""Variables that say where a rank is: whoever starts it says so anew."""
