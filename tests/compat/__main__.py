"""Look for every name on the shelves in releases: `python -m tests.compat ray==2.46.0 DIR …`.

A folder is one that contains the package, such as the site-packages of a venv. A release that is
named is downloaded once; nothing of it is installed or imported.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tests.compat.missing import missing, unexpected
from tests.compat.package import Package
from tests.compat.test_shelves import SHELVES
from tests.matrix.venvs import CACHE, locked


def main(wanted: list[str]) -> int:
    gone = 0

    for folder in [downloaded(one) if "==" in one else Path(one) for one in wanted]:
        for name in SHELVES:
            if (folder / name).is_dir():
                gone += report(name, folder)

    return 1 if gone else 0


def report(name: str, folder: Path) -> int:
    """Print what a package lacks, and what it has too much; return how much it lacks."""
    package = Package(name, folder)
    found = missing(SHELVES[name], package)
    lines = [f"  - {line}" for line in found]
    lines += [f"  + {line}" for line in unexpected(SHELVES[name], package)]
    print("\n".join([f"{name} {package.version_text}: {len(found)} missing", *lines]))
    return len(found)


def downloaded(release: str) -> Path:
    """Return the folder with the files of a release, which is downloaded if it is not there."""
    folder = CACHE / "releases" / release.replace("==", "-")

    with locked(folder):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as place:
                download(release, Path(place))
                (unpacked,) = [path for path in Path(place).iterdir() if path.is_dir()]
                unpacked.rename(folder)

    return folder


def download(release: str, place: Path) -> None:
    """Download a wheel, or a source archive where there is none, and unpack it in the place."""
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(place))
    wheel = subprocess.run([*pip, "--only-binary=:all:", release], capture_output=True)

    if wheel.returncode:
        source = ("--no-binary=:all:", "--no-build-isolation")
        subprocess.run([*pip, *source, release], check=True)

    (archive,) = list(place.iterdir())

    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(place / "unpacked")
    else:
        with tarfile.open(archive) as opened_tar:
            opened_tar.extractall(place, filter="data")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
