"""Ray and Ray Train: what dsray-inspect knows of their internals, a module for each kind of name.

V1 and V2 are the generations of Ray Train (`RAY_TRAIN_V2_ENABLED`). `tests/compat` runs on the
installed Ray; `python -m tests.compat DIR` runs it on any unpacked release.
"""

from __future__ import annotations

from dsray_inspect.agent.compat.ray.files import *
from dsray_inspect.agent.compat.ray.frames import *
from dsray_inspect.agent.compat.ray.logs import *
from dsray_inspect.agent.compat.ray.methods import *
from dsray_inspect.agent.compat.ray.objects import *
from dsray_inspect.agent.compat.ray.processes import *
from dsray_inspect.agent.compat.ray.tables import *
from dsray_inspect.agent.compat.ray.tasks import *
from dsray_inspect.agent.compat.ray.variables import *

VERIFIED = ("2.60.0", "2.49.2", "2.46.0", "2.44.1")
"""Used on real clusters of these versions: every row that they have, but for those with a `verified`."""
