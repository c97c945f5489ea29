"""DeepSpeed: what dsray-inspect knows of its internals, a module for each kind of name."""

from __future__ import annotations

from dsray_inspect.agent.compat.deepspeed.engine import *
from dsray_inspect.agent.compat.deepspeed.files import *
from dsray_inspect.agent.compat.deepspeed.frames import *
from dsray_inspect.agent.compat.deepspeed.startup import *

VERIFIED = ("0.19.8", "0.17.6", "0.16.9")
"""Used on two real ranks with these versions: every row that they have."""
