"""A desk: the real server over a folder of cases, and one headless Chromium with a page on it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sacroplasty.workstation.app import app
from sacroplasty.workstation.guard import COOKIE, Session
from sacroplasty.workstation.serve import address_of, bound
from sacroplasty.workstation.station import Setup
from tests.data import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# The marks of a test that needs the browser.
IN_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is absent: install it to run the page's tests"),
]
STAGES = ("import", "anatomy", "lesion", "suitability", "approaches", "views", "rehearsal", "guidance", "cement",
          "report", "procedure", "follow-up", "cohort")  # fmt: skip
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
# A busy machine is slow, not wrong: nothing here asserts a time.
PATIENCE_S = 120.0
# A job starts a program of its own, which compiles its kernels at the first time.
JOB_PATIENCE_S = 480.0


class Desk:
    """A served folder of cases and a browser with one page on it; remembers everything that went wrong in it."""

    def __init__(self, address: str, cookie: str, browser: Any) -> None:
        self.address, self.cookie, self.browser = address, cookie, browser
        self.troubles: list[str] = []
        self.requests: list[str] = []
        self.page: Any = None

    def window(self, width: int = 1366, height: int = 768) -> Any:
        context = self.browser.new_context(viewport={"width": width, "height": height})
        context.add_cookies([{"name": COOKIE, "value": self.cookie, "url": self.address}])
        page = context.new_page()
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("console", lambda said: self.troubles.append(said.text) if said.type == "error" else None)
        page.on("request", lambda request: self.requests.append(request.url))
        return page

    def go(self, stage: str, page: Any = None) -> None:
        (page or self.page).goto(f"{self.address}#/case/toy/{stage}")

    def api(self, method: str, path: str, body: Any = None, revision: int | None = None) -> Any:
        headers = {"If-Match": f'"{revision}"', "Origin": self.address.rstrip("/")} if revision is not None else {}
        answer = self.page.request.fetch(
            f"{self.address}api{path}", method=method, headers=headers, **({"data": body} if body is not None else {})
        )
        assert answer.ok, answer.text()
        return answer.json()

    @property
    def revision(self) -> int:
        return int(self.api("GET", "/cases/toy")["revision"])


def until(answer: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """The first true answer; a content policy without eval forbids the usual waiting by script."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        found = answer()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"never: {what}")


@contextmanager
def at_desk(root: Path, setup: Setup | None = None) -> Iterator[Desk]:
    """The server over `root` in a thread, one worker process, one browser."""
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is absent: pip install sacroplasty[e2e]")
    uvicorn = pytest.importorskip("uvicorn")
    with bound(0) as door, pytest.MonkeyPatch.context() as environment:
        # The worker is another program, started in another folder.
        environment.setenv("PYTHONPATH", str(ROOT / "src"))
        port = int(door.getsockname()[1])
        session = Session()
        guarded = app(root, session=session, port=port, setup=setup or Setup(), workers=1)
        config = uvicorn.Config(
            guarded, log_level="error", access_log=False, lifespan="on", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
        thread.start()
        until(lambda: server.started, "the server starts")
        with sync.sync_playwright() as play:
            browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            one = Desk(address_of(session, port).split("?")[0], session.cookie, browser)
            one.page = one.window()
            yield one
            browser.close()
        server.should_exit = True
        thread.join(20)


def painted(page: Any, pane: str) -> None:
    until(lambda: page.get_attribute(f'[data-pane="{pane}"] canvas', "data-milliseconds"), f"{pane} is painted")


def colours(page: Any, pane: str) -> int:
    """How many different colours a pane shows: a blank one has one or two."""
    return page.evaluate(
        """(pane) => { const c = document.querySelector(`[data-pane="${pane}"] canvas`);
        const d = new Uint32Array(c.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer);
        return new Set(d).size; }""",
        pane,
    )


def focus(page: Any) -> list[float]:
    words = page.inner_text("[data-hu]")
    return [float(number) for number in words.split(" mm")[0].split(",")]


def told_pain(page: Any, told: Iterable[tuple[str, str, str]]) -> None:
    """Days, scores and words entered on the open follow-up page, each listed, and drawn in a chart."""
    until(lambda: page.get_by_label("NRS 0 to 10").count(), "the form")
    for day, nrs, words in told:
        page.get_by_label("Day after the procedure", exact=True).first.fill(day)
        page.get_by_label("NRS 0 to 10").fill(nrs)
        page.get_by_label("The patient's words").fill(words)
        page.locator("section", has_text="Pain").get_by_role("button", name="Add").first.click()
        until(lambda words=words: words in page.inner_text("main"), f"{words} is listed")
    until(lambda: page.locator("svg.chart polyline").count() >= 1, "a chart")
