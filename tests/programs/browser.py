"""A real browser for tests: starts headless Chromium and drives it over the DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import websocket

SECONDS = 60
"""How long anything may take."""
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--window-size=1200,1000",
)


def executable() -> str | None:
    """Return where Chromium is, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Run Chromium with a profile of its own, and its log under `folder`; neither it nor its profile is left."""
    profile = Path(tempfile.mkdtemp(prefix="rc-", dir="/tmp"))  # a socket in it must have a short path
    command = executable()
    assert command is not None
    environment = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [command, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**environment, "HOME": str(profile), "TMPDIR": str(profile)},
            start_new_session=True,
        )
    try:
        address = profile / "DevToolsActivePort"
        until(lambda: address.exists() and address.read_text().count("\n"), "Chromium starts")
        port, path = address.read_text().split("\n")[:2]
        connection = websocket.create_connection(
            f"ws://127.0.0.1:{port}{path}", timeout=SECONDS, suppress_origin=True, http_no_proxy=["127.0.0.1"]
        )
        with contextlib.closing(connection):
            yield Browser(connection)
    finally:
        _kill(process, profile)
        shutil.rmtree(profile, ignore_errors=True)


def until(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true answer of `condition`; an AssertionError says `what` never came."""
    deadline = time.monotonic() + SECONDS
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited {SECONDS} s in vain: {what}"
        time.sleep(0.02)
    return answer


def _kill(process: subprocess.Popen[bytes], profile: Path) -> None:
    """End Chromium and all that it started: its descendants, and helpers that left its process tree."""
    mine = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for other in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(profile) in argument for argument in other.cmdline()):
                mine.append(other)
    for each in mine:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait(SECONDS)
    psutil.wait_procs(mine, SECONDS)


class Browser:
    """A connection to Chromium, and what it reports of its pages."""

    def __init__(self, connection: websocket.WebSocket) -> None:
        self._connection = connection
        self._number = 0
        self._pages: dict[str, Page] = {}

    def open(self, path: Path | str, height: int = 1000, scripts: bool = True) -> Page:
        """Show a file, or an address, in a new page, and return it once it is loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        size = {"width": 1200, "height": height, "deviceScaleFactor": 1, "mobile": False}
        page.call("Emulation.setDeviceMetricsOverride", **size)
        page.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        page.call("Page.navigate", url=path if isinstance(path, str) else path.as_uri())
        page.until("document.readyState == 'complete' && location.protocol != 'about:'")
        return page

    def call(self, method: str, session: str | None = None, **arguments: Any) -> Any:
        """Send a command and return its result; the events that come before that are taken note of."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": arguments}
        if session is not None:
            message["sessionId"] = session
        self._connection.send(json.dumps(message))
        while True:
            answer = json.loads(self._connection.recv())
            if answer.get("id") == message["id"]:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            page = self._pages.get(answer.get("sessionId", ""))
            if page is not None and "method" in answer:
                page.note(answer["method"], answer["params"])


class Page:
    """A page: its frames, the requests it made, and what went wrong in it."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self._contexts: dict[str, int] = {}
        self.requests: list[str] = []
        """Addresses asked for, other than `data:` and the file that was opened."""
        self.errors: list[str] = []
        """Uncaught exceptions, errors in the console, and dialogs that scripts opened."""

    def note(self, method: str, event: dict[str, Any]) -> None:
        """Take an event."""
        if method == "Network.requestWillBeSent":
            if event["type"] != "Document" and not event["request"]["url"].startswith(("data:", "blob:")):
                self.requests.append(event["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.requests.append(event["url"])
        elif method == "Runtime.exceptionThrown":
            details = event["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled":
            if event["type"] in ("error", "assert"):
                self.errors.append(f"console: {event['args']}")
        elif method == "Log.entryAdded":
            if event["entry"]["level"] == "error":
                self.errors.append(f"log: {event['entry']['text']} {event['entry'].get('url', '')}")
        elif method == "Page.javascriptDialogOpening":
            self.errors.append(f"dialog: {event['message']}")
        elif method == "Runtime.executionContextCreated":
            context = event["context"]
            if context["auxData"]["isDefault"]:
                self._contexts[context["auxData"]["frameId"]] = context["id"]

    def call(self, method: str, **arguments: Any) -> Any:
        """Send a command to this page."""
        return self._browser.call(method, self._session, **arguments)

    def frames(self) -> list[str]:
        """The ids of the frames in this page, in its order, its own not included."""
        tree = self.call("Page.getFrameTree")["frameTree"]
        return [child["frame"]["id"] for child in tree.get("childFrames", ())]

    def evaluate(self, expression: str, frame: str | None = None) -> Any:
        """Return the value of a JavaScript expression, in the page or in one of its frames."""
        where = {} if frame is None else {"contextId": self._contexts[frame]}
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, **where)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str, frame: str | None = None) -> Any:
        """Return the first true value of a JavaScript expression."""
        return until(lambda: self.evaluate(expression, frame), expression)

    def move_to(self, element: str, frame: str | None = None) -> tuple[float, float]:
        """Move the mouse to the middle of an element, given as a JavaScript expression; returns where that is."""
        x, y = self.evaluate(
            f"""(() => {{
                const element = {element};
                element.scrollIntoView({{block: "center"}});
                let box = element.getBoundingClientRect();
                let x = box.x + box.width / 2, y = box.y + box.height / 2;
                if (window.frameElement) {{
                    const outer = window.frameElement.getBoundingClientRect();
                    x += outer.x + window.frameElement.clientLeft;
                    y += outer.y + window.frameElement.clientTop;
                }}
                return [x, y];
            }})()""",
            frame,
        )
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        return x, y

    def click(self, element: str, frame: str | None = None) -> None:
        """Click on the middle of an element, given as a JavaScript expression."""
        x, y = self.move_to(element, frame)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """Press a key, such as "Enter", or a character."""
        codes = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        code = codes.get(key, ord(key.upper()) if len(key) == 1 and key.isalnum() else 0)
        text = {"text": "\r" if key == "Enter" else key} if len(key) == 1 or key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            more = text if kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    def screenshot(self, x: float, y: float, width: float, height: float) -> bytes:
        """Return a part of the page as a PNG."""
        clip = {"x": x, "y": y, "width": width, "height": height, "scale": 1}
        answer = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=False)
        return base64.b64decode(answer["data"])
