"""The stages of a case, in order: the one list behind every door.

A stage is a pure function from a case and its parameters to one result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sacroplasty.workflow.beforehand import approaches_of
from sacroplasty.workflow.parameters import (
    CementParameters,
    LesionParameters,
    PlanParameters,
    ReportParameters,
    SegmentParameters,
    ViewsParameters,
    numbers,
)

if TYPE_CHECKING:
    from sacroplasty.case import Case
    from sacroplasty.plan import Plan

Progress = Callable[[float, str], None]


def silent(fraction: float, message: str) -> None:
    """Progress that nobody watches."""


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
    found = _given_lesions(case, parameters)
    if not found:
        found = find_lesions(case.ct, case.require("anatomy"), age_years=case.facts.age_years)
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


def _plan(case: Case, parameters: PlanParameters, progress: Progress) -> Any:
    from sacroplasty.approach import plan_trajectories
    from sacroplasty.plan import Needle

    plans = plan_trajectories(
        case.ct,
        case.require("anatomy"),
        case.require("lesions")[0],
        needle=Needle.gauge(parameters.gauge),
        approaches=approaches_of(parameters),
        guidance=parameters.guidance,
        progress=progress,
    )
    return _dosed(case, plans, progress) if parameters.forecast else plans


def _dosed(case: Case, plans: tuple[Plan, ...], progress: Progress) -> tuple[Plan, ...]:
    """The plans dosed and ranked by simulated injections along the best path of the first approaches.

    An approach whose tip is closed to cement in most of them keeps the planner's own estimate.
    """
    from sacroplasty.approach import reconsidered
    from sacroplasty.cement import plan_dose, simulate_ensemble
    from sacroplasty.errors import PlanError
    from sacroplasty.plan import CementForecast

    def forecast(plan: Plan) -> CementForecast | None:
        progress(0.5, f"Simulating injections along the {plan.approach} path")
        try:
            ensemble = simulate_ensemble(case.ct, case.require("anatomy"), case.require("lesions")[0], plan)
        except PlanError:
            return None
        dose = plan_dose(ensemble)
        source = f"Simulated in {ensemble.members} injections"
        return CementForecast(dose.volume_ml, dose.fill[1], dose.grave_leak_probability, source)

    return reconsidered(plans, forecast)


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
