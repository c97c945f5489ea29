"""What real DeepSpeed engines wrote into their rings."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsray_inspect.agent.probes.ring import records
from dsray_inspect.agent.tracing.raw_spans import Clock, RawSpan, raw_spans, training_thread
from dsray_inspect.agent.tracing.steps import gap_spans

GOLDEN = Path(__file__).parents[1] / "golden" / "engines.jsonl"
Rows = Mapping[str, dict[str, Any]]
RECORDED: Rows = {row["name"]: row for row in map(json.loads, GOLDEN.read_text().splitlines())}


def recorded(name: str, rows: Rows = RECORDED) -> tuple[list[RawSpan], int]:
    """Return the spans of an engine with its gaps, and its training thread."""
    row = rows[name]
    words = records(base64.b64decode(row["records"]))
    found = raw_spans(words, [], Clock(*row["clock"]))
    thread = training_thread(words)
    found += gap_spans(found, thread)
    found.sort(key=lambda span: (span.start_ns, -(span.end_ns or 1 << 62)))
    return found, thread
