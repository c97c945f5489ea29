"""Whose code a frame is: the user's, Ray's, DeepSpeed's, torch's or a library's, by its file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from dsray_inspect.agent.compat import deepspeed, libraries, ray, torch
from dsray_inspect.agent.model import Frame, Layer, Record

_SITE = re.compile(r".*/(?:site-packages|dist-packages)/(.*)")
_STDLIB = re.compile(r"/lib(?:64)?/(?:python3\.\d+t?|pypy3\.\d+)(?:/|\.zip/)|/python3\d+\.zip/")
_SHARED_OBJECT = re.compile(r"\.(?:so|dylib)(?:\.[\d.]+)?\Z|\A\[.*\]\Z")
_UPLOADED = tuple(f"{ray.UPLOADS_BELOW}{folder}/" for folder in ray.UPLOADED_FOLDERS)
_TYPED_IN = ("<stdin>", "<ipython-input-", "<input>", "<cell")
_TRACED_BY_TORCH = (*torch.GENERATED_FILES, *torch.OLDER_GENERATED_FILES)

# A checkout outside site-packages betrays itself by folders that only the project has.
_CHECKOUTS = re.compile(
    rf".*/(?:({'|'.join(deepspeed.CHECKOUT)})|({'|'.join(torch.CHECKOUT)})"
    rf"|{ray.CHECKOUT_ROOT}|({ray.CHECKOUT}))"
)
_COLLECTIVES = re.compile(
    rf"(?:{'|'.join((*torch.COLLECTIVE_FILES, *torch.NEWER_COLLECTIVE_FILES))}"
    rf"|{torch.COMPILED_COLLECTIVES})\Z"
)
_PROBES = "/dsray_inspect/agent/probes/wrapper.py"
_BUNDLED = (ray.BUNDLED_FOLDER, torch.BUNDLED_FOLDER)

# Ray Train (and runpy) call the user's function from these, whatever package it lives in.
_CALLERS = frozenset(
    [*ray.USER_CALLERS, ("_run_code", "runpy.py"), ("_run_code", "<frozen runpy>")]
)


class Roots(Record, frozen=True, kw_only=True):
    """Where a process itself says that its packages lie; needed for odd source checkouts only."""

    deepspeed: str | None = None
    torch: str | None = None
    ray: str | None = None
    stdlib: str | None = None


NO_ROOTS = Roots()


@lru_cache(maxsize=16384)
def home(file: str, roots: Roots = NO_ROOTS) -> tuple[str, str]:
    """Return the top-level package of a file ("" for a script of its own) and its path from there.

    The standard library's package is `python`, whatever was loaded as machine code is `native`.
    """
    if not file or file.startswith("<"):
        return _home_of_pseudo_file(file), file

    if _SHARED_OBJECT.search(file):
        return "native", file

    if (site := _SITE.match(file)) is not None:
        path = site[1]
        if ".egg/" in path:
            path = path.partition(".egg/")[2]

        return path.partition("/")[0].removesuffix(".py"), path

    for package in ("deepspeed", "torch", "ray"):
        root = getattr(roots, package)
        if root and file.startswith(root.rstrip("/") + "/"):
            return package, package + "/" + file[len(root.rstrip("/")) + 1 :]

    if any(folder in file for folder in _UPLOADED):
        return "", file

    if roots.stdlib and file.startswith(roots.stdlib.rstrip("/") + "/"):
        return "python", file[len(roots.stdlib.rstrip("/")) + 1 :]

    if (match := _STDLIB.search(file)) is not None:
        return "python", file[match.end() :]

    if (checkout := _CHECKOUTS.match(file)) is not None:
        path = str(checkout[checkout.lastindex or 0])
        return path.partition("/")[0], path

    return "", file


def _home_of_pseudo_file(file: str) -> str:
    if file.startswith(_TYPED_IN):
        return ""

    return "torch" if file.startswith(_TRACED_BY_TORCH) else "python"


def layer_of(package: str, path: str) -> Layer:
    """Return the layer of a file by its package and its path in there."""
    if package == "":
        return "user"

    if package in ("ray", "deepspeed", "torch") and any(part in path for part in _BUNDLED):
        return "library"

    if package == "ray":
        return "ray_train" if path.startswith(ray.TRAIN_FOLDER) else "ray"

    if package in ("torch", "functorch"):
        return "collective" if _COLLECTIVES.match(path) else "torch"

    if package == "deepspeed":
        return "deepspeed"

    if package == "python":
        return "python"

    return "native" if package == "native" else "library"


def label(frames: Sequence[Frame], roots: Roots = NO_ROOTS) -> tuple[Frame, ...]:
    """Return the frames, outermost first, each with its layer; a trace's own are left out."""
    frames = [frame for frame in frames if not frame.file.endswith(_PROBES)]
    homes = [home(frame.file, roots) for frame in frames]
    entry = _user_package(frames, homes)
    labelled = []
    for frame, (package, path) in zip(frames, homes, strict=True):
        layer: Layer = "user" if package and package == entry else layer_of(package, path)
        if frame.layer in (layer, "native"):
            labelled.append(frame)
        else:
            labelled.append(msgspec.structs.replace(frame, layer=layer))

    return tuple(labelled)


def _user_package(frames: Sequence[Frame], homes: Sequence[tuple[str, str]]) -> str:
    """Return the installed package that Ray Train called, "" when the caller is no package."""
    called = False
    for frame, (package, path) in zip(frames, homes, strict=True):
        if (frame.name, path) in _CALLERS:
            called = True
        elif (
            called
            and package not in libraries.WRAPPERS
            and layer_of(package, path) in ("user", "library")
        ):
            return package

    return ""
