"""The stages of a case, in order: the one list behind every door.

A stage is a pure function from a case and its parameters to one result. Doors take the verbs, options, help and order
from STAGES; `run_stage` stores the result with what made it, `run_all` goes from file to report.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sacroplasty.case import Case, CaseFolder
    from sacroplasty.space import LabelMap

Progress = Callable[[float, str], None]

DEMO_BONES = ("sacrum", "coccyx", "l5", "l4", "hip_left", "hip_right", "femur_left", "femur_right")


def silent(fraction: float, message: str) -> None:
    """Progress that nobody watches."""


def option(default: Any, help_text: str, *, in_run: str = "") -> Any:
    """A stage parameter with the sentence that `--help` shows, and its name in `run` where that differs."""
    return field(default=default, metadata={"help": help_text, "in_run": in_run})


@dataclass(frozen=True)
class ReadParameters:
    """How the CT is read."""

    series: str | None = option(None, "DICOM series or stack to take, as `inspect` lists it.")
    acknowledge: tuple[str, ...] = option((), "Code of a warning that was read and accepted; may be repeated.")
    resample_irregular: bool = option(False, "Resample unevenly spaced slices; recorded with the case.")
    resample_tilted: bool = option(False, "Resample a gantry-tilted scan; recorded with the case.")


@dataclass(frozen=True)
class SegmentParameters:
    """What `segment` may be told."""

    labels: Path | None = option(
        None, "Bone labels: TotalSegmentator (one file or a folder), 3D Slicer .seg.nrrd, DICOM SEG or NIfTI."
    )
    mr: Path | None = option(None, "MRI of the sacrum, registered to the CT and shown beside it.")
    thecal_sac_end: str | None = option(None, "End of the thecal sac as seen on MRI: X,Y,Z in the CT's patient LPS mm.")


@dataclass(frozen=True)
class LesionParameters:
    """Where the lesions are, each given in one of four ways that may be mixed; none lets the search propose them."""

    mask: tuple[Path, ...] = option(
        (), "Lesion mask on the CT's grid: NIfTI, NRRD, .seg.nrrd or DICOM SEG; may be repeated.", in_run="lesion"
    )
    sphere: tuple[str, ...] = option(
        (), "Sphere X,Y,Z,R: centre in patient LPS mm and radius in mm; may be repeated.", in_run="lesion_sphere"
    )
    click: tuple[str, ...] = option(
        (), "Point X,Y,Z in patient LPS mm inside the lesion, which is grown from there; may be repeated.",
        in_run="lesion_click",
    )  # fmt: skip
    mr_mask: tuple[Path, ...] = option(
        (), "Lesion mask drawn on the MRI that was given with --mr; may be repeated.", in_run="lesion_on_mr"
    )
    treat: int = option(
        1, "Which of several lesions is treated, counted as masks, spheres, clicks, masks on MRI, or as the search "
        "found them. It is planned for.",
    )  # fmt: skip


@dataclass(frozen=True)
class PlanParameters:
    """Which needle and which ways to try."""

    approach: tuple[str, ...] = option((), "Approach to plan; may be repeated. All of them where none is given.")
    gauge: int = option(13, "Needle gauge, 8 to 15.")
    guidance: str = option(
        "fluoroscopy", "Guidance that sets the placement error: fluoroscopy, ct, ct-laser, cone-beam-ct, navigation."
    )


@dataclass(frozen=True)
class ViewsParameters:
    """How the shots are simulated."""


@dataclass(frozen=True)
class CementParameters:
    """What is injected."""

    cement: str = option("simplex-p", "Cement by catalogue name.")
    volume_ml: float | None = option(None, "Volume in mL; the plan's own where none is given.")


@dataclass(frozen=True)
class ReportParameters:
    """What the report holds."""


@dataclass(frozen=True)
class Stage:
    """One step: its verb and folder name, the results it needs, the one it gives, its options, its sentence."""

    name: str
    needs: tuple[str, ...]
    gives: str
    parameters: type
    run: Callable[[Case, Any, Progress], Any]
    help: str


def _segment(case: Case, parameters: SegmentParameters, progress: Progress) -> Any:
    from sacroplasty.anatomy import segment, with_mr, with_thecal_sac_end
    from sacroplasty.io import read_labels, read_series
    from sacroplasty.plan import as_point

    labels = read_labels(parameters.labels) if parameters.labels else None
    mr = read_series(parameters.mr, modality="MR").volume if parameters.mr else None
    end = numbers(parameters.thecal_sac_end, 3, "--thecal-sac-end X,Y,Z") if parameters.thecal_sac_end else None
    anatomy = segment(case.ct, labels, progress=progress)
    if mr is not None:
        progress(0.95, "Laying the MRI on the CT")
        anatomy = with_mr(anatomy, case.ct, mr)
    return anatomy if end is None else with_thecal_sac_end(anatomy, as_point(end))


def _lesion(case: Case, parameters: LesionParameters, progress: Progress) -> Any:
    from sacroplasty.errors import InputError
    from sacroplasty.lesion import find_lesions, treated_first

    progress(0.1, "Measuring the lesion")
    found = _given_lesions(case, parameters) or tuple(find_lesions(case.ct, case.require("anatomy")))
    if not found:
        raise InputError("No lesion stands out from the bone", remedy="Give --lesion MASK or --lesion-sphere X,Y,Z,R")
    return treated_first(found, parameters.treat)


def _given_lesions(case: Case, parameters: LesionParameters) -> tuple[Any, ...]:
    """The lesions that the parameters name, in the order of their kinds."""
    from sacroplasty.errors import InputError
    from sacroplasty.io import read_mask, require_mask_on_grid
    from sacroplasty.lesion import lesion_from_click, lesion_from_mask, lesion_from_sphere

    ct, anatomy = case.ct, case.require("anatomy")
    if parameters.mr_mask and anatomy.mr is None:
        raise InputError("A lesion on MRI needs the MRI", remedy="Give --mr with the anatomy first")
    masks = [require_mask_on_grid(read_mask(path), ct.grid, ct=ct) for path in parameters.mask]
    spheres = [numbers(text, 4, "--lesion-sphere X,Y,Z,R") for text in parameters.sphere]
    clicks = [numbers(text, 3, "--lesion-click X,Y,Z") for text in parameters.click]
    carried = [anatomy.mr.carried(read_mask(path), anatomy.labels.grid) for path in parameters.mr_mask]
    return (
        *(lesion_from_mask(ct, anatomy, mask, resample=True) for mask in masks),
        *(lesion_from_sphere(ct, anatomy, (x, y, z), radius) for x, y, z, radius in spheres),
        *(lesion_from_click(ct, anatomy, point) for point in clicks),
        *(lesion_from_mask(ct, anatomy, mask) for mask in carried),
    )


def numbers(text: str, count: int, what: str) -> tuple[float, ...]:
    """`count` finite numbers separated by commas; InputError otherwise."""
    import math

    from sacroplasty.errors import InputError

    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count or not all(math.isfinite(v) for v in values):
        raise InputError(f"{what} needs {count} numbers separated by commas", got=text, remedy="Use mm in patient LPS")
    return values


def _plan(case: Case, parameters: PlanParameters, progress: Progress) -> Any:
    from sacroplasty.approach import plan_trajectories
    from sacroplasty.errors import InputError
    from sacroplasty.plan import Approach, Needle

    try:
        approaches = tuple(Approach(name) for name in parameters.approach) or None
    except ValueError:
        known = ", ".join(Approach)
        raise InputError(
            "The approach is unknown", got=", ".join(parameters.approach), remedy=f"Use one of {known}"
        ) from None
    return plan_trajectories(
        case.ct,
        case.require("anatomy"),
        case.require("lesions")[0],
        needle=Needle.gauge(parameters.gauge),
        approaches=approaches,
        guidance=parameters.guidance,
        progress=progress,
    )


def _views(case: Case, parameters: ViewsParameters, progress: Progress) -> Any:
    from dataclasses import replace

    from sacroplasty.fluoroscopy import planned_views, render

    anatomy, plan = case.require("anatomy"), require_plan(case)
    progress(0.05, "Choosing the views")
    found = planned_views(plan, anatomy, case.ct, lesion=case.lesion)
    reached = [planned for planned in found if planned.reach.possible]
    shots = []
    for number, planned in enumerate(reached):
        progress(0.1 + 0.9 * number / len(reached), f"Rendering {planned.view.name}")
        shot = render(case.ct, planned.view, needles=plan.needles)
        shots.append(replace(shot, purpose=planned.purpose, visibility=planned.visibility))
    return tuple(shots)


def require_plan(case: Case) -> Any:
    """The best feasible plan; PlanError with every approach's reason where there is none."""
    from sacroplasty.errors import PlanError

    plan = case.plan
    if plan is None:
        reasons = " ".join(f"{p.approach}: {p.reasons[0]}" for p in case.require("plans") if p.reasons)
        raise PlanError("No approach is feasible", got=reasons, remedy="See plan/plan.json for the smallest changes")
    return plan


def _cement(case: Case, parameters: CementParameters, progress: Progress) -> Any:
    from sacroplasty.cement import simulate_injection

    return simulate_injection(
        case.ct,
        case.require("anatomy"),
        case.require("lesions")[0],
        require_plan(case),
        cement=parameters.cement,
        volume_ml=parameters.volume_ml,
        progress=progress,
    )


def _report(case: Case, parameters: ReportParameters, progress: Progress) -> Any:
    from sacroplasty.report import write_report

    return lambda folder, keys: write_report(case, folder, keys, progress=progress)


STAGES: tuple[Stage, ...] = (
    Stage("segment", ("ct",), "anatomy", SegmentParameters, _segment,
          "Find sacrum, foramina, canal, hiatus, joints and skin in the CT."),
    Stage("lesion", ("anatomy",), "lesions", LesionParameters, _lesion,
          "Measure the lesion: extent, kind, walls that hold."),
    Stage("plan", ("anatomy", "lesions"), "plans", PlanParameters, _plan,
          "Rank approaches and needle paths, with reasons."),
    Stage("views", ("anatomy", "plans"), "views", ViewsParameters, _views,
          "Choose C-arm views and render them with the needle."),
    Stage("cement", ("anatomy", "lesions", "plans"), "cement", CementParameters, _cement,
          "Simulate the injection and where cement may leak."),
    Stage("report", ("anatomy", "lesions", "plans"), "report", ReportParameters, _report,
          "Write the report as HTML and PDF."),
)  # fmt: skip


def stage(name: str) -> Stage:
    """A stage by its verb."""
    return next(one for one in STAGES if one.name == name)


def downstream(name: str) -> tuple[str, ...]:
    """The stages after a stage."""
    names = [one.name for one in STAGES]
    return tuple(names[names.index(name) + 1 :])


def result_types() -> dict[str, Any]:
    """The type that each stored stage holds, for reading it back."""
    from sacroplasty.anatomy import Anatomy
    from sacroplasty.cement import CementResult
    from sacroplasty.fluoroscopy import Radiograph
    from sacroplasty.lesion import Lesion
    from sacroplasty.plan import Plan

    return {"segment": Anatomy, "lesion": tuple[Lesion, ...], "plan": tuple[Plan, ...],
            "views": tuple[Radiograph, ...], "cement": CementResult}  # fmt: skip


def create_case(folder: Path, ct: Path, reading: ReadParameters | None = None, name: str = "") -> CaseFolder:
    """A new case folder that holds the CT as it was read; GeometryError or InputError where it cannot be trusted.

    The gate's warnings stay with the case; those whose codes are not acknowledged are shown in every report.
    """
    from sacroplasty.case import CaseFolder
    from sacroplasty.io import read_series

    how = reading or ReadParameters()
    series = read_series(
        ct,
        series=how.series,
        modality="CT",
        resample_irregular=how.resample_irregular,
        resample_tilted=how.resample_tilted,
    )
    source = {
        **series.provenance,
        "verdict": series.verdict.value,
        "remarks": [[r.code, r.message] for r in series.warnings],
        "acknowledged": sorted(how.acknowledge),
    }
    stored = CaseFolder.create(folder, name or ct.name.split(".")[0] or "case")
    store_ct(stored, series.volume, source)
    return stored


def store_ct(stored: CaseFolder, volume: Any, source: dict[str, Any]) -> None:
    """Put a CT into a case; everything made from another CT is forgotten."""
    forget = tuple(one.name for one in STAGES if stored.has(one.name))
    stored.write_value("images", volume, path="ct", forget=forget, source=source)


def load_case(stored: CaseFolder) -> Case:
    """The case with every stored result, each checked against its hash."""
    from sacroplasty.case import Case
    from sacroplasty.space import Volume

    ct = stored.read_value("images", Volume)
    case = Case(stored.index["name"], ct, source=stored.index["stages"]["images"].get("source", {}))
    results = {
        one.gives: stored.read_value(one.name, result_types()[one.name])
        for one in STAGES
        if one.name in result_types() and stored.has(one.name)
    }
    return case.with_(**results)


def run_stage(
    stored: CaseFolder, name: str, parameters: Any, progress: Progress = silent, case: Case | None = None
) -> Case:
    """Run one stage on a stored case, store its result with parameters, hashes and evidence, and return the case."""
    from sacroplasty.case import encode
    from sacroplasty.evidence import collected

    one = stage(name)
    before = case or load_case(stored)
    for needed in one.needs:
        before.require(needed)
    with collected() as keys:
        result = one.run(before, parameters, progress)
    facts = {"parameters": encode(_plain(parameters)), "evidence": sorted(keys), "made_from": made_from(stored, one)}
    forget = tuple(later for later in downstream(name) if stored.has(later))
    if callable(result):
        used = evidence_keys(stored)
        stored.write(name, lambda folder: result(folder, used), forget=forget, **facts)
        return before
    after = before.with_(**{one.gives: result})
    stored.write_value(name, result, forget=forget, extra=_pictures(after, name), **facts)
    return after


def _plain(parameters: Any) -> dict[str, Any]:
    values = {name: getattr(parameters, name) for name in parameters.__dataclass_fields__}
    return {name: _as_text(v) for name, v in values.items()}


def _as_text(content: Any) -> Any:
    if isinstance(content, tuple):
        return tuple(_as_text(one) for one in content)
    return str(content) if isinstance(content, Path) else content


def repeated(kind: Any) -> type | None:
    """The type of each value of a parameter that may be repeated; None for one that is given once."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else None


def made_from(stored: CaseFolder, one: Stage) -> dict[str, str]:
    """Hash of the stored content of each stage that a stage reads."""
    import hashlib

    makers = {"ct": "images", **{other.gives: other.name for other in STAGES}}
    entries = {makers[needed]: stored.index["stages"].get(makers[needed]) for needed in ("ct", *one.needs)}
    return {
        maker: hashlib.sha256(repr(sorted(entry["files"].items())).encode()).hexdigest()
        for maker, entry in entries.items()
        if entry
    }


def _pictures(case: Case, name: str) -> dict[str, bytes]:
    if name != "views":
        return {}
    from sacroplasty.report.pictures import radiograph_png, view_contours

    return {
        f"{number:02d}_{'_'.join(re.findall('[A-Za-z0-9]+', shot.view.name))}.png": radiograph_png(
            shot, view_contours(case, shot)
        )
        for number, shot in enumerate(case.views, start=1)
    }


def run_all(stored: CaseFolder, parameters: Mapping[str, Any], progress: Progress = silent) -> Case:
    """Every stage from the CT to the report; where no approach is feasible, views and cement are left out."""
    case = load_case(stored)
    for number, one in enumerate(STAGES):
        if one.name in {"views", "cement"} and case.plan is None:
            continue

        def part(fraction: float, message: str, number: int = number) -> None:
            progress((number + fraction) / len(STAGES), message)

        part(0.0, one.help)
        case = run_stage(stored, one.name, parameters.get(one.name, one.parameters()), part, case)
    progress(1.0, "Done")
    return case


def demo_case(name: str, folder: Path, progress: Progress = silent) -> Case:
    """The whole job on one of the papers' patients as a digital phantom, its bones given as labels."""
    import shutil

    from sacroplasty.case import CaseFolder
    from sacroplasty.io import write_nifti
    from sacroplasty.phantom import named_case

    progress(0.0, f"Building the digital patient {name}")
    patient = named_case(name, spacing_mm=(1.0, 1.0, 1.0))
    if (folder / "case.json").exists():
        shutil.rmtree(folder)
    stored = CaseFolder.create(folder, name)
    store_ct(stored, patient.ct, {"simulated": True, "phantom": name, "source": patient.source})
    mask, labels = folder / "lesion_mask.nii.gz", folder / "bone_labels.nii.gz"
    write_nifti(patient.lesion_mask.resampled(patient.ct.grid), mask)
    write_nifti(_bones(patient.anatomy.labels), labels)
    given = {"segment": SegmentParameters(labels=labels), "lesion": LesionParameters(mask=(mask,))}
    return run_all(stored, given, progress)


def _bones(labels: LabelMap) -> LabelMap:
    """Bones alone, as a network labels them: what lies inside the sacrum is left for the program to find."""
    import numpy as np

    from sacroplasty.space import LabelMap

    kept = {value: name for value, name in labels.names.items() if name in DEMO_BONES}
    return LabelMap(np.where(np.isin(labels.array, list(kept)), labels.array, 0), labels.grid, kept)


def evidence_of(folder: Path) -> tuple[str, ...]:
    """Every evidence key that the stored stages of a case used."""
    from sacroplasty.case import CaseFolder

    return evidence_keys(CaseFolder.open(folder))


def evidence_keys(stored: CaseFolder) -> tuple[str, ...]:
    """Every evidence key that the stages stored so far used."""
    stages = stored.index["stages"].values()
    return tuple(sorted({key for entry in stages for key in entry.get("evidence", ())}))
