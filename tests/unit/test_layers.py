"""Every frame has a layer, told by its file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsray_inspect.agent.model import LAYERS, Frame, Layer
from dsray_inspect.agent.stacks.layers import Roots, home, label, layer_of

SITE = "/opt/venv/lib/python3.11/site-packages"


def frame(name: str, file: str, line: int = 1) -> Frame:
    return Frame(name=name, file=file, line=line)


def layers(*frames: Frame, roots: Roots | None = None) -> list[Layer]:
    return [f.layer for f in label(frames, roots or Roots())]


@pytest.mark.parametrize(
    ("file", "layer"),
    [
        ("/home/user/train.py", "user"),
        ("train.py", "user"),
        ("<stdin>", "user"),
        ("<ipython-input-3-abc>", "user"),
        ("/opt/venv/bin/mytrain", "user"),
        (
            "/tmp/ray/session_1/runtime_resources/working_dir_files/_ray_pkg_1a2b/src/train.py",
            "user",
        ),
        ("/tmp/ray/session_1/runtime_resources/py_modules_files/_ray_pkg_1a2b/mine/x.py", "user"),
        (f"{SITE}/ray/_private/worker.py", "ray"),
        (f"{SITE}/ray/data/iterator.py", "ray"),
        (f"{SITE}/ray/train/v2/_internal/util.py", "ray_train"),
        (f"{SITE}/ray/train/torch/config.py", "ray_train"),
        (f"{SITE}/ray/thirdparty_files/psutil/__init__.py", "library"),
        (f"{SITE}/ray/_private/runtime_env/agent/thirdparty_files/aiohttp/web.py", "library"),
        (f"{SITE}/deepspeed/comm/torch.py", "deepspeed"),
        (f"{SITE}/deepspeed/runtime/engine.py", "deepspeed"),
        (f"{SITE}/torch/nn/modules/module.py", "torch"),
        (f"{SITE}/torch/distributed/fsdp/api.py", "torch"),
        (f"{SITE}/torch/distributed/distributed_c10d.py", "collective"),
        (f"{SITE}/torch/distributed/_functional_collectives.py", "collective"),
        (f"{SITE}/torch/distributed/rendezvous.py", "collective"),
        (f"{SITE}/torch/distributed/c10d_logger.py", "collective"),
        ("<eval_with_key>.7", "torch"),
        (f"{SITE}/numpy/core/multiarray.py", "library"),
        (f"{SITE}/six.py", "library"),
        ("/usr/lib/python3/dist-packages/yaml/__init__.py", "library"),
        (
            "/tmp/ray/s/runtime_resources/pip/ab/virtualenv/lib/python3.10/site-packages/x/y.py",
            "library",
        ),
        ("/usr/lib/python3.11/threading.py", "python"),
        ("/opt/conda/lib/python3.12/asyncio/base_events.py", "python"),
        ("/usr/lib/python311.zip/os.py", "python"),
        ("<frozen importlib._bootstrap>", "python"),
        ("<string>", "python"),
        ("", "python"),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", "native"),
        (f"{SITE}/torch/lib/libtorch_cpu.so", "native"),
        ("[vdso]", "native"),
        # Checkouts of the projects.
        ("/src/DeepSpeed/deepspeed/runtime/engine.py", "deepspeed"),
        ("/src/pytorch/torch/nn/modules/module.py", "torch"),
        ("/src/pytorch/torch/distributed/distributed_c10d.py", "collective"),
        ("/src/ray/python/ray/train/v2/_internal/util.py", "ray_train"),
        ("/src/ray/python/ray/util/state/api.py", "ray"),
        # Folders of users that are named like the projects.
        ("/home/user/deepspeed/train.py", "user"),
        ("/home/user/torch/train.py", "user"),
        ("/home/user/ray/train/main.py", "user"),
        ("/home/user/ray/util/x.py", "user"),
    ],
)
def test_layer_of_a_file(file: str, layer: Layer) -> None:
    assert layer_of(*home(file)) == layer


def test_an_egg_is_the_package_in_it() -> None:
    file = f"{SITE}/deepspeed-0.14.0-py3.11.egg/deepspeed/runtime/engine.py"
    assert home(file) == ("deepspeed", "deepspeed/runtime/engine.py")


def test_roots_find_a_checkout_with_an_odd_name() -> None:
    roots = Roots(deepspeed="/work/ds/", stdlib="/opt/py")
    frames = [frame("step", "/work/ds/odd/new.py"), frame("run", "/opt/py/threading.py")]
    assert layers(*frames, roots=roots) == ["deepspeed", "python"]
    assert home("/work/ds/odd/new.py", roots) == ("deepspeed", "deepspeed/odd/new.py")


def test_what_ray_train_calls_is_the_users_though_installed() -> None:
    assert layers(
        frame("train_fn", f"{SITE}/ray/train/v2/_internal/util.py"),
        frame("main", f"{SITE}/acme/trainer.py"),
        frame("backward", f"{SITE}/deepspeed/runtime/engine.py"),
        frame("hook", f"{SITE}/acme/hooks.py"),
        frame("dumps", f"{SITE}/orjson/__init__.py"),
    ) == ["ray_train", "user", "deepspeed", "user", "library"]


@pytest.mark.parametrize("file", ["ray/train/_internal/utils.py", "ray/train/v2/_internal/util.py"])
def test_decorators_between_ray_train_and_the_user_are_passed_over(file: str) -> None:
    assert layers(
        frame("train_fn", f"{SITE}/{file}"),
        frame("inner", "/usr/lib/python3.11/contextlib.py"),
        frame("decorate_context", f"{SITE}/torch/utils/_contextlib.py"),
        frame("wrapped_f", f"{SITE}/tenacity/__init__.py"),
        frame("main", f"{SITE}/acme/trainer.py"),
    ) == ["ray_train", "python", "torch", "library", "user"]


def test_a_script_needs_no_entry() -> None:
    assert layers(
        frame("train_fn", f"{SITE}/ray/train/v2/_internal/util.py"),
        frame("teach", "/home/user/train.py"),
        frame("train", f"{SITE}/transformers/trainer.py"),
    ) == ["ray_train", "user", "library"]


def test_a_native_frame_stays_native() -> None:
    native = Frame(name="f", file="/src/_raylet.pyx", line=3, layer="native")
    assert label([native]) == (native,)


@given(st.lists(st.builds(frame, st.text(), st.text(), st.integers(0, 9))))
def test_any_stack_is_labelled(frames: list[Frame]) -> None:
    labelled = label(frames)
    assert [(f.name, f.file, f.line) for f in labelled] == [
        (f.name, f.file, f.line) for f in frames
    ]
    assert all(f.layer in LAYERS for f in labelled)
    assert label(labelled) == labelled


def test_the_wrappers_of_a_trace_are_not_shown() -> None:
    ours = f"{SITE}/dsray_inspect/agent/probes/wrapper.py"
    engine = f"{SITE}/deepspeed/runtime/engine.py"
    shown = label(
        (frame("teach", "/home/user/train.py"), frame("probed", ours), frame("step", engine))
    )
    assert [frame.name for frame in shown] == ["teach", "step"]
