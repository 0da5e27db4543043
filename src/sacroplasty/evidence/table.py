"""Numbers from the literature and assumptions, each with unit, range and source."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib import resources

from sacroplasty.errors import InputError


@dataclass(frozen=True)
class Evidence:
    """One number: `value` with `low` and `high` (a range, mean ± 1 SD or interval as `note` says), `unit`, `source`.

    `assumption` is True where no publication was read and `source` gives the reason instead.
    """

    key: str
    value: float
    unit: str
    source: str
    low: float | None = None
    high: float | None = None
    note: str = ""
    assumption: bool = False


_used: ContextVar[set[str] | None] = ContextVar("evidence_used", default=None)


@cache
def evidence_table() -> dict[str, Evidence]:
    """Every entry by key; a key is `<file>.<name>`, e.g. `anatomy.s1_body_hu`, from the room's TOML files."""
    table: dict[str, Evidence] = {}
    for file in sorted(resources.files(__package__).iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".toml"):
            continue
        topic = file.name.removesuffix(".toml")
        for name, entry in tomllib.loads(file.read_text(encoding="utf-8")).items():
            key = f"{topic}.{name}"
            table[key] = Evidence(key=key, assumption=topic == "assumptions", **entry)
    return table


def evidence(key: str) -> Evidence:
    """The entry of a key, noted for `cite` where a collector is open; an unknown key raises InputError."""
    try:
        found = evidence_table()[key]
    except KeyError:
        raise InputError("There is no such evidence", got=key, remedy="See `sacroplasty cite --all`") from None
    collector = _used.get()
    if collector is not None:
        collector.add(key)
    return found


def value(key: str) -> float:
    """The number of a key; call it inside functions, so that the case that uses it can cite it."""
    return evidence(key).value


@contextmanager
def collected() -> Iterator[set[str]]:
    """The set that gathers every evidence key read while the block runs."""
    keys: set[str] = set()
    token = _used.set(keys)
    try:
        yield keys
    finally:
        _used.reset(token)
