"""What a rank does is read from functions and files, whatever tool and version wrote them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsray_inspect.agent.model import PHASES, Frame, Function, Layer, Phase
from dsray_inspect.agent.stacks.layers import label
from dsray_inspect.agent.stacks.phase import phase_of, training_thread
from dsray_inspect.agent.stacks.stack import StackInfo
from dsray_inspect.agent.stacks.thread import Thread

SITE = "/opt/venv/lib/python3.11/site-packages"
PACKAGES = "ray torch deepspeed accelerate transformers safetensors datasets fsspec"
PREFIXES = tuple(f"{name}/" for name in PACKAGES.split())
RUNNER = (
    ("_bootstrap", "/usr/lib/python3.11/threading.py"),
    ("_run_target", "ray/train/v2/_internal/execution/worker_group/thread_runner.py"),
    (
        "train_fn_with_final_checkpoint_flush",
        "ray/train/v2/_internal/execution/worker_group/worker.py",
    ),
    ("train_fn", "ray/train/v2/_internal/util.py"),
)
TEACH = ("teach", "/home/user/train.py")
ENGINE = "deepspeed/runtime/engine.py"
STAGE_1_2 = "deepspeed/runtime/zero/stage_1_and_2.py"
STAGE_3 = "deepspeed/runtime/zero/stage3.py"
COORDINATOR = "deepspeed/runtime/zero/partitioned_param_coordinator.py"
PARTITION = "deepspeed/runtime/zero/partition_parameters.py"
CONTEXT = "ray/train/v2/_internal/execution/context.py"
TO_BUCKET = ("to_bucket", "/home/user/storage.py")
C10D = "torch/distributed/distributed_c10d.py"
MODULE = "torch/nn/modules/module.py"
V2_NAME = "TrainingThread(train_fn_with_final_checkpoint_flush)"

Call = tuple[str, str]


def frames(*calls: Call) -> tuple[Frame, ...]:
    return label(
        [
            Frame(name=name, file=f"{SITE}/{file}" if file.startswith(PREFIXES) else file, line=7)
            for name, file in calls
        ]
    )


def thread(*calls: Call, name: str = V2_NAME, tid: int = 2, pid: int | None = 1) -> Thread:
    return Thread(name=name, tid=tid, pid=pid, stack=StackInfo(frames(*calls)))


def training(*calls: Call) -> tuple[Thread, ...]:
    return (thread(*RUNNER, TEACH, *calls), idle_main())


def idle_main() -> Thread:
    return main()


def main(*calls: Call) -> Thread:
    return thread(
        ("<module>", "ray/_private/workers/default_worker.py"),
        ("main_loop", "ray/_private/worker.py"),
        *calls,
        name="MainThread",
        tid=1,
    )


@pytest.mark.parametrize(
    ("phase", "calls"),
    [
        ("user", []),
        ("user", [("sleep", "/usr/lib/python3.11/asyncio/tasks.py")]),
        ("user", [("from_pretrained", "transformers/modeling_utils.py")]),
        # Kernels, wherever they are compiled.
        ("op_compile", [("jit_load", "deepspeed/ops/op_builder/builder.py")]),
        ("op_compile", [("load", "/src/DeepSpeed/op_builder/builder.py")]),
        (
            "op_compile",
            [
                ("initialize", "deepspeed/__init__.py"),
                ("init_distributed", "deepspeed/comm/comm.py"),
                ("build_shm_op", "deepspeed/comm/torch.py"),
                ("jit_load", "deepspeed/ops/op_builder/builder.py"),
                ("_jit_compile", "torch/utils/cpp_extension.py"),
                ("wait", "torch/utils/file_baton.py"),
            ],
        ),
        # Start-up.
        ("deepspeed_init", [("<module>", "deepspeed/__init__.py")]),
        ("deepspeed_init", [("initialize", "deepspeed/__init__.py"), ("__init__", ENGINE)]),
        (
            "deepspeed_init",
            [("__init__", ENGINE), ("_broadcast_model", ENGINE), ("broadcast", C10D)],
        ),
        (
            "init_process_group",
            [("initialize", "deepspeed/__init__.py"), ("_new_process_group_helper", C10D)],
        ),
        (
            "init_process_group",
            [
                ("init_process_group", "deepspeed/comm/torch.py"),
                ("_create_c10d_store", "torch/distributed/rendezvous.py"),
            ],
        ),
        # Batches.
        ("data", [("__next__", "torch/utils/data/dataloader.py"), ("make", "/home/user/data.py")]),
        ("data", [("iter_torch_batches", "ray/data/iterator.py")]),
        ("data", [("__next__", "deepspeed/runtime/dataloader.py")]),
        ("data", [("__iter__", "accelerate/data_loader.py")]),
        ("data", [("__iter__", "datasets/iterable_dataset.py"), ("read", "fsspec/spec.py")]),
        ("user", [("__iter__", "/home/user/datasets/iterable_dataset.py")]),
        (
            "data",
            [
                ("train_batch", "deepspeed/runtime/pipe/engine.py"),
                ("_exec_load_micro_batch", "deepspeed/runtime/pipe/engine.py"),
            ],
        ),
        (
            "data",
            [("fetch", "torch/utils/data/_utils/fetch.py"), ("load", "torch/serialization.py")],
        ),
        # Step.
        (
            "forward",
            [
                ("_call_impl", MODULE),
                ("wrapped_fn", "deepspeed/utils/nvtx.py"),
                ("forward", ENGINE),
            ],
        ),
        (
            "forward",
            [("forward", ENGINE), ("_call_impl", MODULE), ("forward", "/home/user/net.py")],
        ),
        ("forward", [("_wrapped_call_impl", MODULE)]),
        ("backward", [("backward", ENGINE), ("backward", "torch/_tensor.py")]),
        ("backward", [("backward", "torch/_tensor.py"), ("_backward_post_hook", ENGINE)]),
        # Activations computed again.
        (
            "backward",
            [
                ("backward", ENGINE),
                ("checkpoint", "torch/utils/checkpoint.py"),
                ("_call_impl", MODULE),
            ],
        ),
        ("optimizer_step", [("step", ENGINE), ("_take_model_step", ENGINE), ("step", STAGE_3)]),
        (
            "optimizer_step",
            [
                ("step", ENGINE),
                ("all_gather_dp_groups", "deepspeed/runtime/utils.py"),
                ("all_gather", C10D),
            ],
        ),
        ("optimizer_step", [("step", ENGINE), ("_model_parallel_all_reduce", STAGE_1_2)]),
        (
            "optimizer_step",
            [("wrapper", "torch/optim/optimizer.py"), ("step", "torch/optim/adamw.py")],
        ),
        ("user", [("step", "torch/optim/lr_scheduler.py")]),
        # Pipelines.
        ("forward", [("train_batch", "deepspeed/runtime/pipe/engine.py")]),
        (
            "backward",
            [
                ("train_batch", "deepspeed/runtime/pipe/engine.py"),
                ("_exec_backward_pass", "deepspeed/runtime/pipe/engine.py"),
            ],
        ),
        # ZeRO's communication.
        ("grad_reduce", [("backward", ENGINE), ("allreduce_gradients", ENGINE)]),
        ("grad_reduce", [("allreduce_gradients", ENGINE), ("allreduce_bucket", ENGINE)]),
        ("grad_reduce", [("backward", ENGINE), ("reduce_ipg_grads", STAGE_1_2)]),
        (
            "grad_reduce",
            [("backward", ENGINE), ("reduce_partition_and_remove_grads", STAGE_1_2)],
        ),
        ("grad_reduce", [("backward", ENGINE), ("__reduce_and_partition_ipg_grads", STAGE_3)]),
        ("grad_reduce", [("backward", ENGINE), ("__avg_scatter_contiguous_grads", STAGE_3)]),
        ("grad_reduce", [("backward", ENGINE), ("partition_grads", STAGE_3)]),
        ("zero_gather", [("forward", ENGINE), ("fetch_sub_module", COORDINATOR)]),
        ("zero_gather", [("forward", ENGINE), ("__all_gather_params", COORDINATOR)]),
        (
            "zero_gather",
            [("backward", ENGINE), ("_fetch_sub_module_impl", COORDINATOR), ("wait", PARTITION)],
        ),
        ("zero_gather", [("all_gather_coalesced", PARTITION)]),
        # Checkpoints and reports.
        ("checkpoint", [("save_checkpoint", ENGINE), ("barrier", C10D)]),
        ("checkpoint", [("load_checkpoint", ENGINE)]),
        ("checkpoint", [("save_16bit_model", ENGINE), ("all_gather_coalesced", PARTITION)]),
        ("checkpoint", [("step", ENGINE), ("_commit_decoupled_checkpoint", ENGINE)]),
        ("checkpoint", [("save", "torch/serialization.py")]),
        ("report", [("report", CONTEXT)]),
        ("report", [("report", CONTEXT), ("_sync_checkpoint_dir_name_across_ranks", CONTEXT)]),
        ("checkpoint", [("report", CONTEXT), ("_upload_checkpoint", CONTEXT), TO_BUCKET]),
        (
            "checkpoint",
            [
                ("report", "ray/train/_internal/session.py"),
                ("persist_current_checkpoint", "ray/train/_internal/storage.py"),
            ],
        ),
        # The user's own collectives.
        ("collective", [("barrier", C10D)]),
        ("collective", [("barrier", "deepspeed/comm/comm.py")]),
        ("collective", [("barrier", "ray/train/collective/collectives.py")]),
    ],
)
def test_phase_of_a_training_thread(phase: Phase, calls: list[Call]) -> None:
    assert phase_of(training(*calls)) == phase


@pytest.mark.parametrize(
    ("phase", "threads"),
    [
        ("starting", [idle_main()]),
        ("starting", [main(("execute", RUNNER[2][1]), ("be_ready", "/home/user/hook.py"))]),
        (
            "init_process_group",
            [
                main(
                    ("execute", RUNNER[2][1]),
                    ("_setup_torch_process_group", "ray/train/torch/config.py"),
                    ("rendezvous", "torch/distributed/rendezvous.py"),
                )
            ],
        ),
        ("starting", [thread(*RUNNER)]),
        ("report", [thread(*RUNNER[:3], ("wait", "/usr/lib/python3.11/threading.py"))]),
        ("finished", [thread(*RUNNER[:2], ("join", "/usr/lib/python3.11/threading.py"))]),
        ("finished", [idle_main(), thread(name="MonitoringThread(train_fn)")]),
        (
            "finished",
            [main(("execute", RUNNER[2][1]), ("_shutdown_torch", "ray/train/torch/config.py"))],
        ),
        ("unknown", []),
        # Who answers for itself leaves its main thread out.
        ("starting", [thread(name="PythonGCThread")]),
        (
            "starting",
            [
                main(
                    ("execute", RUNNER[2][1]),
                    ("_find_and_load", "<frozen importlib._bootstrap>"),
                    ("__next__", "torch/utils/data/dataloader.py"),
                )
            ],
        ),
    ],
)
def test_phase_without_the_users_function(phase: Phase, threads: list[Thread]) -> None:
    assert phase_of(threads) == phase


def test_autograd_runs_deepspeeds_hooks_in_a_thread_of_its_own() -> None:
    backward = thread(*RUNNER, TEACH, ("_engine_run_backward", "torch/autograd/graph.py"))
    hook = thread(("reduce_ready_partitions_and_remove_grads", STAGE_3), ("wait", C10D), name="")
    assert phase_of([backward, hook]) == "grad_reduce"
    assert phase_of([backward, idle_main()]) == "backward"


def test_children_of_a_rank_are_not_the_rank() -> None:
    child = thread(*RUNNER, TEACH, ("_worker_loop", "torch/utils/data/_utils/worker.py"), pid=9)
    threads = [*training(), child]
    assert phase_of(threads) == "user"
    assert training_thread(threads) == threads[0]
    assert training_thread([idle_main(), child]) is None


def test_ray_train_v1() -> None:
    runner = thread(
        ("run", "ray/air/_internal/util.py"),
        ("train_fn", "ray/train/_internal/utils.py"),
        ("discard_return_wrapper", "ray/train/_internal/utils.py"),
        TEACH,
        ("backward", ENGINE),
        name="Thread-7 (discard_return_wrapper)",
    )
    assert training_thread([idle_main(), runner]) == runner
    assert phase_of([idle_main(), runner]) == "backward"


def test_the_training_thread_of_an_older_ray_has_no_name_of_its_own() -> None:
    begins = RUNNER[:2]
    called = (*begins, RUNNER[-1])
    runner = thread(*called, TEACH, ("backward", ENGINE), name="Thread-3 (_run_target)")
    assert training_thread([idle_main(), runner]) == runner
    assert phase_of([idle_main(), runner]) == "backward"
    assert phase_of([idle_main(), thread(*called, name="Thread-3")]) == "starting"
    assert phase_of([idle_main(), thread(*begins, name="Thread-3")]) == "finished"


CALLED = ("actor_method_executor", "ray/_private/function_manager.py")
FIT = ("fit", "/home/user/actors.py")


def test_a_method_of_the_users_own_actor_trains_in_the_main_thread() -> None:
    busy = main(CALLED, FIT, ("load_batch", "/home/user/actors.py"))
    assert training_thread([busy]) is busy
    assert phase_of([busy]) == "user"
    assert phase_of([main(CALLED, FIT, ("all_reduce", C10D))]) == "collective"


@pytest.mark.parametrize(
    "calls",
    [
        [("poll_status", "ray/train/v2/_internal/execution/worker_group/worker.py")],
        [("__execute", "ray/train/_internal/worker_group.py"), ("get_next", "/opt/hooks.py")],
        [("__ray_call__", "ray/actor.py"), ("run", "/opt/dsray_inspect/agent/remote/reads.py")],
    ],
)
def test_a_task_of_ray_train_and_a_read_of_ours_train_nothing(calls: list[Call]) -> None:
    assert phase_of([main(CALLED, *calls)]) == "starting"


def test_a_checkout_of_deepspeed_is_read_by_its_layer() -> None:
    step = Frame(name="step", file="/src/ds/deepspeed/runtime/engine.py", line=1, layer="deepspeed")
    worker = Thread(name=V2_NAME, tid=2, stack=StackInfo((*frames(*RUNNER, TEACH), step)))
    assert phase_of([worker]) == "optimizer_step"


def test_user_function_is_the_innermost_named_one() -> None:
    stack = frames(
        TEACH,
        ("forward", ENGINE),
        ("load", "/home/user/data.py"),
        ("<listcomp>", "/home/user/data.py"),
        ("dumps", "/usr/lib/python3.11/json/__init__.py"),
    )
    assert StackInfo(stack).user_function == Function(
        name="load", file="/home/user/data.py", line=7
    )
    assert StackInfo(frames(("run", "ray/_private/worker.py"))).user_function is None


def native(name: str) -> Frame:
    return Frame(name=name, file="/usr/lib/libc.so.6", line=0, layer="native")


@pytest.mark.parametrize(
    ("calls", "inner", "waits"),
    [
        ([("all_reduce", C10D)], [], True),
        ([("all_reduce", C10D), ("wrapper", "torch/distributed/c10d_logger.py")], [], True),
        ([("barrier", C10D)], [native("pthread_cond_wait")], True),
        ([("step", STAGE_1_2)], [native("c10d::Work::wait"), native("??")], True),
        ([("wait", PARTITION)], [], True),
        ([("recv", "deepspeed/runtime/pipe/p2p.py")], [], True),
        ([("rendezvous", "torch/distributed/rendezvous.py")], [], False),
        ([("init_process_group", C10D)], [], False),
        ([("forward", ENGINE)], [native("at::mm")], False),
        ([("all_reduce", C10D), ("hook", "/home/user/hook.py")], [], False),
        ([], [], False),
    ],
)
def test_waits_in_collective(calls: list[Call], inner: list[Frame], waits: bool) -> None:
    assert StackInfo([*frames(TEACH, *calls), *inner]).in_collective is waits


LAYERS: st.SearchStrategy[Layer] = st.sampled_from(["user", "torch", "deepspeed", "native", "ray"])
ANY_FRAME = st.builds(Frame, name=st.text(), file=st.text(), line=st.integers(0, 9), layer=LAYERS)
ANY_THREAD = st.builds(
    Thread,
    name=st.sampled_from([V2_NAME, "MainThread", "MonitoringThread(x)", ""]),
    tid=st.none() | st.integers(1, 3),
    pid=st.none() | st.integers(1, 3),
    stack=st.lists(ANY_FRAME, max_size=5).map(StackInfo),
)


@given(st.lists(ANY_THREAD, max_size=4))
def test_any_threads_have_a_phase(threads: list[Thread]) -> None:
    assert phase_of(threads) in PHASES
    chosen = training_thread(threads)
    assert chosen is None or chosen in threads
    for thread in threads:
        assert thread.stack.phase in PHASES
        found = thread.stack.user_function
        assert found is None or found.file in {frame.file for frame in thread.frames}
        assert thread.stack.in_collective in (True, False)
