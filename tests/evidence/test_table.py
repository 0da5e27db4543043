"""Every number has a unit and a source; what a block used is gathered."""

from __future__ import annotations

import pytest

from sacroplasty.errors import InputError
from sacroplasty.evidence import Evidence, collected, evidence, evidence_table, value


@pytest.mark.parametrize("entry", evidence_table().values(), ids=lambda e: e.key)
def test_every_entry_has_unit_source_and_order(entry: Evidence) -> None:
    assert entry.unit
    assert len(entry.source) > 10
    low = entry.value if entry.low is None else entry.low
    high = entry.value if entry.high is None else entry.high
    assert low <= entry.value <= high


@pytest.mark.parametrize("entry", evidence_table().values(), ids=lambda e: e.key)
def test_no_unverified_tag_stands_as_a_source(entry: Evidence) -> None:
    assert not any(tag in entry.source for tag in ("[mem]", "[M]", "[K]"))


def test_a_block_gathers_what_it_used() -> None:
    with collected() as keys:
        value("needles.outer_diameter_13g")
        value("assumptions.clearance_red")
    value("assumptions.clearance_amber")
    assert keys == {"needles.outer_diameter_13g", "assumptions.clearance_red"}


def test_assumptions_are_marked() -> None:
    assert evidence("assumptions.clearance_red").assumption
    assert not evidence("needles.outer_diameter_13g").assumption


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(InputError, match="no such evidence"):
        evidence("needles.outer_diameter_99g")
