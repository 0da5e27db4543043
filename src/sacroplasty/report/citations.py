"""Sources of the numbers behind a case, one line each."""

from __future__ import annotations

from collections.abc import Iterable

from sacroplasty.evidence import Evidence, evidence


def _number(entry: Evidence) -> str:
    span = f" ({entry.low:g} to {entry.high:g})" if entry.low is not None and entry.high is not None else ""
    unit = "" if entry.unit == "1" else f" {entry.unit}"
    return f"{entry.value:g}{span}{unit}"


def citations(keys: Iterable[str]) -> tuple[str, ...]:
    """`key: value (range) unit, source` for each evidence key; assumptions say so."""
    lines = []
    for key in keys:
        entry = evidence(key)
        kind = "assumption: " if entry.assumption else ""
        note = f" [{entry.note}]" if entry.note else ""
        lines.append(f"{key}: {_number(entry)}, {kind}{entry.source}{note}")
    return tuple(lines)
