"""The operator's report of a case: decision, lesion, measurements, approaches, needle, views, cement, provenance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sacroplasty import NOT_FOR_CLINICAL_USE, __version__
from sacroplasty.case import Case
from sacroplasty.lesion import Lesion, Verdict
from sacroplasty.plan import Clearance, DenisZone, Finding, NeedlePlan, Plan, Severity
from sacroplasty.report.cement_section import cement_section
from sacroplasty.report.citations import citations
from sacroplasty.report.document import Block, Document, Paragraph, Remark, Section, Table
from sacroplasty.report.fluoroscopy_section import fluoroscopy_section
from sacroplasty.report.pictures import anatomy_pictures, needle_pictures, review_pictures, skin_pictures
from sacroplasty.report.suitability_section import suitability_section

_UNITS = (("_mm2", "mm²"), ("_mm", "mm"), ("_ml_s", "mL/s"), ("_ml", "mL"), ("_deg", "°"), ("_hu", "HU"), ("_s", "s"))


def spoken(name: str, number: float) -> tuple[str, str]:
    """A measure's name in words and its value with the unit that its name ends in."""
    for suffix, unit in _UNITS:
        if name.endswith(suffix):
            digits = 0 if unit in {"°", "HU"} else 1
            words = name.removesuffix(suffix).replace("_", " ")
            return words, f"{number:.{digits}f} {unit}" if number == number else "not measurable"
    return name.replace("_", " "), f"{number:.2f}" if number == number else "not measurable"


def remarks(findings: Iterable[Finding], least: Severity = Severity.INFO) -> tuple[Remark, ...]:
    """Findings at least as grave as `least`, gravest first."""
    order = list(Severity)
    kept = [f for f in findings if order.index(f.severity) >= order.index(least)]
    kept.sort(key=lambda f: -order.index(f.severity))
    return tuple(Remark(f.severity, f.message) for f in dict.fromkeys(kept))


def _point(point_mm: Iterable[float]) -> str:
    return "(" + ", ".join(f"{v + 0.0:.1f}".replace("-0.0", "0.0") for v in point_mm) + ")"


def decision_sentences(case: Case) -> tuple[str, ...]:
    """What the plan comes to, in the order an operator would say it."""
    plan = case.plan
    if plan is None:
        reasons = [f"{p.approach} ({p.side}): {p.reasons[0]}" for p in case.plans if p.reasons]
        return ("No approach is feasible in this scan.", *reasons)
    first = plan.first
    crossed = " → ".join(c.structure.replace("_", " ") for c in first.crossings)
    sentences = [
        f"{plan.approach.capitalize()} approach, {plan.side}, to {plan.target_level}, {first.needle.describe()}.",
        f"Depth from skin to target {first.trajectory.length_mm:.0f} mm; course: {crossed}.",
    ]
    if first.clearances:
        nearest = min(first.clearances, key=lambda c: c.distance_mm - c.required_mm)
        sentences.append(
            f"Closest to {nearest.structure.replace('_', ' ')}: at least {nearest.distance_mm:.1f} mm free "
            f"{nearest.depth_mm:.0f} mm below the skin."
        )
    if plan.total_volume_ml:
        sentences.append(f"Planned cement {plan.total_volume_ml:.1f} mL.")
    return tuple(sentences)


def suitability_sentence(case: Case) -> tuple[str, ...]:
    """The judgement in one sentence, with its first reason where it is not in favour; nothing without a lesion."""
    judged = case.suitability
    if judged is None:
        return ()
    gone_on = " An override is recorded." if judged.override else ""
    reasons = f": {judged.reasons[0]}" if judged.verdict in {Verdict.UNSUITABLE, Verdict.CORRECT_FIRST} else ""
    return (f"Suitability: {judged.verdict}{reasons}.{gone_on}".replace("..", "."),)


def summary(case: Case) -> dict[str, Any]:
    """What the command line prints: sentences, plans in order, findings that need a decision."""
    grave = [f.message for f in case.findings if f.severity in {Severity.WARNING, Severity.BLOCKER}]
    warnings = [f"WARNING: {message}" for message in dict.fromkeys(grave)]
    return {
        "name": case.name,
        "sentences": [*decision_sentences(case), *suitability_sentence(case), *warnings],
        "plans": [
            {"approach": p.approach.value, "side": p.side.value, "feasible": p.feasible, "rank": p.rank,
             "reasons": list(p.reasons)}
            for p in case.plans
        ],
    }  # fmt: skip


def _measures(caption: str, measures: Mapping[str, float]) -> Table:
    return Table(("Measure", "Value"), tuple(spoken(k, v) for k, v in measures.items()), caption)


def _shares(shares: Mapping[Any, float]) -> str:
    """Levels or zones with their share of a lesion."""
    named = ((one.name.lower() if isinstance(one, DenisZone) else str(one), share) for one, share in shares.items())
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in named)


def _further_lesions(lesions: Sequence[Lesion]) -> tuple[Block, ...]:
    """A table of the lesions that are not treated in this plan; nothing where there is one lesion only."""
    if not lesions:
        return ()
    rows = tuple(
        (str(number), one.kind.value, f"{one.volume_ml:.1f}", _point(one.centre_mm), _shares(one.levels),
         ", ".join(wall.name.replace("_", " ") for wall in one.breached) or "none")
        for number, one in enumerate(lesions, start=2)
    )  # fmt: skip
    heads = ("Lesion", "Kind", "mL", "Centre, LPS mm", "Levels", "Walls destroyed")
    return (Table(heads, rows, "Further lesions, not treated in this plan"),)


def _lesion_section(case: Case, lesion: Lesion) -> Section:
    levels, zones = _shares(lesion.levels), _shares(lesion.zones)
    kind = f"{'Synthetic lesion. ' if lesion.synthetic else ''}{lesion.kind.value} lesion"
    words = [f"{kind[0].upper()}{kind[1:]} of {lesion.volume_ml:.1f} mL at {_point(lesion.centre_mm)} mm (LPS)"]
    if levels:
        words.append(f"levels: {levels}")
    if zones:
        words.append(f"Denis zones: {zones}")
    if lesion.soft_tissue_ml:
        words.append(f"outside the bone: {lesion.soft_tissue_ml:.1f} mL")
    walls = tuple(
        (wall.name.replace("_", " "), wall.integrity.value, f"{wall.breach_area_mm2:.0f}",
         f"{wall.adjacent_area_mm2:.0f}")
        for wall in lesion.walls
    )  # fmt: skip
    blocks: list[Block] = [Paragraph("; ".join(words) + "."), *remarks(lesion.findings), *review_pictures(case)]
    if walls:
        blocks.append(Table(("Wall", "State", "Gone, mm²", "Next to the lesion, mm²"), walls, "Walls of the bone"))
    if lesion.measures:
        blocks.append(_measures("Numbers behind the lesion", lesion.measures))
    return Section("Lesion", (*blocks, *_further_lesions(case.lesions[1:])))


def _approaches_section(case: Case) -> Section:
    plans = case.plans
    rows = tuple(
        (str(p.rank), p.approach.value, p.side.value, "yes" if p.feasible else "no", " ".join(p.reasons)) for p in plans
    )
    table = Table(("Rank", "Approach", "Side", "Feasible", "Why"), rows, "Best first")
    return Section("Approaches compared", (table, *skin_pictures(case)))


def nearest_clearances(needle: NeedlePlan) -> tuple[Clearance, ...]:
    """The structures that matter: the five nearest and every one with a chance of a breach of a tenth of a percent."""
    ordered = sorted(needle.clearances, key=lambda c: c.distance_mm - c.required_mm)
    return tuple(c for n, c in enumerate(ordered) if n < 5 or (c.breach_probability or 0.0) >= 0.001)


def _needle_blocks(number: int, needle: NeedlePlan) -> tuple[Block, ...]:
    path = needle.trajectory
    rows = [
        ("Needle", needle.needle.describe()),
        ("Entry on the skin, LPS mm", _point(path.entry_mm)),
        ("Target and tip, LPS mm", _point(path.target_mm)),
        ("Depth skin to target", f"{path.length_mm:.1f} mm"),
        ("Cephalad angle", f"{path.cephalad_deg:.0f}°"),
        ("Left-right angle", f"{abs(path.leftward_deg):.0f}° to the {'left' if path.leftward_deg >= 0 else 'right'}"),
    ]
    if needle.bevel_azimuth_deg is not None:
        rows.append(("Bevel faces", f"{round(needle.bevel_azimuth_deg / 30) % 12 or 12} o'clock seen from the hub"))
    crossings = tuple(
        (c.structure.replace("_", " "), f"{c.start_depth_mm:.1f}", f"{c.end_depth_mm:.1f}", "" if c.permitted else "NO")
        for c in needle.crossings
    )
    clearances = tuple(
        (c.structure.replace("_", " "), f"{c.distance_mm:.1f}", f"{c.required_mm:.1f}", f"{c.depth_mm:.0f}",
         "-" if c.breach_probability is None else f"{100 * c.breach_probability:.1f} %"
         + ("" if c.breach_probability_upper is None else f" (up to {100 * c.breach_probability_upper:.1f} %)"))
        for c in nearest_clearances(needle)
    )  # fmt: skip
    return (
        Table(("", ""), tuple(rows), f"Needle {number}"),
        Table(
            ("Structure", "Enters, mm", "Leaves, mm", "Forbidden"), crossings, "Crossings in order, depth below skin"
        ),
        Table(
            ("Structure", "Free, mm", "Required, mm", "At depth, mm", "P(breach)"),
            clearances,
            "Clearance of the nearest structures from the needle's surface, lower bound; P(breach) simulated from the "
            "placement error. plan.json holds every structure.",
        ),
    )


def _plan_section(case: Case, plan: Plan) -> Section:
    blocks: list[Block] = [*remarks(plan.findings), *needle_pictures(case)]
    for number, needle in enumerate(plan.needles, start=1):
        blocks.extend(_needle_blocks(number, needle))
    blocks.append(_measures("Read-outs of this path", plan.measures))
    return Section("Needle plan", tuple(blocks))


def _measurement_section(plan: Plan) -> Section:
    wanted = ("skin_to_lesion_mm", "marrow_space_mm")
    found = {name: plan.measures[name] for name in wanted if name in plan.measures}
    text = Paragraph(
        "Both measurements that the papers take before the procedure, for this approach: depth from the skin to the "
        "lesion's centre along the path, and marrow space from the dorsal to the ventral cortex at the target."
    )
    return Section("Measurements before the procedure", (text, _measures("For the planned approach", found)))


def _anatomy_section(case: Case) -> Section:
    anatomy = case.require("anatomy")
    rows = [
        (f.name, f.state.value, f"{f.uncertainty_mm:.1f}", f"{f.width_mm:.0f} x {f.height_mm:.0f}")
        for f in anatomy.foramina
    ]
    surety = tuple((name.replace("_", " "), f"{100 * sure:.0f} %") for name, sure in anatomy.confidences.items())
    blocks: list[Block] = [
        Paragraph(f"Bones from: {anatomy.source}."), *remarks(anatomy.findings), *anatomy_pictures(case),
    ]  # fmt: skip
    if surety:
        blocks.append(Table(("Structure", "Confidence"), surety, "How surely each structure is known"))
    if rows:
        blocks.append(Table(("Foramen", "State", "± mm", "Size, mm"), tuple(rows), "Sacral foramina"))
    return Section("Anatomy", tuple(blocks))


def _source_facts(case: Case) -> dict[str, str]:
    """What is known about the scan, as words."""
    known = {name.replace("_", " "): str(v) for name, v in case.source.items() if isinstance(v, str | bool) and v}
    return {name: {"True": "yes", "False": "no"}.get(v, v) for name, v in known.items()}


def gate_remarks(case: Case) -> tuple[Remark, ...]:
    """What the geometry gate warned about the scan; a warning nobody acknowledged says so."""
    known = case.source.get("acknowledged", ())
    return tuple(
        Remark(
            Severity.INFO if code in known else Severity.WARNING,
            f"{message} ({code}, {'acknowledged' if code in known else 'not acknowledged'})",
        )
        for code, message in case.source.get("remarks", ())
    )


def plan_document(case: Case, evidence_keys: Iterable[str] = ()) -> Document:
    """The whole report of a case as far as it has come."""
    sentences = (Paragraph(s) for s in (*decision_sentences(case), *suitability_sentence(case)))
    sections = [Section("Decision", (*sentences, *gate_remarks(case), *remarks(case.findings, Severity.CAUTION)))]
    if case.lesion is not None:
        sections.append(_lesion_section(case, case.lesion))
    judged = case.suitability
    if judged is not None:
        sections.append(suitability_section(case, judged))
        evidence_keys = sorted({*evidence_keys, *(key for s in judged.statements for key in s.evidence),
                                *(key for a in judged.alternatives for key in a.evidence)})  # fmt: skip
    plan = case.plan
    if plan is not None:
        sections += [_measurement_section(plan), _plan_section(case, plan)]
    if case.plans:
        sections.append(_approaches_section(case))
    if case.views:
        sections.append(fluoroscopy_section(case))
    if case.cement is not None:
        sections.append(cement_section(case))
    sections.append(_anatomy_section(case))
    lines = citations(evidence_keys)
    if lines:
        sections.append(Section("Sources of the numbers", tuple(Paragraph(line) for line in lines)))
    return Document(
        f"Sacroplasty plan: {case.name}",
        "Coordinates are patient LPS in mm. Sides are the patient's.",
        tuple(sections),
        f"sacroplasty {__version__}. {NOT_FOR_CLINICAL_USE}",
        {"CT": case.ct.grid.describe(), **_source_facts(case)},
    )
