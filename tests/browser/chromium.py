"""A headless Chromium, spoken to in its DevTools protocol over a pipe: no port and no package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

Message = dict[str, Any]
PROGRAM: Final = shutil.which("chromium")
_FLAGS: Final = (
    *("--headless=new", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"),
    *("--disable-background-networking", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *(("--no-sandbox",) if os.geteuid() == 0 else ()),
)


class Chromium:
    """One browser; use it in a `with` block, and give each page a tab of its own."""

    def __init__(self, folder: Path) -> None:
        assert PROGRAM is not None
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        # It reads from descriptor 3 and writes to 4.
        line = f'exec "$@" 3<&{to_read} 4>&{to_write}'
        command = (PROGRAM, *_FLAGS, f"--user-data-dir={folder}", "about:blank")
        self._process = subprocess.Popen(
            ["bash", "-c", line, "bash", *command],
            pass_fds=(to_read, to_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(folder)},
            start_new_session=True,
        )
        os.close(to_read)
        os.close(to_write)
        self._rest = b""
        self._number = 0
        self.events: list[Message] = []

    def __enter__(self) -> Chromium:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._write)  # it ends once nobody can speak to it

        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

        os.close(self._read)

    def call(self, method: str, *, session: str | None = None, **params: Any) -> Message:
        """Call a method and return its result; what happens meanwhile is kept in `events`."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params}
        message |= {"sessionId": session} if session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        answer = self.wait_for(lambda one: one.get("id") == number)
        assert "error" not in answer, (method, answer["error"])
        result: Message = answer["result"]
        return result

    def wait_for(self, is_wanted: Callable[[Message], bool]) -> Message:
        """Return the first message that is wanted, of those that come from now on."""
        while True:
            message = self._next()

            if "method" in message:
                self.events.append(message)

            if is_wanted(message):
                return message

    def _next(self) -> Message:
        while b"\0" not in self._rest:
            read = os.read(self._read, 1 << 20)
            assert read, "Chromium has ended"
            self._rest += read

        line, _, self._rest = self._rest.partition(b"\0")
        found: Message = json.loads(line)
        return found

    def open(self, path: Path) -> Tab:
        """Open a file in a tab of its own, and return it once it is loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        tab = Tab(self, attached["sessionId"])

        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.call(f"{domain}.enable")

        self.events.clear()
        tab.call("Page.navigate", url=path.absolute().as_uri())
        self.wait_for_event("Page.loadEventFired")
        return tab

    def wait_for_event(self, method: str) -> None:
        if not any(event["method"] == method for event in self.events):
            self.wait_for(lambda message: message.get("method") == method)


class Tab(NamedTuple):
    """One page in the browser."""

    browser: Chromium
    session: str

    def call(self, method: str, **params: Any) -> Message:
        return self.browser.call(method, session=self.session, **params)

    def run(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def text(self, selector: str) -> str:
        found: str = self.run(f"document.querySelector({json.dumps(selector)}).textContent")
        return found

    def press(self, key: str) -> None:
        """Press a key in whatever has the focus."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")

        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=_CODES.get(key, ""),
                windowsVirtualKeyCode=_KEYS.get(key, ord(key[0].upper())),
                **({"text": text} if text and kind == "keyDown" else {}),
            )

    def emulate(
        self,
        *,
        media: str = "screen",
        scheme: str = "light",
        width: int = 1200,
        height: int = 900,
    ) -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def requests(self) -> list[str]:
        """Return what the page asked for, itself first."""
        return [
            event["params"]["request"]["url"]
            for event in self.browser.events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """Return errors of scripts, and what the page's policy has kept from running."""
        return [
            json.dumps(event["params"])
            for event in self.browser.events
            if event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")
        ]


_KEYS: Final = {
    "Enter": 13,
    "Escape": 27,
    "Home": 36,
    "End": 35,
    "/": 191,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
}
_CODES: Final = {"/": "Slash"}
