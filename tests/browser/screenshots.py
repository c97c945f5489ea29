"""`make screenshots`: the manual's picture of a report, drawn from a recorded incident."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Final

from tests.browser.chromium import Chromium
from tests.unit.reports import of_snapshots, rendered
from tests.unit.snapshots import changed, recorded

PICTURE: Final = Path(__file__).parents[2] / "docs" / "images" / "report.png"
_SIZE: Final = (1000, 1440)
_APART_S: Final = 0.66


def main() -> None:
    hung = recorded("hung")
    report = of_snapshots(*(changed(hung, number * _APART_S) for number in range(8)))

    with tempfile.TemporaryDirectory() as folder, Chromium(Path(folder) / "profile") as browser:
        page = Path(folder) / "hang.html"
        page.write_text(rendered(report))
        tab = browser.open(page)
        tab.emulate(width=_SIZE[0], height=_SIZE[1])
        shot = tab.call("Page.captureScreenshot", format="png", optimizeForSpeed=False)

    PICTURE.write_bytes(base64.b64decode(shot["data"]))
    print(PICTURE.name)


if __name__ == "__main__":
    main()
