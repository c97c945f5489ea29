"""What a public file may name: words of ours and of public projects, and nobody's own.

A list of what is allowed cannot forget what is not: whatever is not here is replaced.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

from dsray_inspect.agent.compat import deepspeed, libraries, ray

_OWN_FOLDERS: Final = (
    *("assemble", "compat", "detectors", "launchers", "remote", "sampling", "stacks", "text"),
)
_WORD: Final = re.compile(r"[^\W\d]\w*")

PACKAGES: Final = frozenset(
    "accelerate aiohttp asyncio boto3 botocore cloudpickle datasets deepspeed filelock fsspec "
    "functorch gloo grpc huggingface_hub jax lightning litdata mlflow mpi4py msgpack numpy nvidia "
    "pandas peft pickle5 pyarrow pydantic pytorch_lightning ray regex requests s3fs safetensors "
    "scipy sentencepiece streaming tensorboard tokenizers torch torchaudio torchdata torchvision "
    "tqdm transformers triton trl urllib3 vllm wandb webdataset xformers yaml".split()
) | (libraries.WRAPPERS)
"""Packages whose files and functions keep their names."""

_RAY_VARIABLES: Final = frozenset(
    [ray.JOB_ID_VARIABLE, ray.RAYLET_PID_VARIABLE, ray.TLS_VARIABLE, ray.AUTH_MODE_VARIABLE]
)
VARIABLES: Final = (
    ray.TRAIN_VARIABLES
    | ray.NEWER_TRAIN_VARIABLES
    | ray.DEVICE_VARIABLES
    | ray.NEWER_DEVICE_VARIABLES
    | ray.PLUGIN_DEVICE_VARIABLES
    | ray.WORKER_VARIABLES
    | deepspeed.VARIABLES
    | deepspeed.NEWER_VARIABLES
    | _RAY_VARIABLES
    | frozenset(
        "CUDA_DEVICE_MAX_CONNECTIONS CUDA_DEVICE_ORDER CUDA_HOME CUDA_LAUNCH_BLOCKING "
        "CUDA_MODULE_LOADING DS_ACCELERATOR DS_BUILD_OPS DS_SKIP_CUDA_CHECK FI_EFA_USE_DEVICE_RDMA "
        "FI_PROVIDER GLOO_SOCKET_IFNAME HF_DATASETS_OFFLINE HF_HUB_OFFLINE KMP_AFFINITY "
        "LD_LIBRARY_PATH LD_PRELOAD LOCAL_SIZE MKL_NUM_THREADS MKL_THREADING_LAYER NCCL_ALGO "
        "NCCL_BLOCKING_WAIT NCCL_BUFFSIZE NCCL_COLLNET_ENABLE NCCL_COMM_BLOCKING NCCL_CROSS_NIC "
        "NCCL_CUMEM_ENABLE NCCL_DEBUG NCCL_DEBUG_FILE NCCL_DEBUG_SUBSYS NCCL_GRAPH_FILE NCCL_IB_CUDA_SUPPORT "
        "NCCL_IB_DISABLE NCCL_IB_GID_INDEX NCCL_IB_HCA NCCL_IB_QPS_PER_CONNECTION NCCL_IB_RETRY_CNT "
        "NCCL_IB_SL NCCL_IB_TC NCCL_IB_TIMEOUT NCCL_LAUNCH_MODE NCCL_MAX_CTAS NCCL_MAX_NCHANNELS "
        "NCCL_MIN_CTAS NCCL_MIN_NCHANNELS NCCL_NET NCCL_NET_GDR_LEVEL NCCL_NET_GDR_READ NCCL_NET_PLUGIN "
        "NCCL_NSOCKS_PERTHREAD NCCL_NTHREADS NCCL_NVLS_ENABLE NCCL_P2P_DISABLE NCCL_P2P_LEVEL NCCL_PROTO "
        "NCCL_RAS_ENABLE NCCL_SHM_DISABLE NCCL_SOCKET_FAMILY NCCL_SOCKET_IFNAME NCCL_SOCKET_NTHREADS "
        "NCCL_TIMEOUT NCCL_TOPO_FILE NCCL_TUNER_PLUGIN NCCL_VERSION NUMEXPR_NUM_THREADS OMP_PROC_BIND "
        "OMP_SCHEDULE OMPI_COMM_WORLD_LOCAL_RANK OMPI_COMM_WORLD_RANK OMPI_COMM_WORLD_SIZE "
        "OPENBLAS_NUM_THREADS PATH PYTHONFAULTHANDLER PYTHONHASHSEED PYTHONPATH PYTHONUNBUFFERED "
        "PYTORCH_ALLOC_CONF PYTORCH_CUDA_ALLOC_CONF PYTORCH_KERNEL_CACHE_PATH PYTORCH_NVML_BASED_CUDA_CHECK "
        "SLURM_JOB_NUM_NODES SLURM_LOCALID SLURM_NNODES SLURM_NODEID SLURM_NTASKS SLURM_PROCID "
        "TOKENIZERS_PARALLELISM TORCHINDUCTOR_CACHE_DIR TORCHINDUCTOR_COMPILE_THREADS TORCH_COMPILE_DISABLE "
        "TORCH_CPP_LOG_LEVEL TORCH_CUDA_ARCH_LIST TORCH_DISTRIBUTED_DEBUG TORCH_EXTENSIONS_DIR "
        "TORCH_FR_BUFFER_SIZE TORCH_FR_DUMP_TEMP_FILE TORCH_LOGS TORCH_NCCL_AVOID_RECORD_STREAMS "
        "TORCH_NCCL_BLOCKING_WAIT TORCH_NCCL_DESYNC_DEBUG TORCH_NCCL_DUMP_ON_TIMEOUT "
        "TORCH_NCCL_ENABLE_MONITORING TORCH_NCCL_ENABLE_TIMING TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC "
        "TORCH_NCCL_TRACE_BUFFER_SIZE TORCH_NCCL_USE_COMM_NONBLOCKING TORCH_SHOW_CPP_STACKTRACES "
        "UCX_NET_DEVICES UCX_TLS XLA_FLAGS".split()
    )
)
"""Environment variables that keep their names."""
VARIABLE_FAMILIES: Final = re.compile(
    r"(NCCL|GLOO|TORCH|TORCHINDUCTOR|PYTORCH|DS|DEEPSPEED|CUDA|UCX|FI|XLA|MKL|OMP|KMP|HF|ACCELERATE"
    r"|TRANSFORMERS|TOKENIZERS)_"
)
"""Variables of these libraries stay as `NCCL_VARIABLE_1`: one that differs is a finding."""
VALUES: Final = frozenset(
    "abort all allgather auto bf16 bfloat16 collnet compact cpu cuda debug default detail dynamic "
    "eager expandable_segments false fp16 fp32 fine float16 float32 garbage_collection_threshold "
    "granularity gtx guided ib in info init inf intel ll ll128 lazy loc max_split_size_mb min nan native "
    "net none nvl nvls nvme off on parallel patch pci_bus_id phb pix pxb ring rc roundup_power2_divisions "
    "self shm simple sm socket spread static sys tcp trace tree true tuning ud version warn yes no "
    "adam adamw adagrad lamb lion muon onebitadam zerooneadam onebitlamb sgd fusedadam fusedlamb "
    "fusedlion deepspeedcpuadam deepspeedcpuadagrad deepspeedcpulion deepspeedzerooptimizer "
    "deepspeedzerooptimizer_stage3 bf16_optimizer fp16_optimizer warmuplr warmupdecaylr "
    "warmupcosinelr onecycle lrrangetest offloaddeviceenum pipe".split()
)
"""Words that values of variables and of DeepSpeed's config may consist of, in lower case."""
MESSAGE_WORDS: Final = frozenset(
    "a about abort aborted aborting above accepted access across activity actor actual additional address "
    "after all allocate allocated allocation already also although always an and another any application "
    "are argument arguments as assertion at attempt attempted attempting attempts attribute available "
    "backend bad be because been before being below between block both broken buffer bug but by call called "
    "calling calls can cannot capacity cast caught cause caused change channel check checking class client "
    "close closed closing code collective collectives communicator complete completed configured connect "
    "connected connecting connection consider consistent contains context corrupted could crash crashed "
    "created creating creation current currently data dead debug decoding default defined denied dereference "
    "destroyed detail details detected device devices did died different dimension dimensions disk does done "
    "driver due dump during each either element empty end ended ending engine enough ensure error errors event "
    "exceeded exception execution exist existing exit exited exiting exits expected expects expired extension "
    "failed failing fails failure failures fatal fault file files find finished first following for format found "
    "free from full function gets given global got graceful group had handle handler handshake has have header "
    "heartbeat host however id if ignored illegal implemented import in index initialization initialize "
    "initialized initializing input instead insufficient integer intended internal interrupted invalid io is it "
    "its job keep key keyboard kill killed killing kwargs last later launch less library likely limit limited "
    "line list load loaded local lock long lookup lost main mapping match matching maximum may memory message "
    "method might minimum mismatch missing module monitor more most must name names network no node nodes none "
    "not nothing null number object objects of off offset on once one only open operation operations operator or "
    "origin other out output over overflow own owner pair parameter parameters parent part peer pending per "
    "permission pipe pool port possible prematurely previous prior process processes program protocol provided "
    "queue raise raised rank ranks reached read reading ready reason received receiving recover refused register "
    "registered related remote removed repeatedly request requested required requires reset resolve resource "
    "resources response restart result retries retry return returned root run running runtime same scheduled "
    "second see segmentation send sending sent server service session set shape shared should shut shutdown "
    "shutting signal since size sizes socket some source specified stack start started starting state status step "
    "still stop stopped stopping store subprocess such supported syntax system task tasks temporary tensor "
    "terminate terminated terminating termination than that the their them then there these they this thread "
    "threads time timed timeout to too total traceback transport tried try trying tuple type types unable "
    "unavailable under undefined unexpected unexpectedly unhandled unknown unlimited unreachable unsupported until "
    "up update usage use used using value values variable version wait waited waiting warning was watchdog were "
    "what when where which while who why will with without work worker workers working would write writing wrong "
    "yet you your zero".split()
)
"""Ordinary words of error messages."""
CONFIG_WORDS: Final = frozenset(
    "16bit accumulation activation aio all allgather allow alignment amp as auto backward batch betas "
    "bf16 bfloat16 block bucket buffer bucketed by cast check checkpoint checkpointing checkpoints "
    "classes clipping comm comms communication compile compression compute config contiguous count "
    "cpu curriculum data debug decay device different direct disable distance divides dtype dump dynamic "
    "efficiency efficient elastic elasticity enable enabled eps factor fast fetch find flops forward fp16 "
    "fp32 from full gather global gpu grad gradient gradients granularity hpz hysteresis id ignore in init "
    "initial inputs interval key latency layer layers leaf learning legacy lr layout linear live load local "
    "log logger loss mapping master max memory micro mics min min_lr mode model module momentum "
    "monitor muon name names node nontrainable norm num nvme nvlink offload on only op optimizer overlap "
    "overlapped override param parallel parallelism parallelize parameter parameters params partition "
    "partitioned partitions path per persistence pin pipe pipeline prefetch prescale print profile profiler "
    "profiling quantize quantized queue rank ranks ratio read reduce reduction reuse robin round safe "
    "sanity save scale scaler scatter scheduler schedule secondary separate sequence sequential "
    "shard shared single size sparse stage stage1 stage3 state static step steps sub submit sub_group "
    "suffixes symmetric synchronize tag tensor tensorboard threshold thread threads throughput tied time "
    "timeout timer torch total tp trace train training trainable type types unused use validation "
    "verbose wall wandb warmup warnings weight weights window with world write zenflow zero adam apply "
    "bits buffers cache clip communicate consecutive csv dp ep fused gamma group groups hook "
    "optimization use params for override sub apply elastic checks legacy 16 unused memory_efficient "
    "linear pipeline loading prefetch scatter muon in round quantized hpz zenflow multi saves "
    "allreduce breakdown carries checkpointable elements expert".split()
)
"""Words that keys of DeepSpeed's config consist of."""
OPERATION_WORDS: Final = frozenset(
    "all allgather allreduce alltoall async barrier base batch broadcast coalesced collective from gather "
    "gloo into irecv isend mpi nccl object recv recvanysource reduce scatter send single sparse tensor to "
    "tensors xccl ucc monitored".split()
)
DTYPES: Final = frozenset(
    "bfloat16 bool byte char complexdouble complexfloat double float float16 float32 float64 half int "
    "int16 int32 int64 int8 long short uint8 unknown fp16 fp32 bf16".split()
)
STDLIB_FOLDER: Final = "/env/lib/python3.11/"
SITE_FOLDER: Final = "/env/site-packages/"
USER_FOLDER: Final = "/user/"
SHARED_OBJECTS: Final = re.compile(
    r"(?:lib(?:c|m|pthread|dl|rt|python|torch|c10|nccl|cuda|cudart|cudnn|gloo|gomp|stdc\+\+|uv|ibverbs"
    r"|mlx5|fabric|ucp|ucs|mpi)\b.*|ld-linux.*|_raylet\.so|python3?(?:\.\d+)?)\Z"
)
INTERFACES: Final = re.compile(
    r"(?:lo|eth\d+|ens?\d\w*|eno\d+|enp\w+|ib\d+|ibs?\w{1,6}|bond\d+|docker\d*|hsn\d+|wl\w{1,8}|team\d+)\Z"
)


@lru_cache(maxsize=1)
def vocabulary() -> frozenset[str]:
    """Return the words of our own sentences, and of the messages of others that we know."""
    folder = Path(__file__).parents[1]
    files = (file for name in _OWN_FOLDERS for file in sorted((folder / name).rglob("*.py")))
    errors = (name.lower() for name in vars(builtins) if name.endswith(("Error", "Exception")))
    return frozenset([*errors, *(word for file in files for word in _words_in(file))])


def _words_in(file: Path) -> Iterator[str]:
    """Yield the words of a module's strings, docstrings left out."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    prose = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}

    for node in nodes:
        is_text = isinstance(node, ast.Constant) and id(node) not in prose

        if is_text and isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (word.lower() for word in _WORD.findall(node.value))


def is_known_word(word: str) -> bool:
    lowered = word.lower()
    return lowered in MESSAGE_WORDS or lowered in vocabulary()


def is_public_value(text: str) -> bool:
    """Return whether a setting consists of numbers and known words."""
    words = (word for word in re.split(r"[^\w]+", text) if word)
    return all(re.fullmatch(r"-?\d+(?:e-?\d+)?", word) or word.lower() in VALUES for word in words)


def is_public_key(key: str) -> bool:
    """Return whether a key of DeepSpeed's config consists of words that DeepSpeed uses."""
    words = [word for word in re.split(r"[._]+", key.lower()) if word]
    return (
        words[:1] != []
        and words[0] in CONFIG_WORDS
        and all(word.isdigit() or word in CONFIG_WORDS for word in words)
    )
