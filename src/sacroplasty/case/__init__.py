"""One patient's case: the values of every stage, and the folder that keeps them.

`Case` is data only; `CaseFolder` stores it so that a crash, a full disk or a second writer never costs a result that
was acknowledged; `audit` keeps the hash-chained trail of what was decided.
"""

from sacroplasty.case.audit import AuditEntry, append_entry, read_trail, verify_trail
from sacroplasty.case.case import RESULTS, Case
from sacroplasty.case.codec import decode, encode, from_json, to_json
from sacroplasty.case.store import AUDIT, CaseFolder, file_sha256

__all__ = [
    "AUDIT",
    "RESULTS",
    "AuditEntry",
    "Case",
    "CaseFolder",
    "append_entry",
    "decode",
    "encode",
    "file_sha256",
    "from_json",
    "read_trail",
    "to_json",
    "verify_trail",
]
