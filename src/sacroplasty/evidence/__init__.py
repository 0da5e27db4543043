"""Literature numbers, each with its source, and assumptions, each with its reason.

Clinical numbers live in this room's TOML files alone. `evidence(key)` gives one; `collected()` gathers what a stage
used, so that `sacroplasty cite CASE` can print the source of every number behind a case.
"""

from sacroplasty.evidence.table import Evidence, collected, evidence, evidence_table, value

__all__ = ["Evidence", "collected", "evidence", "evidence_table", "value"]
