"""`ray start` for a warm cluster: the same, but it sets up workers by `setup_worker.py` beside this file."""

from __future__ import annotations

import sys
from pathlib import Path

from ray._private import ray_constants
from ray.scripts.scripts import main

if __name__ == "__main__":
    # Ray joins it to a folder of its own, which an absolute path replaces.
    ray_constants.SETUP_WORKER_FILENAME = str(Path(__file__).with_name("setup_worker.py"))
    sys.argv[0] = "ray"
    sys.exit(main())
