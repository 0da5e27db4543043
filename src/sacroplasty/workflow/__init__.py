"""The stages of a case, in order: the one list behind every door.

Doors take the verbs, options, help and order from STAGES; `run_stage` stores a result with what made it, `run_all` goes
from file to report.
"""

from sacroplasty.workflow.demo import demo_case
from sacroplasty.workflow.parameters import (
    CementParameters,
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
    "STAGES",
    "CementParameters",
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
    "repeated",
    "require_plan",
    "result_types",
    "run_all",
    "run_stage",
    "silent",
    "stage",
    "store_ct",
]
