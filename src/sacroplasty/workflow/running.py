"""A stored case through its stages: each result is kept with what made it, an older one is forgotten."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sacroplasty.workflow.beforehand import require_usable
from sacroplasty.workflow.facts import FACTS, stored_facts
from sacroplasty.workflow.parameters import ReadParameters
from sacroplasty.workflow.stages import STAGES, Progress, Stage, downstream, result_types, silent, stage

if TYPE_CHECKING:
    from sacroplasty.case import Case, CaseFolder


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
    facts, override = stored_facts(stored)
    source = stored.index["stages"]["images"].get("source", {})
    case = Case(stored.index["name"], ct, source=source, facts=facts, override=override)
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


def made_from(stored: CaseFolder, one: Stage) -> dict[str, str]:
    """Hash of the stored content of each stage that a stage reads."""
    import hashlib

    makers = {"ct": "images", **{other.gives: other.name for other in STAGES}}
    needed = [
        "images",
        *(makers[name] for name in one.needs if name != "ct"),
        *([FACTS] if one.gives == "report" else []),
    ]
    entries = {maker: stored.index["stages"].get(maker) for maker in needed}
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
    require_usable(case.ct, parameters)
    for number, one in enumerate(STAGES):
        if one.name in {"views", "cement"} and case.plan is None:
            continue

        def part(fraction: float, message: str, number: int = number) -> None:
            progress((number + fraction) / len(STAGES), message)

        part(0.0, one.help)
        case = run_stage(stored, one.name, parameters.get(one.name, one.parameters()), part, case)
    progress(1.0, "Done")
    return case


def evidence_of(folder: Path) -> tuple[str, ...]:
    """Every evidence key that the stored stages of a case used."""
    from sacroplasty.case import CaseFolder

    return evidence_keys(CaseFolder.open(folder))


def evidence_keys(stored: CaseFolder) -> tuple[str, ...]:
    """Every evidence key that the stages stored so far used."""
    stages = stored.index["stages"].values()
    return tuple(sorted({key for entry in stages for key in entry.get("evidence", ())}))
