"""What the literature says per claim, each with its source and with what does not fit: for teaching and consent."""

from __future__ import annotations

from dataclasses import dataclass

from sacroplasty.errors import InputError
from sacroplasty.evidence import Evidence, evidence, evidence_table
from sacroplasty.outcome.series import PublishedSeries, published_series

_FILE = "literature"
# Topic by the first words of a key, with the sentence that introduces it.
TOPICS: dict[str, str] = {
    "volume": "How much cement: no volume is agreed on for the sacrum; the smallest that fills is enough.",
    "mechanism": "Ways in which cement is thought to relieve pain.",
    "risk": "Risks to be explained before consent.",
    "relief": "How much relief, and for how long.",
    "guidance": "Sacroplasty under fluoroscopy alone: who did it, and what they say of it.",
    "life_expectancy": "Limited life expectancy as part of the decision.",
}


@dataclass(frozen=True)
class Claim:
    """One statement or number with who says it (`source`), and what does not fit (`discrepancy`, may be empty)."""

    topic: str
    key: str
    source: str
    number: str
    discrepancy: str

    @property
    def sentence(self) -> str:
        """The claim in one line: number, source, discrepancy."""
        line = f"{self.number}: {self.source}" if self.number else self.source
        return f"{line} [{self.discrepancy}]" if self.discrepancy else line


def _number(entry: Evidence) -> str:
    if entry.unit == "statement":
        return ""
    spread = entry.low is not None and entry.high is not None
    number = f"{entry.low:g} to {entry.high:g}" if spread and "middle" in entry.note else f"{entry.value:g}"
    return f"{number} {entry.unit}"


def claims(topic: str) -> tuple[Claim, ...]:
    """Every claim on a topic in the order of the table, noted for `cite`; InputError lists the topics."""
    if topic not in TOPICS:
        raise InputError("The literature has no such topic", got=topic, remedy=f"Use one of {', '.join(TOPICS)}")
    keys = [key for key in evidence_table() if key.startswith(f"{_FILE}.{topic}_")]
    entries = [evidence(key) for key in keys]
    return tuple(Claim(topic, one.key, one.source, _number(one), one.note) for one in entries)


def fluoroscopy_only() -> tuple[PublishedSeries, ...]:
    """Published series done under fluoroscopy alone: the prior art of both source papers."""
    return tuple(one for one in published_series() if one.guidance == "fluoroscopy")
