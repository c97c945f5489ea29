"""Environment variables that Ray and Ray Train set or read."""

from __future__ import annotations

from typing import Annotated

from dsray_inspect.agent.compat.ray.files import RAYLET_MODULE
from dsray_inspect.agent.compat.rows import Convention, Texts

ADDRESS_VARIABLE: Annotated[
    str,
    Texts("The cluster, where --address is left out.", files=("ray/_private/ray_constants.py",)),
] = "RAY_ADDRESS"
AUTH_MODE_VARIABLE: Annotated[
    str, Texts("Whether a token is sent.", since="2.52", files=(RAYLET_MODULE,))
] = "RAY_AUTH_MODE"
TOKEN_VARIABLE: Annotated[str, Texts("The token.", since="2.52", files=(RAYLET_MODULE,))] = (
    "RAY_AUTH_TOKEN"
)
TOKEN_PATH_VARIABLE: Annotated[
    str, Texts("The token's file.", since="2.52", files=(RAYLET_MODULE,))
] = "RAY_AUTH_TOKEN_PATH"
TOKEN_FILE: Annotated[
    str, Texts("The token's file below the home folder.", since="2.52", files=(RAYLET_MODULE,))
] = ".ray/auth_token"
TLS_VARIABLE: Annotated[str, Texts("gRPC speaks TLS.", files=(RAYLET_MODULE,))] = "RAY_USE_TLS"
JOB_CONFIG_VARIABLE: Annotated[
    str,
    Texts(
        "Ray's job manager sets it in the driver of a submitted job.",
        files=("ray/_private/worker.py",),
    ),
] = "RAY_JOB_CONFIG_JSON_ENV_VAR"
JOB_ID_VARIABLE: Annotated[
    str, Texts("Ray sets it in a worker.", files=("ray/_private/ray_constants.py", RAYLET_MODULE))
] = "RAY_JOB_ID"
RAYLET_PID_VARIABLE: Annotated[
    str, Texts("Ray sets it in a worker.", files=("ray/_private/ray_constants.py",))
] = "RAY_RAYLET_PID"
OVERRIDE_VARIABLE: Annotated[
    str,
    Texts(
        "Lets job and script both name a runtime environment.", files=("ray/_private/worker.py",)
    ),
] = "RAY_OVERRIDE_JOB_RUNTIME_ENV"
PYTHON_MATCH_VARIABLE: Annotated[
    str,
    Texts(
        "How exactly Python's version must match.",
        since="2.51",
        files=("ray/_private/utils.py",),
    ),
] = "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL"

TRAIN_VARIABLES: Annotated[
    frozenset[str],
    Texts("Ray Train sets them in the running worker.", files=("ray/train/",)),
] = frozenset(
    "RANK LOCAL_RANK NODE_RANK WORLD_SIZE LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT GROUP_RANK "
    "GROUP_WORLD_SIZE ROLE_RANK ROLE_WORLD_RANK ROLE_WORLD_SIZE ACCELERATE_TORCH_DEVICE "
    "TORCH_NCCL_ASYNC_ERROR_HANDLING NCCL_ASYNC_ERROR_HANDLING".split()
)
NEWER_TRAIN_VARIABLES: Annotated[
    frozenset[str],
    Texts("Ray Train sets them as well.", since="2.60", files=("ray/train/",)),
] = frozenset(
    "TORCHFT_LIGHTHOUSE NCCL_RAS_ADDR MEGASCALE_PORT MEGASCALE_COORDINATOR_ADDRESS "
    "MEGASCALE_NUM_SLICES MEGASCALE_SLICE_ID".split()
)
DEVICE_VARIABLES: Annotated[
    frozenset[str],
    Texts(
        "The devices of a process: Ray sets them for the actor, Ray Train again when the workers"
        " of a node share theirs.",
        files=("ray/_private/accelerators/",),
    ),
] = frozenset(
    "CUDA_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES ONEAPI_DEVICE_SELECTOR ASCEND_RT_VISIBLE_DEVICES "
    "HABANA_VISIBLE_MODULES NEURON_RT_VISIBLE_CORES TPU_VISIBLE_CHIPS".split()
)
NEWER_DEVICE_VARIABLES: Annotated[
    frozenset[str],
    Texts("The same, of newer versions.", since="2.60", files=("ray/_private/accelerators/",)),
] = frozenset(
    "HIP_VISIBLE_DEVICES ZE_AFFINITY_MASK MBLT_RT_VISIBLE_DEVICES RBLN_DEVICES "
    "FURIOSA_DEVICES".split()
)
PLUGIN_DEVICE_VARIABLES: Annotated[
    frozenset[str], Convention("The same, of accelerators that Ray gets from elsewhere.")
] = frozenset(["MACA_VISIBLE_DEVICES", "METAX_VISIBLE_DEVICES"])
WORKER_VARIABLES: Annotated[
    frozenset[str],
    Texts("Ray sets them in a worker.", since="2.48", files=("ray/_private/", RAYLET_MODULE)),
] = frozenset(
    "OMP_NUM_THREADS PYTHONBREAKPOINT SPT_NOENV TPU_CHIPS_PER_HOST_BOUNDS TPU_HOST_BOUNDS "
    "__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR".split()
)
VARIABLE_PREFIX: Annotated[str, Convention("How variables begin that Ray sets or reads.")] = "RAY_"
TRAIN_VARIABLE_PREFIX: Annotated[str, Convention("The same for Ray Train.")] = "RAY_TRAIN_"
