"""Records for sharing: what could name a person is left out, what is kept is listed by an allow list.

Kept are numbers, yes/no and words from the registry's own lists. Free text, dates, birth years, lots and identifiers
are dropped, because nobody can vouch for what was typed there; ages from 90 on become 90 (HIPAA safe harbor,
45 CFR 164.514(b)(2)). Pseudonyms and row identifiers are replaced by keyed hashes, one key per receiver, so that two
receivers cannot join their copies.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON

from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.registry.record import Record, children, facts_of, usual_words
from sacroplasty.registry.tables import PainRecord, Patient, Table

_ALWAYS_DROPPED = {"birth_year"}
_OTHER, _WORDS_LEFT_OUT = "other", "words left out"
_SHORTEST_KEY = 16


@dataclass(frozen=True)
class Shared:
    """Records ready for one receiver, how often each column was left out, and how many patients stand out.

    `unique_patients` share age, sex, cause and levels with nobody else among these records: whoever knows those four
    facts of a person would find them. The receiver's agreement must forbid it, or the records be withheld.
    """

    records: tuple[Record, ...]
    left_out: Mapping[str, int]
    unique_patients: int


def deidentified(records: Iterable[Mapping[str, Any]], key: bytes) -> Shared:
    """De-identified copies of records under a receiver's key; InputError for a key shorter than 16 bytes."""
    if len(key) < _SHORTEST_KEY:
        raise InputError("The key of a receiver is too short", got=f"{len(key)} bytes", remedy="Take 32 random bytes")
    dropped: Counter[str] = Counter()
    shared = sorted((_row(Patient, data, key, dropped) for data in records), key=lambda one: str(one["pseudonym"]))
    return Shared(tuple(shared), dict(sorted(dropped.items())), _unique(shared))


def _hashed(key: bytes, *words: str) -> str:
    return hmac.new(key, "\0".join(words).encode(), hashlib.sha256).hexdigest()


def _row(kind: type[Table], data: Mapping[str, Any], key: bytes, dropped: Counter[str]) -> Record:
    kept: Record = {}
    for name in facts_of(kind):
        found = data.get(name)
        if name == "id":
            if found is not None:
                kept["id"] = _hashed(key, "row", str(found))[:32]
        elif name == "pseudonym":
            kept[name] = f"S-{_hashed(key, 'patient', str(found))[:16]}"
        else:
            kept[name] = _kept(kind, name, found)
            if kept[name] != found and found not in (None, "", []):
                dropped[f"{kind.__tablename__}.{name}"] += 1
    if kind is PainRecord and kept["nrs"] is None and data.get("words"):
        # A score in words stays a score, though its words are not shared.
        kept["words"] = _WORDS_LEFT_OUT
    for name, child in children(kind).items():
        kept[name] = [_row(child, item, key, dropped) for item in data.get(name) or []]
    return kept


def _kept(kind: type[Table], name: str, found: Any) -> Any:
    """What of a column may be shared: the value itself, a weaker one, or nothing."""
    column, words = facts_of(kind)[name], usual_words(kind, name)
    if found is None or name in _ALWAYS_DROPPED:
        return None
    if isinstance(column.type, JSON):
        return [item for item in found if item in words]
    if column.type.python_type is bool:
        return found
    if column.type.python_type in (int, float):
        return min(found, int(value("sharing.age_top_code"))) if name == "age_years" else found
    if column.type.python_type is str and found in words:
        return found
    return None if column.nullable else _contact_day(kind, found)


def _contact_day(kind: type[Table], found: Any) -> str:
    """What stands where a text must stand: the contact's kind, else `other`."""
    return "contact" if kind.__tablename__ == "contact" and found else _OTHER


def _unique(records: list[Record]) -> int:
    groups = Counter(_traits(record) for record in records)
    return sum(1 for count in groups.values() if count == 1)


def _traits(record: Record) -> tuple[object, ...]:
    first: Record = next(iter(record["episodes"]), {})
    return record.get("sex"), first.get("age_years"), first.get("cause"), tuple(first.get("levels") or ())
