"""Made-up requests on a workstation whose cases are in every state that a case can be in.

Requests come from the published contract; most of them are then brought near to what exists (a case, an upload, a
session, a place within the pelvis, the revision of the moment), since one that names nothing is refused at the door.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable

from sacroplasty.case import CaseFolder, encode
from sacroplasty.fluoroscopy import Registration
from sacroplasty.fluoroscopy.alignment import rigid
from sacroplasty.lesion import PatientFacts
from sacroplasty.workflow import load_case
from sacroplasty.workstation import guiding
from sacroplasty.workstation.app import app
from sacroplasty.workstation.guard import COOKIE, Session
from sacroplasty.workstation.jobs import Job, write_json
from sacroplasty.workstation.station import Setup
from sacroplasty.workstation.work import perform

PORT = 8123
HOST = f"127.0.0.1:{PORT}"
# The stream of events does not end by itself.
ENDLESS = "/api/events"
REFUSAL = {"code", "what", "got", "remedy", "sentence"}
# Half the edge of the cube about the lesion that made-up places are brought into, mm; edge of a shot, pixels.
_NEAR_MM, _SHOT_PIXELS = 150.0, 512.0
# A case that is looked at for the first time is read as a whole; a busy machine is slow, not wrong.
_PATIENCE_S = 600.0
_CLICKS = {"tip", "shaft", "clicks"}


def states_of(finished: Path, root: Path) -> tuple[str, ...]:
    """Copies of a finished case as it was on its way, one without a feasible plan, one that is damaged."""
    for name, kept in (("scanned", ()), ("segmented", ("segment",)), ("marked", ("segment", "lesion"))):
        shutil.copytree(finished, root / name)
        folder = CaseFolder.open(root / name)
        later = tuple(stage for stage in folder.index["stages"] if stage not in ("images", *kept))
        folder.write_value("facts", {"facts": encode(PatientFacts()), "override": None}, forget=later)
    shutil.copytree(finished, root / "hopeless")
    folder = CaseFolder.open(root / "hopeless")
    plans = load_case(folder).require("plans")
    refused = tuple(plan.with_(feasible=False, reasons=("No path keeps clear",)) for plan in plans)
    folder.write_value("plan", refused, forget=("views", "cement", "report"), made_from={}, evidence=[])
    shutil.copytree(finished, root / "damaged")
    for path in (root / "damaged").glob("*/*.json"):
        path.write_text("{", encoding="utf-8")
    return "scanned", "segmented", "marked", "hopeless", "damaged"


def session_of(root: Path, case: str) -> str:
    """A simulated guidance session whose registration found the patient where the views say."""
    views = [{"lao_deg": 0, "cra_deg": 10, "name": "AP"}, {"lao_deg": 90, "cra_deg": 0, "name": "lateral"}]
    asked = {"views": views, "seed": 5, "depth_mm": None, "carm": "mobile"}
    session: str = perform(root, Job("x", "simulate shots", case, "", asked), lambda fraction, words: None)["session"]
    folder = root / ".workstation" / "guidance" / case / session
    shots = guiding.shots_of(folder)
    centre = shots[0].view.isocentre_mm
    found = Registration(
        tuple(shot.view for shot in shots), rigid(np.zeros(6), centre), centre, 0.04 * np.eye(6), 0.3, True, 0, True
    )
    write_json(folder / "registration.json", encode(found))
    return session


class Fuzzed:
    """A server without workers over copies of a finished case, asked at random; counts the answers."""

    def __init__(self, finished: Path, root: Path, case: str = "toy", number: int = 0) -> None:
        root.mkdir(parents=True, exist_ok=True)
        shutil.copytree(finished, root / case)
        self.root, self.template, self.case, self.random = root, root.parent / "template", case, Random(number)
        self.number, self.codes = number, Counter[int]()
        self.broken: list[tuple[str, str, str]] = []
        cases = (case, *states_of(finished, root))
        scans = root.parent / "scans"
        scans.mkdir()
        shutil.copy(root / case / "images" / "ct.nii.gz", scans / "a.nii.gz")
        import schemathesis

        session = Session()
        guarded = app(root, session=session, port=PORT, workers=0, setup=Setup({"scans": scans}))
        self.jobs = guarded.app.state.station.jobs  # type: ignore[attr-defined]
        uploads = {name: root / ".workstation" / "uploads" / name for name in ("0" * 16, "1" * 16, "2" * 16)}
        for path in uploads.values():
            path.mkdir(parents=True)
        shutil.copy(scans / "a.nii.gz", uploads["0" * 16] / "00000.nii.gz")
        (uploads["1" * 16] / "00000.dcm").write_bytes(b"not an image")
        self.known: dict[str, tuple[str, ...]] = {
            "case": (case, case, *cases), "session": (session_of(root, case),), "upload": tuple(uploads),
            "name": ("ct", "labels", "lesion-1", "cement_arrival", "sacrum", "skin", "cement", "segment", "venogram"),
            "structure": ("sacrum", "canal", "hip_left"), "kind": ("html", "pdf"), "folder": ("scans",),
            "key": ("consent", "incision", "stylet_removed", "injection_end"), "number": ("1", "2"),
            "level": ("0", "1"),
        }  # fmt: skip
        self.centre = load_case(CaseFolder.open(root / case)).require("lesions")[0].centre_mm
        shutil.copytree(root, self.template)
        self.headers = {"host": HOST, "cookie": f"{COOKIE}={session.cookie}"}
        self.schema = schemathesis.openapi.from_asgi("/api/openapi.json", guarded, headers=self.headers)
        self.operations = [found.ok() for found in self.schema.get_all_operations()]

    def check(self, case: Any) -> None:
        """One made-up request; what breaks the server is written down."""
        self._approach(case)
        answer = case.call(headers={**self.headers, **self._revision(case)}, timeout=_PATIENCE_S)
        self.codes[answer.status_code] += 1
        if answer.status_code >= 500:
            words = json.dumps(case.body, default=str)[:2000] if case.body else ""
            self.broken.append((case.method, f"{case.formatted_path} {case.query}", words))
        if 400 <= answer.status_code < 500 and set(answer.json()) != REFUSAL:
            self.broken.append((case.method, case.formatted_path, f"shape of {answer.status_code}"))

    def _approach(self, case: Any) -> None:
        """Three of four requests name what exists."""
        for name in case.path_parameters or {}:
            if name in self.known and self.random.random() < 0.75:
                case.path_parameters[name] = self.random.choice(self.known[name])
        if isinstance(case.body, dict) and self.random.random() < 0.75:
            case.body = self._near(case.body)
        if isinstance(case.query, dict) and self.random.random() < 0.5:
            for name in ("entry", "target", "isocentre"):
                if name in case.query:
                    x, y, z = (c + self.random.uniform(-_NEAR_MM, _NEAR_MM) for c in self.centre)
                    case.query[name] = f"{x:.3f},{y:.3f},{z:.3f}"

    def _near(self, body: Any, name: str = "") -> Any:
        """A body with its places within the pelvis, its clicks within the shots, its upload one that exists."""
        if isinstance(body, dict):
            return {key: self._near(content, str(key)) for key, content in body.items()}
        if name == "upload":
            return self.random.choice(self.known["upload"])
        if not isinstance(body, list):
            return body
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in body)
        if name.endswith("_mm") and len(body) == 3 and numbers:
            return [c + self.random.uniform(-_NEAR_MM, _NEAR_MM) for c in self.centre]
        if name in _CLICKS and len(body) == 2 and numbers:
            return [self.random.uniform(0, _SHOT_PIXELS - 1) for _ in body]
        return [self._near(one, name) for one in body]

    def _revision(self, case: Any) -> dict[str, str]:
        """Most writes are made on what the case is now."""
        index = self.root / str((case.path_parameters or {}).get("case", "")) / "case.json"
        with suppress(OSError, ValueError, KeyError):
            if self.random.random() < 0.75:
                return {"If-Match": f'"{json.loads(index.read_text(encoding="utf-8"))["version"]}"'}
        return {}

    def restore(self) -> None:
        """The cases as they were before the first request, and nothing queued."""
        for job in self.jobs.listed():
            if not job.state.over:
                self.jobs.cancel(job.id)
        for path in self.root.glob("*/case.json"):
            kept = self.template / path.parent.name
            if not kept.is_dir():
                shutil.rmtree(path.parent)
            elif path.read_bytes() != (kept / "case.json").read_bytes():
                shutil.rmtree(path.parent)
                shutil.copytree(kept, path.parent)
        for name in self.known["upload"]:
            shutil.rmtree(self.root / ".workstation" / "uploads" / name, ignore_errors=True)
            shutil.copytree(self.template / ".workstation/uploads" / name, self.root / ".workstation/uploads" / name)

    def run(self, examples: int, mode: Any) -> int:
        """So many requests of a mode to every operation; how many operations were asked."""
        how = settings(max_examples=examples, deadline=None, database=None, derandomize=self.number == 0,
                       suppress_health_check=list(HealthCheck))  # fmt: skip
        asked = 0
        for operation in self.operations:
            if operation.path == ENDLESS:
                continue
            self.restore()
            made_up = given(operation.as_strategy(generation_mode=mode))(self.check)
            with suppress(Unsatisfiable):  # a route that takes nothing cannot be asked wrongly
                how(seed(self.number)(made_up) if self.number else made_up)()
            asked += 1
        return asked
