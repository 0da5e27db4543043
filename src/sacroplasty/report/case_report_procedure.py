"""The paragraph on the procedure: preparation, needle, guidance, cement, leaks, in the order they happen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sacroplasty.report.case_report_text import Facts, joined, number


def therapeutic_intervention(procedure: Facts) -> list[str]:
    """How the sacroplasty was done, one sentence per recorded fact."""
    needles = procedure.get("deposits") or ()
    return [
        *_preparation(procedure), *_guidance(procedure), *(line for one in needles for line in _needle(one)),
        *_placed(procedure), *(_deposit(one) for one in needles), *_injection(procedure), *_leaks(procedure),
        *_dose(procedure), *_checklist(procedure),
    ]  # fmt: skip


def _preparation(procedure: Facts) -> list[str]:
    lines = []
    if procedure.get("antibiotic"):
        dose = f"{number(procedure['antibiotic_dose_g'])} g of " if procedure.get("antibiotic_dose_g") else ""
        route = f" was given {'intravenously' if procedure.get('antibiotic_route') == 'intravenous' else ''}".rstrip()
        before = procedure.get("antibiotic_minutes_before")
        when = f" {before} minutes before the procedure" if before is not None else ""
        after = procedure.get("antibiotic_days_after")
        for_days = f" and continued for {after} days after it" if after else ""
        maker = f" ({procedure['antibiotic_maker']})" if procedure.get("antibiotic_maker") else ""
        lines.append(f"As prophylaxis {dose}{procedure['antibiotic']}{maker}{route}{when}{for_days}.")
    if procedure.get("position"):
        lines.append(f"The patient lay {procedure['position']}.")
    region = procedure.get("prepared_region") or "skin"
    if procedure.get("skin_preparation") or procedure.get("prepared_region"):
        with_what = f" with {procedure['skin_preparation']}" if procedure.get("skin_preparation") else ""
        lines.append(f"The {region} was prepared{with_what} and draped.")
    if procedure.get("anaesthesia"):
        lines.append(f"Anaesthesia: {procedure['anaesthesia']}.")
    if procedure.get("incision_site"):
        lines.append(f"Incision: {procedure['incision_site']}.")
    return lines


def _guidance(procedure: Facts) -> list[str]:
    guidance = f" under {procedure['guidance']} guidance" if procedure.get("guidance") else ""
    lines = [f"The {procedure['approach']} approach was taken{guidance}."]
    for name, words in (("skin_to_lesion_mm", "Depth from the skin to the lesion's centre"),
                        ("marrow_space_mm", "Marrow space from the dorsal to the ventral cortex")):  # fmt: skip
        if procedure.get(name) is not None:
            lines.append(f"{words}: {number(procedure[name])} mm.")
    if procedure.get("start_view"):
        lines.append(f"Start view: {procedure['start_view']}.")
    return lines


def _needle(needle: Mapping[str, Any]) -> list[str]:
    gauge = f"{needle['needle_gauge']}-gauge " if needle.get("needle_gauge") else ""
    tip = f"{needle['needle_tip']}-edged " if needle.get("needle_tip") else ""
    maker = f" ({needle['needle_maker']})" if needle.get("needle_maker") else ""
    level = f" into {needle['level']}" if needle.get("level") else ""
    side = f" from the {needle['side']}" if needle.get("side") in {"left", "right"} else ""
    lines = [f"A {gauge}{tip}needle{maker} was advanced{level}{side}."]
    if needle.get("crossings"):
        lines.append(f"Course: {', '.join(needle['crossings'])}.")
    if needle.get("bone_entry_level"):
        lines.append(f"The bone was entered at {needle['bone_entry_level']}.")
    angles = [f"{number(abs(needle[name]))}° {words[needle[name] < 0]}" for name, words in (
        ("cephalad_deg", ("cephalad", "caudad")), ("leftward_deg", ("to the left", "to the right")),
    ) if needle.get(name) is not None]  # fmt: skip
    if angles:
        lines.append(f"Needle angles: {joined(angles)}.")
    if needle.get("bevel_towards"):
        lines.append(f"The bevel faced the {needle['bevel_towards']}.")
    return lines


def _deposit(needle: Mapping[str, Any]) -> str:
    cement = needle.get("cement") or "cement"
    made_by = f" ({needle['cement_maker']})" if needle.get("cement_maker") else ""
    volume = needle.get("volume_ml")
    if volume is None:
        return f"Polymethyl methacrylate, {cement}{made_by}, was injected; its volume was not recorded."
    return f"{number(volume)} mL of polymethyl methacrylate, {cement}{made_by}, was injected."


def _placed(procedure: Facts) -> list[str]:
    """Between the needle's way in and the cement."""
    lines = []
    if procedure.get("mallet_used"):
        lines.append("A mallet was used.")
    if procedure.get("tip_confirmed_views"):
        lines.append(f"The tip was confirmed in the lesion in {joined(procedure['tip_confirmed_views'])}.")
    if procedure.get("stylet_removed_before_injection"):
        lines.append("The stylet was removed before anything was injected.")
    if procedure.get("venogram"):
        then = "; the tip was adjusted after it" if procedure.get("tip_adjusted_after_venogram") else ""
        lines.append(f"A {procedure['venogram']} was obtained{then}.")
    return lines


def _injection(procedure: Facts) -> list[str]:
    lines = []
    if procedure.get("views"):
        lines.append(f"The injection was watched in the {joined(procedure['views'])} views.")
    if procedure.get("stop_reason"):
        lines.append(f"It was stopped because: {procedure['stop_reason']}.")
    if procedure.get("filling"):
        lines.append(f"Filling of the lesion: {procedure['filling']}.")
    if procedure.get("filling_fraction") is not None:
        lines.append(f"Share of the lesion that was filled: {100 * procedure['filling_fraction']:.0f} %.")
    return lines


def _leaks(procedure: Facts) -> list[str]:
    """One sentence per compartment with its modality, whatever the verdict; the verdict as recorded."""
    lines = []
    for leak in procedure.get("leaks") or ():
        where = " ".join(str(leak[name]) for name in ("side", "level") if leak.get(name))
        place = f"{leak['compartment']}{f' ({where})' if where else ''}"
        if leak["modality"] == "not assessable":
            lines.append(f"Cement in the {place} could not be assessed.")
            continue
        kind = {True: "significant", False: "not significant"}.get(leak.get("significant"), "significance not recorded")
        felt = {True: ", symptomatic", False: ", without symptoms"}.get(leak.get("symptomatic"), "")
        volume = f", {number(leak['volume_ml'])} mL" if leak.get("volume_ml") is not None else ""
        lines.append(f"Cement outside the target: {place}{volume}, seen on {leak['modality']}, {kind}{felt}.")
    if procedure.get("leak_verdict"):
        modality = procedure.get("leak_modality") or "a modality that was not recorded"
        lines.append(f"Overall verdict on leaks ({modality}): {procedure['leak_verdict']}.")
    return lines


def _dose(procedure: Facts) -> list[str]:
    told = (("duration_minutes", "Duration", "minutes"), ("fluoroscopy_minutes", "Fluoroscopy time", "minutes"),
            ("air_kerma_mgy", "Air kerma", "mGy"), ("dose_area_product_gy_cm2", "Dose-area product", "Gy cm²"),
            ("ct_dose_length_mgy_cm", "CT dose-length product", "mGy cm"))  # fmt: skip
    lines = [f"{words}: {number(procedure[name])} {unit}." for name, words, unit in told
             if procedure.get(name) is not None]  # fmt: skip
    if procedure.get("operator_vertebroplasties") is not None:
        years = f" over {number(procedure['operator_years'])} years" if procedure.get("operator_years") else ""
        lines.append(f"The operators had done {procedure['operator_vertebroplasties']} vertebroplasties{years}.")
    return lines


def _checklist(procedure: Facts) -> list[str]:
    done = [one for one in procedure.get("checklist") or () if one.get("done")]
    steps = [one["step"] if one.get("minutes") is None else f"{one['step']} ({one['minutes']:+g} min)" for one in done]
    return [f"Checklist, done: {'; '.join(steps)}."] if steps else []
