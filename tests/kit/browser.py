"""Headless Chromium for tests, driven over a pipe by the DevTools protocol: no driver, no port."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

Dict = dict[str, Any]

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions",
    "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-pipe",
)  # fmt: skip
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38,
        "ArrowRight": 39, "ArrowDown": 40}  # fmt: skip
PATIENCE = 60.0


def find() -> str | None:
    """The path of a Chromium, or None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One process; every page is a tab of its own."""

    def __init__(self, program: str, profile: Path) -> None:
        read, their_write = os.pipe()
        their_read, self._write = os.pipe()
        # Chromium reads its descriptor 3 and writes its descriptor 4; sh duplicates none above 9
        joined = f'exec "$@" 3</dev/fd/{their_read} 4>/dev/fd/{their_write}'
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", joined, "sh", program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(their_read, their_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(their_read)
        os.close(their_write)
        self._read = read
        self._rest = b""
        self._last = 0
        self.pages: dict[str, Page] = {}

    def page(self, *, width: int = 1200, height: int = 900, dark: bool = False, script: bool = True) -> Page:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session, target)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 500)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", features=[scheme])
        page.call("Emulation.setScriptExecutionDisabled", value=not script)
        return page

    def call(self, method: str, session: str | None = None, **values: Any) -> Dict:
        self._last += 1
        message: Dict = {"id": self._last, "method": method, "params": values}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self._last:
                assert "error" not in answer, (method, answer["error"])
                result: Dict = answer["result"]
                return result

    def receive(self) -> Dict:
        """The next message; what concerns a page is noted there."""
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            assert ready, "Chromium says nothing"
            read = os.read(self._read, 1 << 16)
            assert read, "Chromium has ended"
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\0")
        message: Dict = json.loads(line)
        if message.get("sessionId") in self.pages and "method" in message:
            self.pages[message["sessionId"]].note(message["method"], message["params"])
        return message

    def close(self) -> None:
        try:
            self.call("Browser.close")
        finally:
            os.close(self._write)
            os.close(self._read)
            self._process.wait(PATIENCE)


class Page:
    """A tab.

    Attributes:
        errors: what the console and uncaught exceptions said.
        requests: the addresses it asked for.
    """

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser, self._session, self._target = browser, session, target
        self._loaded = False
        self.errors: list[str] = []
        self.requests: list[str] = []

    def call(self, method: str, **values: Any) -> Dict:
        return self._browser.call(method, self._session, **values)

    def note(self, method: str, values: Dict) -> None:
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(values["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.errors.append(str(values["args"]))
        elif method == "Log.entryAdded":
            self.errors.append(values["entry"]["text"])

    def open(self, path: Path) -> Page:
        return self.go(path.resolve().as_uri())

    def go(self, address: str) -> Page:
        self._loaded = False
        self.call("Page.navigate", url=address)
        while not self._loaded:
            self._browser.receive()
        return self

    def __call__(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, *keys: str) -> None:
        for key in keys:
            code = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEYS[key]}
            text = {"text": {"Enter": "\r", " ": " "}[key]} if key in ("Enter", " ") else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", **code, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def hover(self, x: float, y: float) -> None:
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def pdf(self) -> bytes:
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"])

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)
