"""Guidance sessions: shots of a patient on the table, where that patient lies, where the needle is.

A session is a folder: `session.json` and the shots are written once; `registration.json` by the registering worker;
`answers.json` by the server. It belongs to one CT and is void when that changes.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from sacroplasty.case import CaseFolder, decode, encode, from_json
from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.fluoroscopy import (
    CArm,
    Display,
    Radiograph,
    Registration,
    View,
    pose_from_landmarks,
    register,
    render,
    view_from_console,
    view_from_dataset,
)
from sacroplasty.fluoroscopy.alignment import rigid
from sacroplasty.fluoroscopy.display import is_mirrored
from sacroplasty.plan import NeedlePlan, Trajectory, as_point
from sacroplasty.space import Points
from sacroplasty.workflow import Progress, load_case, require_plan
from sacroplasty.workstation.casebook import Casebook, digest_of
from sacroplasty.workstation.jobs import Job, now, write_json
from sacroplasty.workstation.refusals import not_there

_SESSION = re.compile(r"[0-9a-f]{12}")
# Memory and processor time for reading fluoroscopy images that came from outside.
_MEMORY_BYTES, _TIME_S = 6_000_000_000, 120.0
# The fluoroscopy image is brought to this many pixels: more adds nothing to what is sought.
_PIXELS = 512


def folder_of(casebook: Casebook, case: str, session: str) -> Path:
    """A session's folder; 404 where there is none."""
    path = casebook.state / "guidance" / case / session
    if not _SESSION.fullmatch(session) or not (path / "session.json").is_file():
        raise not_there("There is no such guidance session", got=repr(session[:40]))
    return path


def sessions(casebook: Casebook, case: str) -> list[str]:
    """Every session of a case, newest first."""
    found = (casebook.state / "guidance" / case).glob("*/session.json")
    return [path.parent.name for path in sorted(found, key=lambda p: p.stat().st_mtime, reverse=True)]


def read_json(path: Path) -> Any:
    """A file of a session, or None where it is not there yet."""
    return from_json(path.read_text(encoding="utf-8"), path.name) if path.is_file() else None


def shots_of(folder: Path) -> tuple[Radiograph, ...]:
    """The shots with their nominal views."""
    session = read_json(folder / "session.json")
    return tuple(
        Radiograph(np.load(folder / f"{n}.npy", allow_pickle=False), decode(View, one), session["simulated"])
        for n, one in enumerate(session["views"])
    )


def registration_of(folder: Path) -> Registration | None:
    """Where the patient was found, if it was."""
    stored = read_json(folder / "registration.json")
    return None if stored is None else cast(Registration, decode(Registration, stored))


def frame_of(view: View) -> Display:
    """The shown picture of a view at its own size: how clicks and outlines turn into detector pixels and back."""
    return Display(np.zeros((1, 1, 3), dtype=np.uint8), view, is_mirrored(view), 1)


def _new(
    casebook: Casebook, case: CaseFolder, shots: tuple[Radiograph, ...], simulated: bool, truth: Any = None
) -> str:
    identifier = secrets.token_hex(6)
    folder = casebook.state / "guidance" / case.path.name / identifier
    folder.mkdir(parents=True, mode=0o700)
    for n, shot in enumerate(shots):
        np.save(folder / f"{n}.npy", shot.signal, allow_pickle=False)
    if truth is not None:
        write_json(folder / "truth.json", truth)
    views = [encode(shot.view) for shot in shots]
    about = {"id": identifier, "simulated": simulated, "views": views, "ct": digest_of(case, "images"), "at": now()}
    write_json(folder / "session.json", about)
    return identifier


def simulate(casebook: Casebook, job: Job, progress: Progress) -> dict[str, Any]:
    """Shots of a patient who lies otherwise than planned, with a needle that missed; by how much is kept aside."""
    assert job.case is not None
    given, folder = job.arguments, casebook.open(job.case)
    progress(0.1, "Loading the case")
    case = load_case(folder)
    plan = require_plan(case)
    random = np.random.default_rng(given["seed"])
    centre = as_point(case.require("lesions")[0].centre_mm)
    angle, shift = value("assumptions.guidance_patient_angle_sd"), value("assumptions.guidance_patient_shift_sd")
    rig = rigid(random.normal(size=6) * np.array([angle] * 3 + [shift] * 3), centre)
    needle = missed(plan.first, random, given["depth_mm"])
    carm = CArm.profile(given["carm"]).with_pixels(_PIXELS)
    shots = []
    for n, pose in enumerate(given["views"]):
        progress(0.3 + 0.6 * n / len(given["views"]), f"Taking shot {n + 1}")
        view = view_from_console(carm, pose["lao_deg"], pose["cra_deg"], centre, name=pose["name"] or f"shot {n + 1}")
        shot = render(case.ct, view.registered(rig), [needle], seed=given["seed"] + n)
        shots.append(Radiograph(shot.signal, view))
    truth = {"tip_mm": list(needle.tip_mm), "direction": needle.trajectory.direction.tolist()}
    return {"case": job.case, "session": _new(casebook, folder, tuple(shots), True, truth)}


def missed(planned: NeedlePlan, random: np.random.Generator, depth_mm: float | None) -> NeedlePlan:
    """The needle beside its plan, on the way in."""
    sd = value("assumptions.guidance_needle_sd")
    path = planned.trajectory
    entry, target = np.asarray(path.entry_mm), np.asarray(path.target_mm)
    off = Trajectory(as_point(entry + sd * random.normal(size=3)), as_point(target + sd * random.normal(size=3)))
    deep = 0.8 * path.length_mm if depth_mm is None else float(np.clip(depth_mm, 10.0, off.length_mm))
    return replace(planned, trajectory=off.moved(target_mm=off.point_at(deep)))


def read(casebook: Casebook, job: Job, progress: Progress) -> dict[str, Any]:
    """Shots from XA or RF files; the geometry of each is in its header, the isocentre is given."""
    from sacroplasty.io.child import limit

    assert job.case is not None
    limit(_MEMORY_BYTES, _TIME_S)
    folder = casebook.open(job.case)
    files = sorted(Path(job.arguments["source"]).iterdir())
    if len(files) < 2:
        raise InputError("Guidance needs two shots at least", got=str(len(files)), remedy="Take a second view")
    shots = []
    for n, path in enumerate(files):
        progress(n / len(files), f"Reading shot {n + 1}")
        shots.append(shot_from_file(path, job.arguments["isocentre_mm"]))
    return {"case": job.case, "session": _new(casebook, folder, tuple(shots), False)}


def shot_from_file(path: Path, isocentre_mm: Any) -> Radiograph:
    """One XA or RF image as a radiograph: linear or logarithmic values made relative to the brightest."""
    import pydicom

    dataset = pydicom.dcmread(path)
    if str(dataset.get("Modality", "")) not in {"XA", "RF"}:
        raise InputError("A shot is an XA or RF image", got=str(dataset.get("Modality", "none"))[:20])
    view = view_from_dataset(dataset, isocentre_mm)
    pixels = np.asarray(dataset.pixel_array, dtype=np.float32)
    if pixels.ndim == 3:
        pixels = pixels[-1]
    if str(dataset.PhotometricInterpretation) == "MONOCHROME1":
        pixels = pixels.max() - pixels
    share = (pixels - pixels.min() + 1.0) / (float(np.ptp(pixels)) + 1.0)
    if str(dataset.get("PixelIntensityRelationship", "LIN")) == "LOG":
        # Displayed logarithms span about three decades between the bare beam and bone.
        share = np.exp(np.log(1e3) * (share - 1.0))
    return Radiograph(share.astype(np.float32), view, simulated=False)


def find_patient(casebook: Casebook, job: Job, progress: Progress) -> dict[str, Any]:
    """Where the patient of the CT lies in the shots of a session."""
    assert job.case is not None
    folder = folder_of(casebook, job.case, job.arguments["session"])
    progress(0.05, "Loading the CT")
    case = load_case(casebook.open(job.case))
    shots = shots_of(folder)
    start = None
    if job.arguments["landmarks"]:
        points = [one["position_mm"] for one in job.arguments["landmarks"]]
        start = pose_from_landmarks([shot.view for shot in shots], points, clicks_of(shots, job.arguments["landmarks"]))
    progress(0.2, "Searching for the patient's pose")
    found = register(case.ct, shots, start=start, calibrated=job.arguments["calibrated"])
    write_json(folder / "registration.json", encode(found))
    return {"case": job.case, "session": folder.name, "accepted": found.accepted, "sentence": found.sentence}


def clicks_of(shots: tuple[Radiograph, ...], landmarks: list[dict[str, Any]]) -> list[Points]:
    """Clicks per shot (n, 2) in detector pixels; NaN where a landmark was not clicked."""
    found = []
    for n, shot in enumerate(shots):
        given = [one["clicks"][n] if n < len(one["clicks"]) else None for one in landmarks]
        shown = np.array([click if click else (np.nan, np.nan) for click in given], dtype=np.float64)
        found.append(frame_of(shot.view).detector_pixels(shown))
    return found
