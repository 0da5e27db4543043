"""Compares the pinned packages with the holes known to PyPI's advisory service, by pip-audit.

Usage: python docs/safety/audit.py [pip-audit's options, for example --ignore-vuln ID]. Exit code 0: every pin was
looked up and none has a known hole; 1: one has; 3: not everything could be looked up, so nothing is claimed.

A mirror without advisories answers pip-audit like a clean bill, so a version with a long known hole is asked for first.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

LOCK = Path(__file__).resolve().parents[2] / "requirements.lock"
# CVE-2019-10906, a way out of the sandbox.
KNOWN_HOLE = "jinja2==2.10"
CLEAN, HOLE, UNKNOWN = 0, 1, 3
Answer = list[dict[str, Any]]


def ask(requirements: Path, *options: str) -> Answer | None:
    """What pip-audit says of each requirement; None where it or its service gives no answer."""
    command = [
        sys.executable, "-m", "pip_audit", "-r", str(requirements), "--no-deps", "--disable-pip", "--format", "json",
        "--progress-spinner", "off", "--timeout", "15", *options,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return list(json.loads(done.stdout)["dependencies"])
    except (ValueError, KeyError, TypeError):
        return None


def judge(known: Answer | None, found: Answer | None) -> tuple[int, str]:
    """Exit code and sentence from the answers about the known hole and about the pins."""
    if not any(one.get("vulns") for one in known or ()):
        return UNKNOWN, f"Not audited: the advisory service does not know of the hole in {KNOWN_HOLE}, or is not there."
    if not found:
        return UNKNOWN, "Not audited: pip-audit gave no answer about the pins."
    holes = [f"{one['name']} {one['version']}: {', '.join(v['id'] for v in one['vulns'])}"
             for one in found if one.get("vulns")]  # fmt: skip
    if holes:
        return HOLE, "Known holes: " + "; ".join(holes)
    missed = [one["name"] for one in found if "vulns" not in one]
    if missed:
        return UNKNOWN, "Not audited, because the service does not know them: " + ", ".join(missed)
    return CLEAN, f"None of {len(found)} pinned packages has a known hole."


def audit(*options: str) -> tuple[int, str]:
    """Exit code and sentence for the lock file."""
    with TemporaryDirectory() as folder:
        canary = Path(folder) / "known.txt"
        canary.write_text(KNOWN_HOLE + "\n", encoding="utf-8")
        known = ask(canary)
    return judge(known, ask(LOCK, *options) if known else None)


if __name__ == "__main__":
    code, sentence = audit(*sys.argv[1:])
    print(sentence)
    sys.exit(code)
