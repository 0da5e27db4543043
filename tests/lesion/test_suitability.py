"""The papers' judgements, the scores' traps, and every rule that speaks against."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from sacroplasty.errors import InputError
from sacroplasty.evidence import evidence
from sacroplasty.lesion import (
    Aetiology,
    Alignment,
    Bearing,
    Blood,
    Collapse,
    Decision,
    Integrity,
    Lesion,
    LesionKind,
    Mechanism,
    Movement,
    Neurology,
    Override,
    Pain,
    PainSite,
    PatientFacts,
    Verdict,
    Wall,
    assess_suitability,
    pain_mechanism,
    sins,
)
from sacroplasty.lesion.published import YEO, ZHANG_1, ZHANG_2, ZHANG_2_OVERRIDE_REASON
from sacroplasty.plan import Level, Severity
from tests.lesion.toy import ball

# Role and day are not printed; the day is the year of publication.
ZHANG_2_OVERRIDE = Override(ZHANG_2_OVERRIDE_REASON, "operator", "2008-01-01")
HOLDS = Wall("ventral", Integrity.INTACT, 0.0, 120.0, (0.0, 0.0, -10.0))
GONE = Wall("ventral", Integrity.BREACHED, 40.0, 120.0, (0.0, 0.0, -10.0), np.array([[0.0, 0.0, -10.0]]))
FORAMEN = Wall("S1 anterior foramen right", Integrity.BREACHED, 25.0, 60.0, (-22.0, 5.0, -20.0))


def lesion(loaf, kind=LesionKind.LYTIC, level=Level.S1, walls=(HOLDS,), **more) -> Lesion:
    mask = ball(loaf[1], (0.0, 10.0, -10.0), 5.0)
    return Lesion(mask, (0.0, 10.0, -10.0), 3.0, kind, {level: 1.0}, walls=walls, **more)


def test_first_patient_of_zhang_is_suitable(loaf):
    judged = assess_suitability(ZHANG_1, loaf[1], lesion(loaf, LesionKind.MIXED))
    assert judged.verdict is Verdict.SUITABLE
    assert judged.proceeds
    assert judged.pain.mechanism is Mechanism.BONY
    assert judged.questions, "INR, platelets and more are not in the paper and must be asked"


def test_second_patient_of_zhang_is_unsuitable_and_treated_by_override(loaf):
    judged = assess_suitability(ZHANG_2, loaf[1], lesion(loaf, walls=(GONE, FORAMEN)))
    assert judged.verdict is Verdict.UNSUITABLE
    assert not judged.proceeds
    assert any("Destroyed cortex" in reason and "foramen" in reason for reason in judged.reasons)
    after = judged.overridden(ZHANG_2_OVERRIDE)
    assert after.proceeds
    assert after.verdict is Verdict.UNSUITABLE, "the judgement stays"
    assert after.override == ZHANG_2_OVERRIDE
    assert "suitability.destroyed_margin" in {k for s in after.statements for k in s.evidence}


def test_patient_of_yeo_is_suitable_with_bony_pain_from_direct_invasion(loaf):
    judged = assess_suitability(YEO, loaf[1], lesion(loaf, level=Level.S3, walls=(GONE,), soft_tissue_ml=4.0))
    assert judged.verdict is Verdict.SUITABLE
    assert judged.pain.mechanism is Mechanism.BONY, "lancinating and electric alone make no nerve pain"
    assert any("lancinating" in hint for hint in judged.pain.for_nerve)
    assert any(s.code == "margin-invaded" and s.bearing is Bearing.CAUTION for s in judged.statements)
    assert [a.option for a in judged.alternatives if a.declined] == ["radiotherapy", "en-bloc resection"]
    block = next(s for s in judged.statements if "epidural" in s.text)
    assert "10 to 6" in block.text
    assert "its own" in block.text, "the drop belongs to the block, not to the cement"


@pytest.mark.parametrize(
    ("aetiology", "walls", "soft_ml", "verdict"),
    [
        (Aetiology.DIRECT_INVASION, (GONE,), 4.0, Verdict.SUITABLE),
        (Aetiology.DIRECT_INVASION, (GONE,), 0.0, Verdict.UNSUITABLE),
        (Aetiology.DIRECT_INVASION, (GONE, FORAMEN), 4.0, Verdict.UNSUITABLE),
        (Aetiology.METASTASIS, (GONE,), 4.0, Verdict.UNSUITABLE),
        (Aetiology.METASTASIS, (HOLDS,), 0.0, Verdict.SUITABLE),
    ],
)
def test_only_the_tumour_that_fills_its_own_hole_excuses_a_breach(loaf, aetiology, walls, soft_ml, verdict):
    facts = replace(YEO, aetiology=aetiology)
    assert assess_suitability(facts, loaf[1], lesion(loaf, walls=walls, soft_tissue_ml=soft_ml)).verdict is verdict


@pytest.mark.parametrize(
    ("change", "code", "verdict"),
    [
        ({"blood": Blood(inr=2.4, platelets_10e9_l=200)}, "inr", Verdict.CORRECT_FIRST),
        ({"blood": Blood(inr=1.6, platelets_10e9_l=200)}, "inr", Verdict.SUITABLE),
        ({"blood": Blood(inr=1.0, platelets_10e9_l=30)}, "platelets", Verdict.CORRECT_FIRST),
        ({"blood": Blood(inr=1.0, platelets_10e9_l=200, anticoagulated=True)}, "anticoagulated", Verdict.CORRECT_FIRST),
        ({"blood": Blood(local_infection=True)}, "infection-local", Verdict.UNSUITABLE),
        ({"blood": Blood(systemic_infection=True)}, "infection-systemic", Verdict.UNSUITABLE),
        ({"cement_allergy": True}, "cement-allergy", Verdict.UNSUITABLE),
        ({"neurology": Neurology(acute=True)}, "compression", Verdict.UNSUITABLE),
        ({"neurology": Neurology(sensory_deficit=True)}, "deficit", Verdict.SUITABLE),
        ({"other_pain_source": True}, "other-source", Verdict.UNSUITABLE),
        ({"pain": Pain(nrs=0)}, "no-pain", Verdict.UNSUITABLE),
        ({"pain": Pain()}, "pain-unknown", Verdict.UNDECIDED),
        ({"aetiology": None}, "aetiology-unknown", Verdict.UNDECIDED),
        ({"decision": Decision(wishes_procedure=False)}, "refused", Verdict.UNSUITABLE),
        ({"decision": Decision(consent_procedure=False)}, "no-consent", Verdict.CORRECT_FIRST),
    ],
)
def test_each_rule_speaks(loaf, change, code, verdict):
    plain = assess_suitability(ZHANG_1, loaf[1], lesion(loaf))
    judged = assess_suitability(replace(ZHANG_1, **change), loaf[1], lesion(loaf))
    assert judged.verdict is verdict
    assert code in {s.code for s in judged.statements}
    assert code not in {s.code for s in plain.statements}


def test_a_mild_fragility_fracture_is_left_to_rest_and_gets_no_tumour_score(loaf):
    facts = PatientFacts(aetiology=Aetiology.INSUFFICIENCY_FRACTURE, pain=Pain(nrs=4, sites=(PainSite.SACRAL,)))
    judged = assess_suitability(facts, loaf[1], lesion(loaf))
    assert judged.sins is None
    assert "mild-pain" in {s.code for s in judged.statements}
    assert [a.option for a in judged.alternatives] == ["conservative treatment"]


def test_no_finding_is_a_blocker_and_all_evidence_exists(loaf):
    judged = assess_suitability(ZHANG_2, loaf[1], lesion(loaf, walls=(GONE, FORAMEN)))
    assert all(f.severity is not Severity.BLOCKER for f in judged.findings)
    assert judged.findings[0].severity is Severity.WARNING
    for key in {key for f in judged.findings for key in f.evidence}:
        assert evidence(key).source


def test_score_counts_what_the_table_says(loaf):
    facts = replace(
        YEO,
        pain=Pain(nrs=8, movement=Movement.MECHANICAL),
        alignment=Alignment.SUBLUXATION,
        collapse=Collapse.OVER_HALF,
    )
    worst = lesion(loaf, measures={"posterolateral_left": 0.5, "posterolateral_right": 0.5})
    assert (sins(facts, [worst]).low, sins(facts, [worst]).high) == (18, 18)
    assert sins(facts, [worst]).stability == "unstable"
    easy = replace(facts, pain=Pain(movement=Movement.NONE), alignment=Alignment.NORMAL, collapse=Collapse.NONE)
    best = lesion(loaf, LesionKind.SCLEROTIC, Level.S3)
    assert sins(easy, [best]).low == sins(easy, [best]).high == 0
    assert sins(easy, [best]).stability == "stable"


def test_score_rows_that_circulate_wrongly(loaf):
    """The pain row is 3/1/0, not 3/2/1, and the stable range begins at 0."""
    totals = []
    for movement in (Movement.MECHANICAL, Movement.NOT_MECHANICAL, Movement.NONE):
        facts = PatientFacts(pain=Pain(movement=movement), alignment=Alignment.NORMAL, collapse=Collapse.NONE)
        totals.append(sins(facts, [lesion(loaf, LesionKind.SCLEROTIC, Level.S3)]).low)
    assert totals == [3, 1, 0]


def test_score_of_unknown_items_is_a_range_that_holds_every_answer(loaf):
    found = lesion(loaf, measures={"body_involved_S1": 0.6})
    open_score = sins(PatientFacts(), [found])
    assert set(open_score.unknown) == {"pain", "alignment", "collapse"}
    for movement, alignment, collapse in product(Movement, Alignment, Collapse):
        facts = PatientFacts(pain=Pain(movement=movement), alignment=alignment, collapse=collapse)
        total = sins(facts, [found])
        assert total.low == total.high
        assert open_score.low <= total.low <= open_score.high


def test_more_than_half_of_a_body_counts_without_collapse(loaf):
    facts = PatientFacts(pain=Pain(movement=Movement.NONE), alignment=Alignment.NORMAL, collapse=Collapse.NONE)
    few = sins(facts, [lesion(loaf, measures={"body_involved_S1": 0.4})]).low
    many = sins(facts, [lesion(loaf, measures={"body_involved_S1": 0.6})]).low
    assert many - few == 1


@pytest.mark.parametrize(
    ("pain", "neurology", "mechanism"),
    [
        (Pain(radicular=True), Neurology(sensory_deficit=True), Mechanism.BOTH),
        (Pain(radicular=True), Neurology(), Mechanism.UNKNOWN),
        (Pain(radicular=True), Neurology(neural_involvement_on_imaging=False), Mechanism.BONY),
        (Pain(radicular=False), Neurology(neural_involvement_on_imaging=True), Mechanism.BOTH),
        (Pain(sites=(PainSite.S1_DERMATOME,)), Neurology(), Mechanism.BONY),
    ],
)
def test_pain_mechanism(loaf, pain, neurology, mechanism):
    assert pain_mechanism(PatientFacts(pain=pain, neurology=neurology), [lesion(loaf)]).mechanism is mechanism


def test_dermatomes_follow_the_level(loaf):
    assert PainSite.S1_DERMATOME in pain_mechanism(PatientFacts(), [lesion(loaf)]).dermatomes
    assert PainSite.PERINEUM in pain_mechanism(PatientFacts(), [lesion(loaf, level=Level.S3)]).dermatomes


def test_refusals(loaf):
    with pytest.raises(InputError, match="needs a lesion"):
        assess_suitability(ZHANG_1, loaf[1], ())
    with pytest.raises(InputError, match="nothing to override"):
        assess_suitability(ZHANG_1, loaf[1], lesion(loaf), override=ZHANG_2_OVERRIDE)
    with pytest.raises(InputError, match="reason"):
        Override(" ", "operator", "2024-01-01")
    with pytest.raises(InputError, match="day"):
        Override("wish", "operator", "soon")
    with pytest.raises(InputError, match="0 and 10"):
        Pain(nrs=84)
    with pytest.raises(InputError, match="INR"):
        Blood(inr=95)
    with pytest.raises(InputError, match="Platelets"):
        Blood(platelets_10e9_l=180_000)
    with pytest.raises(InputError, match="age"):
        PatientFacts(age_years=740)
