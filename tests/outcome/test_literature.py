"""Claims carry their sources and discrepancies; the decision documents and forbids nothing."""

from __future__ import annotations

import pytest

from sacroplasty.errors import InputError
from sacroplasty.evidence import collected
from sacroplasty.outcome.decision import (
    DecisionFacts,
    decision_sentences,
    radiotherapy_indicated,
    surgery_indicated,
)
from sacroplasty.outcome.literature import TOPICS, claims, fluoroscopy_only


def numbers(topic: str) -> dict[str, str]:
    return {claim.key.partition(f"{topic}_")[2]: claim.number for claim in claims(topic)}


def test_published_volumes_are_shown_with_their_discrepancies() -> None:
    found = {claim.key.removeprefix("literature.volume_"): claim for claim in claims("volume")}
    assert [found[name].number for name in ("cervical", "thoracic", "lumbar")] == ["2.5 mL", "5.5 mL", "7 mL"]
    assert "Kortman's abstract gives no volume" in found["sacrum_kortman_as_cited"].discrepancy
    assert "median of 5.8 mL" in found["sacrum_moussazadeh_as_cited"].discrepancy
    assert found["sacrum_frey_as_cited"].number == "2 to 5 mL"
    assert (found["sacrum_zhang"].number, found["sacrum_yeo"].number) == ("6 mL", "2 mL")


def test_ways_in_which_cement_relieves_pain() -> None:
    text = " ".join(claim.sentence for claim in claims("mechanism"))
    for words in ("micro-fractures", "periosteum", "necrotic", "not well understood"):
        assert words in text


def test_risks_are_listed() -> None:
    names = {claim.key.removeprefix("literature.risk_") for claim in claims("risk")}
    assert names >= {"nerve_root_injury", "root_compression", "canal_compromise", "cement_migration", "vessels",
                     "viscera", "iliac_bone", "lumbosacral_plexus", "infection"}  # fmt: skip


def test_figures_per_claim() -> None:
    found = numbers("relief")
    assert found["moussazadeh"] == "80 percent"
    assert found["andresen"] == "6 months"
    assert found["radiotherapy"] == "30 to 40 percent"


def test_prior_art_of_fluoroscopy_alone_names_the_citation_error() -> None:
    assert {one.series for one in fluoroscopy_only()} >= {"zhang-2008", "yeo-2024", "tian-2019", "tian-2020"}
    error = next(claim for claim in claims("guidance") if claim.key.endswith("citation_error"))
    assert "trans-sacroiliac" in error.discrepancy
    assert "Tian 2019" in error.discrepancy


def test_every_claim_is_cited_and_unknown_topics_are_refused() -> None:
    with collected() as keys:
        every = [claim for topic in TOPICS for claim in claims(topic)]
    assert {claim.key for claim in every} == keys
    assert all(claim.source for claim in every)
    with pytest.raises(InputError, match="mechanism"):
        claims("gossip")


@pytest.mark.parametrize(
    ("unstable", "acute", "answer"),
    [(False, False, True), (True, False, False), (False, True, False), (None, False, None), (True, None, False)],
)
def test_radiotherapy_needs_stability_and_a_quiet_neurology(
    unstable: bool | None, acute: bool | None, answer: bool | None
) -> None:
    found = radiotherapy_indicated(DecisionFacts(unstable, acute))
    assert found.indicated is answer
    assert any("delayed" in limit for limit in found.limits)
    assert any("30 to 40" in limit for limit in found.limits)


def test_a_limited_life_expectancy_speaks_against_surgery() -> None:
    assert surgery_indicated(DecisionFacts(limited_life_expectancy=True)).indicated is False
    assert surgery_indicated(DecisionFacts()).indicated is None
    assert "19 to 48 percent" in surgery_indicated(DecisionFacts()).limits[0]


def test_wish_refusal_and_override_are_told() -> None:
    text = " ".join(
        decision_sentences(DecisionFacts(preference="relief now", refused=("surgery",), override_reason="x"))
    )
    assert "wish: relief now" in text
    assert "Refused: surgery" in text
    assert "against the judgement: x" in text
