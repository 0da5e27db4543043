"""A draft of a case report from a registry's record, in the order of the CARE guidelines.

Every sentence of the case comes from a stored fact, every number of the discussion from the evidence table. What only
the authors can write is marked as theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sacroplasty import NOT_FOR_CLINICAL_USE, __version__
from sacroplasty.errors import InputError
from sacroplasty.evidence import evidence
from sacroplasty.report.case_report_docx import to_docx
from sacroplasty.report.case_report_identifiers import identifiers_in
from sacroplasty.report.case_report_markdown import to_markdown
from sacroplasty.report.case_report_procedure import therapeutic_intervention
from sacroplasty.report.case_report_references import Citations
from sacroplasty.report.case_report_text import (
    Facts,
    clinical_findings,
    decision,
    diagnosis,
    diagnostic_assessment,
    number,
    outcomes,
    pain_changes,
    patient_information,
    person,
    when,
)
from sacroplasty.report.document import Block, Document, Figure, Paragraph, Section, Table
from sacroplasty.report.pdf import to_pdf

TO_WRITE = "[To be written by the authors: {}]"
# The sections that tell the case; identifiers are searched for in them, not in the references.
CASE_SECTIONS = (
    "Abstract", "Patient information", "Clinical findings", "Timeline", "Diagnostic assessment",
    "Therapeutic intervention", "Follow-up and outcomes", "Patient perspective", "Informed consent",
)  # fmt: skip
_SOURCES = {"zhang-1": "zhang-2008", "zhang-2": "zhang-2008", "yeo": "yeo-2024"}


def case_report(record: Facts, figures: Sequence[Figure] = (), missing: Sequence[tuple[str, str]] = ()) -> Document:
    """The draft of a patient's first episode with a procedure; InputError where there is none.

    Print it only after somebody has read it: `identifiers_of` finds what looks like an identity, not every identity.
    """
    episode = next((one for one in record.get("episodes") or () if one.get("procedures")), None)
    if episode is None:
        raise InputError("There is no procedure to report", remedy="Record the procedure first")
    procedure = episode["procedures"][0]
    cited = Citations()
    sections = [
        *_note(record, cited),
        Section("Keywords", (Paragraph("; ".join(_keywords(episode, procedure))),)),
        _text("Abstract", _abstract(record, episode, procedure)),
        _text("Introduction", _introduction(procedure, cited)),
        _text("Patient information", patient_information(record, episode)),
        _text("Clinical findings", clinical_findings(episode)),
        Section("Timeline", (_timeline(episode, procedure),)),
        _text("Diagnostic assessment", diagnostic_assessment(episode)),
        _text("Therapeutic intervention", [*decision(episode), *therapeutic_intervention(procedure)]),
        _text("Follow-up and outcomes", outcomes(episode, procedure)),
        _text("Discussion", _discussion(episode, procedure, cited)),
        _text("Patient perspective", [episode.get("patient_perspective") or TO_WRITE.format("the patient's own view")]),
        _text("Informed consent", _consent(episode)),
        Section("Figures", _figures(figures, missing)),
    ]
    sections.append(Section("References", tuple(Paragraph(line) for line in cited.lines())))
    return Document(
        _title(episode, procedure), "Draft in the order of the CARE guidelines", tuple(sections),
        f"sacroplasty {__version__}. {NOT_FOR_CLINICAL_USE}",
    )  # fmt: skip


def identifiers_of(document: Document, record: Facts, identities: Iterable[str] = ()) -> tuple[str, ...]:
    """What in the draft's own sections could name the patient."""
    kept = Document(document.title, "", tuple(one for one in document.sections if one.title in CASE_SECTIONS))
    ethics = [one["ethics_statement"] for one in record.get("episodes") or () if one.get("ethics_statement")]
    return identifiers_in(to_markdown(kept), [*identities, str(record.get("pseudonym") or "")], ethics)


def write_case_report(
    record: Facts,
    folder: Path,
    figures: Sequence[Figure] = (),
    missing: Sequence[tuple[str, str]] = (),
    identities: Iterable[str] = (),
) -> tuple[Path, ...]:
    """Write case_report.md, .docx, .pdf and the panels into a new folder.

    InputError where the draft holds what looks like an identity, or where the patient did not agree to publication:
    an unknown consent stops nothing, because it is asked for in the draft itself.
    """
    if any(one.get("consent_publication") is False for one in record.get("episodes") or ()):
        raise InputError("The patient did not agree to publication", remedy="Ask again, or do not write a report")
    document = case_report(record, figures, missing)
    found = identifiers_of(document, record, identities)
    if found:
        raise InputError("The draft holds what could name the patient", got="; ".join(found),
                         remedy="Change these words in the record")  # fmt: skip
    if folder.exists():
        raise InputError("The folder exists already", got=str(folder), remedy="Give another name")
    folder.mkdir(parents=True)
    names = [f"panel_{letter}.png" for letter in _letters(figures)]
    for name, figure in zip(names, figures, strict=True):
        (folder / name).write_bytes(figure.png)
    (folder / "case_report.md").write_text(to_markdown(document, names), encoding="utf-8")
    (folder / "case_report.docx").write_bytes(to_docx(document))
    (folder / "case_report.pdf").write_bytes(to_pdf(document))
    return tuple(sorted(folder.iterdir()))


def _letters(figures: Sequence[Figure]) -> list[str]:
    return [figure.caption.partition(".")[0] for figure in figures]


def _note(record: Facts, cited: Citations) -> tuple[Section, ...]:
    """Says so where the record is one of the papers' own patients."""
    source = _SOURCES.get(record.get("pseudonym") or "") if record.get("example") else None
    if source is None:
        return ()
    note = f"This draft was made from a published case {cited.cite(source)} as an example; it is no new patient."
    return (_text("Note", [note]),)


def _text(title: str, lines: Sequence[str]) -> Section:
    """One paragraph of what is known, and one for each thing that the authors must write."""
    start = TO_WRITE.partition("{")[0]
    known = " ".join(line for line in lines if not line.startswith(start))
    return Section(
        title, tuple(Paragraph(text) for text in (known, *(x for x in lines if x.startswith(start))) if text)
    )


def _title(episode: Facts, procedure: Facts) -> str:
    return f"Percutaneous sacroplasty by the {procedure['approach']} approach for {diagnosis(episode)}: a case report"


def _keywords(episode: Facts, procedure: Facts) -> list[str]:
    words = ["case report", "sacroplasty", procedure["approach"], episode["cause"]]
    return [*words, procedure["guidance"]] if procedure.get("guidance") else words


def _abstract(record: Facts, episode: Facts, procedure: Facts) -> list[str]:
    lines = [f"A {person(record, episode)} with {diagnosis(episode)} underwent percutaneous sacroplasty by the "
             f"{procedure['approach']} approach."]  # fmt: skip
    changes = [one for one in pain_changes(episode) if one.intervention == "sacroplasty" and one.points is not None]
    words = [
        one["words"] for one in episode.get("pain_scores") or () if one["after"] == "sacroplasty" and one.get("words")
    ]
    if changes:
        lines.append(f"Pain fell from NRS {number(changes[0].before or 0)} to {number(changes[0].after or 0)}.")
    elif words:
        lines.append(f"Pain after it: {words[0]}.")
    if procedure.get("leak_verdict"):
        lines.append(f"Leaks: {procedure['leak_verdict']}.")
    return [*lines, TO_WRITE.format("what this case adds, and its lesson")]


def _introduction(procedure: Facts, cited: Citations) -> list[str]:
    return [
        "Sacroplasty is the augmentation of the sacrum with bone cement, first described for a metastasis "
        f"{cited.cite('dehdashti-2000')}; reviews report relief in fractures and metastases "
        f"{cited.cite('chandra-2019', 'tarawneh-2020')}.",
        f"This report follows the CARE guidelines {cited.cite('care-2013')}.",
        TO_WRITE.format(f"why this case by the {procedure['approach']} approach is unique"),
    ]


def _timeline(episode: Facts, procedure: Facts) -> Table:
    """Treatments before, the procedure as day 0, scores and contacts after it."""
    rows = [("before", one["kind"], one.get("response") or "") for one in episode.get("treatments") or ()]
    rows.append(("day 0", f"sacroplasty, {procedure['approach']}", procedure.get("filling") or ""))
    scored = [one for one in episode.get("pain_scores") or () if one.get("day") is not None]
    later = [(one["day"], "pain", f"NRS {number(one['nrs'])}" if one.get("nrs") is not None else one["words"])
             for one in scored]  # fmt: skip
    later += [(one["day"], "contact", one.get("mode") or "") for one in episode.get("contacts") or ()
              if one.get("day") is not None]  # fmt: skip
    rows += [(when(episode, day), what, found or "") for day, what, found in sorted(later, key=lambda row: row[0])]
    return Table(("When", "What", "Finding"), tuple(rows), "From the procedure on")


def _discussion(episode: Facts, procedure: Facts, cited: Citations) -> list[str]:
    radiotherapy = evidence("literature.relief_radiotherapy")
    relief = evidence("literature.relief_moussazadeh")
    lines = [
        f"Sacroplasty gave {number(relief.value)} % of 25 patients with cancer less pain at a median of 6.5 months "
        f"{cited.cite('moussazadeh-2015')}; radiotherapy is cited with {number(radiotherapy.low or 0)} to "
        f"{number(radiotherapy.high or 0)} % {cited.cite('yeo-2024')}.",
        f"No volume of cement is agreed on: {number(evidence('literature.volume_sacrum_zhang').value)} mL in S1 "
        f"{cited.cite('zhang-2008')} and {number(evidence('literature.volume_sacrum_yeo').value)} mL in S3 "
        f"{cited.cite('yeo-2024')} were used under fluoroscopy alone.",
    ]
    lines += [f"Limit: {words}." for words in _limits(episode, procedure)]
    return [*lines, TO_WRITE.format("strengths, comparison with the literature, and conclusion")]


def _limits(episode: Facts, procedure: Facts) -> list[str]:
    """What the record itself cannot tell."""
    scores: list[Mapping[str, Any]] = list(episode.get("pain_scores") or ())
    limits = []
    if not [one for one in scores if one.get("nrs") is not None]:
        limits.append("pain was recorded in words, not as a number")
    if any(one.get("volume_ml") is None for one in procedure.get("deposits") or ()):
        limits.append("the volume of cement was not recorded")
    if procedure.get("leak_modality") != "CT":
        limits.append("leaks were not looked for by CT")
    days = [one["day"] for one in [*scores, *(episode.get("contacts") or ())] if one.get("day") is not None]
    if days:
        limits.append(f"follow-up ended at: {when(episode, max(days))}")
    return limits


def _consent(episode: Facts) -> list[str]:
    lines = []
    for what, field in (("the procedure", "consent_procedure"), ("publication", "consent_publication")):
        given = episode.get(field)
        state = "is not recorded and must be obtained" if given is None else "was obtained" if given else "was refused"
        lines.append(f"Consent to {what} {state}.")
    ethics = episode.get("ethics_statement")
    return [*lines, f"Ethics: {ethics}." if ethics else TO_WRITE.format("the ethics statement")]


def _figures(figures: Sequence[Figure], missing: Sequence[tuple[str, str]]) -> tuple[Block, ...]:
    if not figures and not missing:
        return (Paragraph(TO_WRITE.format("panels A to G; none was made, because no case was given")),)
    absent = tuple(Paragraph(f"Panel {letter} is missing: {reason}.") for letter, reason in missing)
    return (*figures, *absent)
