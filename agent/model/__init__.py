"""The records every part agrees on: what one sample of a running job says.

`Snapshot` is the document of `attach --json` (`schema_version` 1); `docs/snapshot.schema.json`
is generated from it. Times are seconds (`_s`) or Unix seconds (`_at`), sizes bytes (`_bytes`).
`None` always means "not known"; the reason stands in `Evidence`.
"""

from __future__ import annotations

from dsray_inspect.agent.model.collectives import *
from dsray_inspect.agent.model.job import *
from dsray_inspect.agent.model.node import *
from dsray_inspect.agent.model.record import *
from dsray_inspect.agent.model.snapshot import *
from dsray_inspect.agent.model.stacks import *
from dsray_inspect.agent.model.startup import *
from dsray_inspect.agent.model.verdict import *
from dsray_inspect.agent.model.vocabulary import *
from dsray_inspect.agent.model.wait_graph import *
from dsray_inspect.agent.model.worker import *
