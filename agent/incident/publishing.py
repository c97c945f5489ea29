from __future__ import annotations
class Publisher:  # placeholder while the rest is tried
    hint: tuple[str, ...] = ()
