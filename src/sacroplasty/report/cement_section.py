"""The report's part on the simulated injection."""

from __future__ import annotations

from collections.abc import Mapping

from sacroplasty.case import Case
from sacroplasty.cement import CementResult, Leak
from sacroplasty.plan import Severity
from sacroplasty.report.document import Block, Figure, Paragraph, Remark, Section, Table
from sacroplasty.report.pictures import cement_pictures

# Less than this is a trace of the sharp front, not a volume to report.
_TRACE_ML = 0.005


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _chance(leak: Leak) -> str:
    if leak.probability is None:
        return "not sampled"
    span = f" ({_percent(leak.probability_low)} to {_percent(leak.probability_high)})"
    return _percent(leak.probability) + (span if leak.probability_low is not None else "")


def _leaks(leaks: tuple[Leak, ...]) -> tuple[Block, ...]:
    rows = tuple(
        (leak.compartment.replace("_", " "), f"{leak.volume_ml:.2f}",
         "-" if leak.first_leak_ml is None else f"{leak.first_leak_ml:.1f}", _chance(leak))
        for leak in leaks
    )  # fmt: skip
    if not rows:
        return (Paragraph("No cement left the bone in this run (simulated)."),)
    header = ("Compartment", "Volume, mL", "First seen after, mL", "Probability")
    return (Table(header, rows, "Leaks by compartment (simulated)"),)


def _compartments(compartments: Mapping[str, float]) -> Table:
    kept = sorted(((name, ml) for name, ml in compartments.items() if ml >= _TRACE_ML), key=lambda item: -item[1])
    rows = tuple((name.replace("_", " "), f"{ml:.2f}") for name, ml in kept)
    return Table(("Where", "Cement, mL"), rows, "Where the cement lies (simulated)")


def _words(result: CementResult) -> str:
    return (
        f"{result.placed_ml:.1f} of {result.requested_ml:.1f} mL {result.cement} placed; the lesion is "
        f"{100 * result.lesion_fill:.0f} % full; {result.leaked_ml:.2f} mL outside the bone and lesion. "
        f"{(result.stopped or 'The planned volume went in').rstrip('.')}. "
        f"Highest syringe pressure {result.peak_syringe_kpa / 1000:.1f} MPa. "
        f"Lesion taken as: {result.lesion_model}."
    )


def cement_section(case: Case, figures: tuple[Figure, ...] | None = None) -> Section:
    """What the simulated injection came to: words, findings, pictures, compartments, leaks, when to stop."""
    result: CementResult = case.require("cement")
    order = list(Severity)
    findings = sorted(result.findings, key=lambda f: -order.index(f.severity))
    blocks: list[Block] = [
        Paragraph(result.statement), Paragraph(_words(result)),
        *(Remark(f.severity, f.message) for f in findings),
        *(cement_pictures(case) if figures is None else figures),
        _compartments(result.compartments), *_leaks(result.leaks),
    ]  # fmt: skip
    if result.stop_rules:
        blocks.append(Paragraph("Stop when: " + " ".join(result.stop_rules)))
    return Section("Cement (simulated)", tuple(blocks))
