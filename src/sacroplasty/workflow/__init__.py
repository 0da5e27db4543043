"""The stages of a case, in order: the one list behind every door.

Doors take the verbs, options, help and order from STAGES; `run_stage` stores a result with what made it, `run_all` goes
from file to report.
"""

from sacroplasty.workflow.demo import demo_case
from sacroplasty.workflow.facts import FACTS, overridden, read_facts, store_facts, stored_facts
from sacroplasty.workflow.parameters import (
    CementParameters,
    FactsParameters,
    LesionParameters,
    PlanParameters,
    ReadParameters,
    ReportParameters,
    SegmentParameters,
    ViewsParameters,
    numbers,
    repeated,
)
from sacroplasty.workflow.running import (
    create_case,
    evidence_keys,
    evidence_of,
    load_case,
    made_from,
    run_all,
    run_stage,
    store_ct,
)
from sacroplasty.workflow.stages import (
    STAGES,
    Progress,
    Stage,
    downstream,
    require_plan,
    result_types,
    silent,
    stage,
)

__all__ = [
    "FACTS",
    "STAGES",
    "CementParameters",
    "FactsParameters",
    "LesionParameters",
    "PlanParameters",
    "Progress",
    "ReadParameters",
    "ReportParameters",
    "SegmentParameters",
    "Stage",
    "ViewsParameters",
    "create_case",
    "demo_case",
    "downstream",
    "evidence_keys",
    "evidence_of",
    "load_case",
    "made_from",
    "numbers",
    "overridden",
    "read_facts",
    "repeated",
    "require_plan",
    "result_types",
    "run_all",
    "run_stage",
    "silent",
    "stage",
    "store_ct",
    "store_facts",
    "stored_facts",
]
