"""References of a case report: numbered in the order they are cited, each with its DOI or PMID."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

from sacroplasty.errors import InputError


@cache
def references() -> Mapping[str, str]:
    """Every reference by key."""
    text = resources.files("sacroplasty.evidence").joinpath("references.csv").read_text(encoding="utf-8")
    return MappingProxyType({row["key"]: row["reference"] for row in csv.DictReader(text.splitlines())})


class Citations:
    """Numbers for references in the order they are first cited."""

    def __init__(self) -> None:
        self._order: list[str] = []

    def cite(self, *keys: str) -> str:
        """`[1]` or `[1, 2]` for known references; InputError for an unknown one."""
        for key in keys:
            if key not in references():
                raise InputError("The reference is unknown", got=key, remedy=f"Use one of {', '.join(references())}")
            if key not in self._order:
                self._order.append(key)
        return f"[{', '.join(str(self._order.index(key) + 1) for key in keys)}]"

    def lines(self) -> tuple[str, ...]:
        """The list of references, numbered."""
        return tuple(f"{number}. {references()[key]}" for number, key in enumerate(self._order, start=1))
