"""A small finished case on the analytic pelvis, and clients of a server over copies of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from sacroplasty.approach import plan_trajectories
from sacroplasty.case import Case, CaseFolder
from sacroplasty.cement import simulate_injection
from sacroplasty.fluoroscopy import CArm, render, view_from_console
from sacroplasty.lesion import lesion_from_sphere
from sacroplasty.plan import Approach
from sacroplasty.report.pictures import radiograph_png
from sacroplasty.workflow import made_from, stage, store_ct
from sacroplasty.workstation.app import app
from sacroplasty.workstation.guard import COOKIE, Session
from sacroplasty.workstation.station import Setup
from tests.approach import toy
from tests.workstation.desk import Desk

PORT = 8123
HOSTILE = '<script>window.__xss=1</script>"><img src=x onerror=alert(1)> 천골 骶骨 Größe ../../x'


def toy_case() -> Case:
    """The toy with a lesion of S1, two plans, two views and 1 mL of simulated cement."""
    ct, anatomy = toy.build(2.0)
    lesion = lesion_from_sphere(ct, anatomy, *toy.S1_BODY)
    wanted = [Approach.TRANS_SACROILIAC, Approach.INTERPEDICULAR]
    plans = plan_trajectories(ct, anatomy, lesion, approaches=wanted, alternatives=1)
    carm = CArm.profile().with_pixels(64)
    views = tuple(
        render(ct, view_from_console(carm, lao, 0.0, lesion.centre_mm, name=name), plans[0].needles)
        for lao, name in ((0.0, "AP"), (90.0, "true lateral"))
    )
    cement = simulate_injection(ct, anatomy, lesion, plans[0], volume_ml=1.0, spacing_mm=2.0, updates=4)
    return Case(HOSTILE, ct, {}, anatomy, (lesion,), plans, views, cement)


def stored(case: Case, folder: Path) -> CaseFolder:
    """The case on disk as the workflow leaves it."""
    kept = CaseFolder.create(folder, case.name)
    store_ct(kept, case.ct, {"simulated": True, "remarks": [["SAC-G013", "Images were set aside"]]})
    values = {"segment": case.anatomy, "lesion": case.lesions, "plan": case.plans, "views": case.views,
              "cement": case.cement}  # fmt: skip
    for name, value in values.items():
        facts = {"parameters": {}, "evidence": [], "made_from": made_from(kept, stage(name))}
        extra = {f"0{n}.png": radiograph_png(one, ()) for n, one in enumerate(case.views, 1)} if name == "views" else {}
        kept.write_value(name, value, extra=extra, **facts)
    page = "<!doctype html><style>p{color:red}</style><p>Report</p>"

    def report(target: Path) -> None:
        (target / "report.html").write_text(page, encoding="utf-8")
        (target / "report.pdf").write_bytes(b"%PDF-1.4\n%%EOF\n")

    kept.write("report", report, made_from=made_from(kept, stage("report")), evidence=[])
    return kept


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One case folder that no test writes into."""
    root = tmp_path_factory.mktemp("template")
    stored(toy_case(), root / "toy")
    return root


@pytest.fixture
def cases(template: Path, tmp_path: Path) -> Path:
    """A folder of cases of one's own, with the toy in it."""
    root = tmp_path / "cases"
    shutil.copytree(template, root)
    return root


def client_of(root: Path, *, workers: int = 0, setup: Setup | None = None, limit: int = 1 << 30) -> TestClient:
    """A client that has a session; without workers nothing that is queued ever begins."""
    session = Session()
    guarded = app(root, session=session, port=PORT, setup=setup, workers=workers, largest_body_bytes=limit)
    one = TestClient(guarded, base_url=f"http://127.0.0.1:{PORT}")
    one.cookies.set(COOKIE, session.cookie)
    return one


@pytest.fixture
def client(cases: Path) -> Iterator[TestClient]:
    """A client over its own cases, no workers."""
    with client_of(cases) as one:
        yield one


@pytest.fixture(scope="module")
def reading(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client for tests that change nothing."""
    root = tmp_path_factory.mktemp("reading") / "cases"
    shutil.copytree(template, root)
    with client_of(root) as one:
        yield one


def revision(client: TestClient, case: str = "toy") -> dict[str, str]:
    """The header of a write on the case as it is now."""
    return {"If-Match": client.get(f"/api/cases/{case}").headers["etag"]}


@pytest.fixture
def page(desk: Desk) -> Iterator[Any]:
    """The page of the module's desk; a test that leaves an error in the console fails."""
    desk.troubles.clear()
    yield desk.page
    assert desk.troubles == []
