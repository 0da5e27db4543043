"""The pictures of docs/workstation.md: every page of the workstation on the digital patient zhang-1.

python benchmarks/workstation_pictures.py CASES [PICTURE ...], where CASES holds the finished case `zhang-1` as
`sacroplasty demo` makes it, and `acrin` for the picture of a real CT. Works on a copy. Needs Chromium and playwright.
What the patient is said to have answered is made up after one of the papers' patients.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "src")]

from tests.workstation.desk import JOB_PATIENCE_S, Desk, at_desk, painted, until  # noqa: E402
from tests.workstation.test_work import true_clicks  # noqa: E402

from sacroplasty.workstation.station import Setup  # noqa: E402

OUT = HERE.parent / "docs" / "pictures"
SIZE, LARGEST_BYTES = (1093, 615), 150_000
CASE = "/cases/zhang-1"
# Time for the panes to sharpen and the radiographs to come.
SETTLED_MS = 5000


class Album:
    """A desk, and where its pictures go."""

    def __init__(self, desk: Desk, root: Path) -> None:
        self.desk, self.page, self.root = desk, desk.page, root

    def go(self, stage: str, case: str = "zhang-1") -> None:
        self.page.goto(f"{self.desk.address}#/case/{case}/{stage}")
        until(lambda: self.page.query_selector("main"), f"{stage} opens")

    def press(self, words: str) -> None:
        self.page.get_by_role("button", name=words, exact=True).first.click()

    def write(self, method: str, path: str, body: Any = None) -> Any:
        revision = self.desk.api("GET", CASE)["revision"]
        return self.desk.api(method, f"{CASE}{path}", body, revision)

    def settled(self) -> bool:
        """Slices are sharp and no radiograph is awaited."""
        self.page.wait_for_timeout(100)
        words = "[...document.querySelectorAll('[data-caption]')].map((one) => one.dataset.caption).join()"
        return "coarse" not in self.page.evaluate(words) and "Waiting for" not in self.page.inner_text("main")

    def keep(self, name: str) -> None:
        """The page as a small picture with few colours."""
        from PIL import Image

        self.page.wait_for_timeout(SETTLED_MS)
        until(self.settled, "the pictures are sharp")
        self.page.wait_for_timeout(SETTLED_MS)
        found = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
        for colours in (256, 128, 64):
            buffer = io.BytesIO()
            few = found.quantize(colours, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
            few.save(buffer, format="PNG", optimize=True)
            if buffer.tell() < LARGEST_BYTES:
                break
        (OUT / f"workstation_{name}.png").write_bytes(buffer.getvalue())
        print(f"workstation_{name}.png {buffer.tell()} bytes")


def _plain(stage: str) -> Callable[[Album], None]:
    return lambda album: album.go(stage)


def _compare(album: Album) -> None:
    album.go("approaches")
    painted(album.page, "axial")
    album.press("Compare")


def _bulls_eye(album: Album) -> None:
    album.go("views")
    album.press("progress from behind")


def _step(album: Album) -> None:
    album.go("rehearsal")
    until(lambda: album.page.locator(".steps li").count() > 3, "the steps")
    album.page.locator(".steps li button").nth(3).click()


def _trainee(album: Album) -> None:
    album.go("rehearsal")
    album.press("Begin")
    for n, lao_deg in enumerate(("0", "90"), start=1):
        album.page.locator(".panel input[type=range]").first.fill(lao_deg)
        album.page.get_by_role("button", name="Take a picture").click()
        until(lambda n=n: album.page.query_selector(f'[data-pane="Picture {n}, the last"]'), "the picture")  # type: ignore[misc]


def _guidance(album: Album) -> None:
    album.go("guidance")
    album.press("Simulate two shots")
    until(lambda: album.page.locator(".shots img").count() == 2, "two shots", JOB_PATIENCE_S)
    album.press("Register to the CT")
    newest = lambda: album.desk.api("GET", f"{CASE}/guidance")["sessions"][0]  # noqa: E731
    ended = {"registered", "refused"}
    until(lambda: album.page.wait_for_timeout(200) or newest()["state"] in ended, "the registration", JOB_PATIENCE_S)
    for click in true_clicks(album.root, newest()["id"], "zhang-1"):
        for what in ("tip", "shaft"):
            x, y = album.page.evaluate(
                """([n, x, y]) => { const s = document.querySelector(`[data-pane="shot ${n}"] svg`);
                const p = new DOMPoint(x, y).matrixTransform(s.getScreenCTM()); return [p.x, p.y]; }""",
                [click["shot"], *click[what]],
            )
            album.page.mouse.click(x, y)
    album.press("Measure")
    until(lambda: album.page.query_selector(".advice"), "an advice")


def _cement(album: Album) -> None:
    album.go("cement")
    painted(album.page, "axial")
    album.press("Simulate")
    until(lambda: album.page.locator("th", has_text="Outlet").count(), "the venogram", JOB_PATIENCE_S)


def _procedure(album: Album) -> None:
    album.go("procedure")
    ticks = album.page.locator(".checklist .tick")
    until(lambda: ticks.count() == 17, "the checklist")
    for n in range(9):
        ticks.nth(n).click()
        until(lambda n=n: ticks.nth(n).get_attribute("aria-pressed") == "true", "a tick")  # type: ignore[misc]


def _follow_up(album: Album) -> None:
    album.write("PUT", "/follow-up", {"procedure_on": "2026-09-01", "schedule": "default"})
    for day, nrs, after in ((-1, 8, "baseline"), (1, 2, "sacroplasty")):
        album.write("POST", "/follow-up/pain", {"day": day, "nrs": nrs, "after": after})
    album.write("POST", "/follow-up/contacts", {"name": "day 1", "day": 1, "mode": "visit"})
    event = {"name": "fever", "therapy": 1, "sequelae": 0, "extra_hospital_hours": 0, "symptomatic": True}
    album.write("POST", "/follow-up/events", event)
    album.go("follow-up")


def _acrin(album: Album) -> None:
    album.go("approaches", "acrin")


def _lesions(album: Album) -> None:
    anatomy = album.desk.api("GET", f"{CASE}/anatomy")
    centre = next(one["body_centre_mm"] for one in anatomy["levels"] if one["level"] == "S2")
    album.write("POST", "/lesion", {"centre_mm": centre, "radius_mm": 7.0, "among": "further"})
    album.go("lesion")
    until(lambda: album.page.locator(".lesions tr").count() == 2, "two lesions", JOB_PATIENCE_S)
    album.page.locator(".lesions tr").nth(1).locator("button").first.click()


PICTURES: dict[str, Callable[[Album], None]] = {
    "import": _plain("import"), "anatomy": _plain("anatomy"), "lesion": _plain("lesion"),
    "suitability": _plain("suitability"), "approaches": _plain("approaches"), "compare": _compare,
    "views": _bulls_eye, "rehearsal": _step, "trainee": _trainee, "guidance": _guidance, "cement": _cement,
    "report": _plain("report"), "procedure": _procedure, "follow_up": _follow_up, "cohort": _plain("cohort"),
    "acrin": _acrin, "lesions": _lesions,
}  # fmt: skip


def main(cases: Path, wanted: list[str]) -> None:
    """Take the pictures that are named, or all."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "cases"
        shutil.copytree(cases, root)
        with at_desk(root) as desk:
            for name, arrange in PICTURES.items():
                if (not wanted or name in wanted) and (name != "acrin" or (root / "acrin").is_dir()):
                    album = Album(desk, root)
                    arrange(album)
                    album.keep(name)
                    desk.page.keyboard.press("Escape")
    if not wanted or "read_only" in wanted:
        with at_desk(cases, Setup(read_only=True)) as desk:
            album = Album(desk, cases)
            album.go("views")
            album.keep("read_only")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
