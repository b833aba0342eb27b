"""A headless Chromium that is told over a pipe what to do, by its DevTools protocol."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
)  # fmt: skip
_PATIENCE = 60


class Page:
    """What came of opening a page: console errors, requests, and answers to scripts."""

    def __init__(self, browser):
        self._browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def _call(self, method, **parameters):
        return self._browser.call(method, session=self._session, **parameters)

    def open(self, path, width, height=900):
        """Open a file as a screen of this width shows it, and wait until it stands still."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self._browser.events.clear()
        self._call("Page.navigate", url=path.resolve().as_uri())
        self._browser.until(lambda event: event["method"] == "Page.loadEventFired")
        self.run("new Promise(done => setTimeout(done, 300))")

    def run(self, script):
        """Return what a script comes to."""
        answer = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def _seen(self, method):
        return [event["params"] for event in self._browser.events if event["method"] == method]

    @property
    def errors(self):
        """What the console complains of."""
        logged = [one["entry"]["text"] for one in self._seen("Log.entryAdded") if one["entry"]["level"] == "error"]
        said = [
            str(one["args"]) for one in self._seen("Runtime.consoleAPICalled") if one["type"] in {"error", "warning"}
        ]
        thrown = [str(one["exceptionDetails"]) for one in self._seen("Runtime.exceptionThrown")]
        return logged + said + thrown

    @property
    def requests(self):
        """Where it asked for something."""
        return [one["request"]["url"] for one in self._seen("Network.requestWillBeSent")]

    def picture(self, path, whole=True):
        """Write a screenshot."""
        shot = self._call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(shot))


class Browser:
    """A browser of its own, without a profile."""

    def __init__(self, folder):
        self.events = []
        self._number, self._rest = 0, b""
        reads, self._write = os.pipe()
        self._read, writes = os.pipe()

        # the protocol is on the file descriptors 3 and 4; a shell puts them there, whatever numbers they have here
        command = f'exec "$0" "$@" 3<&{reads} 4>&{writes}'
        flags = [*_FLAGS, f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", command, BROWSER, *flags], pass_fds=(reads, writes), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(reads)
        os.close(writes)

    def call(self, method, session=None, **parameters):
        """Send a command and return its answer."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self._write, json.dumps(message).encode() + b"\0")
        answer = self._next(lambda one: one.get("id") == number)
        assert "error" not in answer, answer
        return answer["result"]

    def until(self, fits):
        """Wait for an event."""
        if not any(map(fits, self.events)):
            self._next(lambda one: "method" in one and fits(one))

    def _next(self, fits):
        deadline = time.monotonic() + _PATIENCE
        while True:
            while b"\0" in self._rest:
                message, _, self._rest = self._rest.partition(b"\0")
                one = json.loads(message)
                if "method" in one:
                    self.events.append(one)
                if fits(one):
                    return one
            left = deadline - time.monotonic()
            assert left > 0, "the browser does not answer"
            assert select.select([self._read], [], [], left)[0], "the browser does not answer"
            self._rest += os.read(self._read, 1 << 20)

    def close(self):
        """End the browser."""
        with contextlib.suppress(AssertionError, OSError):
            self.call("Browser.close")
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        os.close(self._write)
