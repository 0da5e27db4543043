"""The sentences of a case report, each from a stored fact; what was not recorded is said to be so or left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from sacroplasty.evidence import value
from sacroplasty.outcome import AdverseEvent, PainChange, PainScore, Sequelae, Therapy, attributed, grades

Facts = Mapping[str, Any]
_DISEASE = {
    "lymphoma": "lymphoma", "lung": "lung cancer", "rectal": "rectal cancer", "breast": "breast cancer",
    "prostate": "prostate cancer", "kidney": "kidney cancer", "myeloma": "multiple myeloma",
    "other metastasis": "a malignant tumour", "osteoporotic insufficiency fracture": "osteoporosis",
    "other": "another disease",
}  # fmt: skip


def joined(words: Iterable[str]) -> str:
    """`a, b and c`."""
    items = list(words)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def number(found: float) -> str:
    """A number without needless digits."""
    return f"{found:g}"


def when(episode: Facts, day: float) -> str:
    """A day after the procedure as it was recorded: by its contact's name, else by its number."""
    contacts = episode.get("contacts") or ()
    named = next((one["name"] for one in contacts if one.get("day") == day), None)
    return str(named) if named else "the same day" if day == 0 else f"day {number(day)}"


def diagnosis(episode: Facts) -> str:
    """What weakened the sacrum, and where: `direct invasion by rectal cancer at S3`."""
    disease = _DISEASE[episode["cause"]]
    if episode["cause"] == "osteoporotic insufficiency fracture":
        what = "an osteoporotic insufficiency fracture"
    elif episode.get("spread") == "direct invasion":
        what = f"direct invasion by {disease}"
    elif episode.get("spread") == "haematogenous metastasis" or episode["cause"] == "other metastasis":
        what = f"metastasis from {disease}"
    else:
        what = disease
    levels = joined(episode.get("levels") or ())
    return f"{what} at {levels}" if levels else what


def person(record: Facts, episode: Facts) -> str:
    """`62-year-old man`; ages from 90 on are not printed."""
    noun = {"male": "man", "female": "woman"}.get(record.get("sex") or "", "patient")
    age = episode.get("age_years")
    if age is None:
        return noun
    oldest = int(value("sharing.age_top_code"))
    return f"{noun} of {oldest} years or older" if age >= oldest else f"{age}-year-old {noun}"


def patient_information(record: Facts, episode: Facts) -> list[str]:
    """Who the patient was, what hurt, and what had been tried."""
    site = f" of the {episode['pain_site']}" if episode.get("pain_site") else ""
    lines = [f"A {person(record, episode)} with {diagnosis(episode)} had pain{site}."]
    if episode.get("pain_character"):
        lines.append(f"The pain was described as {joined(episode['pain_character'])}.")
    if episode.get("pain_mechanical") is not None:
        lines.append(f"It {'worsened' if episode['pain_mechanical'] else 'did not worsen'} with ambulation.")
    lines += [_treatment(one) for one in episode.get("treatments") or ()]
    if episode.get("other_treated_levels"):
        lines.append(f"Other treated levels: {joined(episode['other_treated_levels'])}.")
    return lines


def _treatment(one: Facts) -> str:
    what = f"{one['kind'][0].upper()}{one['kind'][1:]}" + (f" ({one['detail']})" if one.get("detail") else "")
    if one.get("nrs_before") is not None and one.get("nrs_after") is not None:
        course = f"NRS from {number(one['nrs_before'])} to {number(one['nrs_after'])}"
    else:
        course = one.get("response") or "response not recorded"
    return f"{what}: {course}{', then ' + one['relapse'] if one.get('relapse') else ''}."


def clinical_findings(episode: Facts) -> list[str]:
    """The examination before the procedure."""
    lines = [
        f"{name} deficit: {episode[field]}."
        for name, field in (("Motor", "motor_deficit"), ("Sensory", "sensory_deficit"),
                            ("Bladder or bowel", "bladder_bowel_deficit"))
        if episode.get(field)
    ]  # fmt: skip
    if episode.get("pain_radicular") is not None:
        lines.append(f"Radicular pain: {'yes' if episode['pain_radicular'] else 'no'}.")
    return lines or ["The examination before the procedure was not recorded."]


def diagnostic_assessment(episode: Facts) -> list[str]:
    """Imaging, histology, what the pain came from, and the judgement of suitability."""
    lines = []
    if episode.get("imaging_reviewed"):
        lines.append(f"{joined(episode['imaging_reviewed'])} were reviewed.")
    if episode.get("imaging_findings"):
        lines.append(f"Findings: {episode['imaging_findings']}.")
    if episode.get("lesion_kind"):
        lines.append(f"The lesion was {episode['lesion_kind']}.")
    if episode.get("cortical_integrity"):
        lines.append(f"Cortex: {episode['cortical_integrity']}.")
    told = {
        "histology_proven": ("Histology was proven by biopsy before the procedure.", "There was no histology."),
        "other_pain_source_excluded": ("No other lesion that caused pain was found.", "Another source was possible."),
        "neural_involvement": ("Imaging showed neural involvement.", "Imaging showed no neural involvement."),
    }
    lines += [words[0] if episode[name] else words[1] for name, words in told.items() if episode.get(name) is not None]
    if episode.get("judged_unsuitable_because"):
        lines.append(f"The patient was judged unsuitable for sacroplasty: {episode['judged_unsuitable_because']}.")
    if episode.get("override_reason"):
        by = f" by {episode['override_by']}" if episode.get("override_by") else ""
        lines.append(f"The judgement was overridden{by}: {episode['override_reason']}.")
    return lines or ["The imaging was not recorded."]


def decision(episode: Facts) -> list[str]:
    """How it came to the procedure."""
    lines = []
    if episode.get("discussed_with"):
        lines.append(f"The procedure was discussed with the {joined(episode['discussed_with'])}.")
    if episode.get("alternatives_refused"):
        lines.append(f"The patient declined {joined(episode['alternatives_refused'])}.")
    if episode.get("preference"):
        lines.append(f"Preference: {episode['preference']}.")
    if episode.get("limited_life_expectancy"):
        lines.append("Life expectancy was limited, which spoke against surgery.")
    goal = {
        "both": "restore stability and relieve pain",
        "pain relief": "relieve pain",
        "stability": "restore stability",
    }
    if episode.get("goal"):
        lines.append(f"The goal was to {goal[episode['goal']]}.")
    return lines


def pain_changes(episode: Facts) -> tuple[PainChange, ...]:
    """Change per intervention, by the order of the scores."""
    start = date(2000, 1, 1)
    scores = sorted(episode.get("pain_scores") or (), key=lambda one: one["order"])
    return attributed(tuple(
        PainScore(start + timedelta(days=n), one.get("nrs"), one.get("words") or "", one["after"])
        for n, one in enumerate(scores)
    ))  # fmt: skip


def outcomes(episode: Facts, procedure: Facts) -> list[str]:
    """Pain per intervention, walking, follow-up, stay, adverse events with their grades."""
    lines = []
    for one in pain_changes(episode):
        if one.points is not None:
            points = f"{one.points:+g}".replace("-", "−")
            levels = f"{number(one.before or 0)} to {number(one.after or 0)}"
            lines.append(f"After {one.intervention} the NRS changed from {levels} ({points} points, {one.response}).")
    lines += [
        f"Pain {_day(episode, one)}: {one['words']}." for one in episode.get("pain_scores") or () if one.get("words")
    ]
    lines += [line for one in episode.get("contacts") or () if (line := _contact(one))]
    if procedure.get("days_in_hospital") is not None:
        lines.append(f"The patient was discharged {number(procedure['days_in_hospital'])} days after the procedure.")
    if procedure.get("neurological_check"):
        lines.append(f"Neurological check after the procedure: {procedure['neurological_check']}.")
    lines += [_event(one) for one in procedure.get("events") or ()] or ["No adverse event was recorded."]
    for name, word in (("technical_success", "Technical"), ("clinical_success", "Clinical")):
        if procedure.get(name) is not None:
            lines.append(f"{word} success: {'yes' if procedure[name] else 'no'}.")
    return lines


def _day(episode: Facts, one: Facts) -> str:
    if one["after"] == "baseline":
        return "before the procedure"
    return f"after {one['after']}" + ("" if one.get("day") is None else f", {when(episode, one['day'])}")


def _contact(one: Facts) -> str:
    told = [
        f"{name} {one[field]}"
        for name, field in (("ambulation", "ambulation"), ("pain on walking", "pain_on_walking"),
                            ("tenderness", "tenderness"), ("satisfaction", "satisfaction"), ("", "words"))
        if one.get(field)
    ]  # fmt: skip
    told += [f"{name} {number(one[field])}" for name, field in (("ODI", "odi"), ("KPS", "kps"), ("ECOG", "ecog"))
             if one.get(field) is not None]  # fmt: skip
    if one.get("opioid_mg_per_day") is not None:
        told.append(f"opioids {number(one['opioid_mg_per_day'])} mg per day")
    mode = f" by {one['mode']}" if one.get("mode") else ""
    found = "; ".join(words.strip() for words in told) or "seen, nothing recorded"
    return f"Follow-up, {one['name']}{mode}: {found}."


def _event(one: Facts) -> str:
    event = AdverseEvent(one["name"], Therapy(one["therapy"]), one["extra_hospital_hours"], Sequelae(one["sequelae"]),
                         one["solved_in_session"], one["symptomatic"])  # fmt: skip
    graded = ", ".join(f"{grade.scheme} {grade.year} grade {grade.grade}" for grade in grades(event))
    return f"Adverse event: {one['name']} ({graded})."
