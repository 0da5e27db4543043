"""What no image tells, kept with the case: the patient's facts, and a decision to go on against the judgement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sacroplasty.case import Case, CaseFolder
    from sacroplasty.lesion import Override, PatientFacts

# Where a case folder keeps them.
FACTS = "facts"
# A sheet longer than this is no sheet, bytes.
LONGEST_SHEET = 100_000


def read_facts(path: Path) -> PatientFacts:
    """The facts of a sheet; InputError where it is missing, too long, or says what no field can hold."""
    from sacroplasty.errors import InputError
    from sacroplasty.lesion import facts_from_sheet

    try:
        text = path.read_text(encoding="utf-8") if path.stat().st_size <= LONGEST_SHEET else ""
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "The sheet of facts cannot be read", got=str(path), remedy="Give a TOML or JSON file"
        ) from error
    if not text.strip():
        raise InputError("The sheet of facts is empty or too long", got=str(path), remedy="Give a TOML or JSON file")
    return facts_from_sheet(text)


def store_facts(stored: CaseFolder, facts: PatientFacts, override: Override | None = None) -> None:
    """Keep the patient's facts, and a decision against the judgement, with the case; an older report is forgotten."""
    from sacroplasty.case import encode

    before = stored_facts(stored)[1]
    forget = ("report",) if stored.has("report") else ()
    stored.write_value(FACTS, {"facts": encode(facts), "override": encode(override)}, forget=forget)
    if override != before:
        event = "override recorded" if override else "override withdrawn"
        stored.note(event, {"override": encode(override)})


def overridden(case: Case, override: Override) -> Case:
    """The case with a decision to go on; InputError where nothing speaks against the procedure."""
    from dataclasses import replace

    case.require("lesions")
    judged = replace(case, override=None).suitability
    assert judged is not None
    judged.overridden(override)
    return replace(case, override=override)


def stored_facts(stored: CaseFolder) -> tuple[PatientFacts, Override | None]:
    """The patient's facts, unknown ones where none were stored, and the override."""
    from sacroplasty.case import decode
    from sacroplasty.lesion import Override, PatientFacts

    if not stored.has(FACTS):
        return PatientFacts(), None
    kept = stored.read_value(FACTS, dict[str, Any])
    return decode(PatientFacts, kept["facts"]), decode(Override | None, kept["override"])
