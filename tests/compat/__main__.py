"""Look for every name on the shelves in unpacked releases: `python -m tests.compat DIR…`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.compat.missing import missing, unexpected
from tests.compat.package import Package
from tests.compat.test_shelves import SHELVES


def main(folders: list[str]) -> int:
    gone = 0

    for folder in map(Path, folders):
        for name in SHELVES:
            if (folder / name).is_dir():
                package = Package(name, folder)
                found = missing(SHELVES[name], package)
                gone += len(found)
                print(f"{name} {package.version_text} in {folder}: {len(found)} missing")
                print("".join(f"  - {line}\n" for line in found), end="")
                print(
                    "".join(f"  + {line}\n" for line in unexpected(SHELVES[name], package)), end=""
                )

    return 1 if gone else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
