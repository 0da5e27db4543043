"""Made malformed inputs against the geometry gate, each through read_series and its child process.

Usage: python benchmarks/door_malformed.py. Prints a table and writes benchmarks/door_malformed.csv.
"""

from __future__ import annotations

import collections
import csv
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.io import corpus_dicom, corpus_files  # noqa: E402
from tests.io.made_dicom import body_ct  # noqa: E402

from sacroplasty.errors import SacroplastyError  # noqa: E402
from sacroplasty.io import read_series  # noqa: E402

HEAD = ["made cases", "n", "equal", "warn", "reject", "safe", "slowest s"]


def made_cases() -> list[list[object]]:
    """Verdicts over both corpora, each through read_series and its child process."""
    ct = body_ct()
    rows = []
    for family, cases in (("DICOM folders", corpus_dicom.CASES), ("NIfTI, NRRD, archives", corpus_files.CASES)):
        counts: collections.Counter[str] = collections.Counter()
        slowest = 0.0
        for name, (expect, build) in cases.items():
            with tempfile.TemporaryDirectory() as folder:
                path = build(Path(folder), ct) or Path(folder)
                zipped = Path(folder) / "series.zip"
                start = time.monotonic()
                got = verdict(zipped if zipped.exists() else path, ct)
                slowest = max(slowest, time.monotonic() - start)
            right = got == expect or (expect == "safe" and got in {"equal", "warn", "reject", "moved"})
            counts[f"{expect} right" if right else f"{expect} wrong"] += 1
            if not right:
                print("WRONG", name, expect, got)
        rows.append([family, len(cases), *(f"{counts[f'{e} right']}/{counts[f'{e} right'] + counts[f'{e} wrong']}"
                     for e in ("equal", "warn", "reject", "safe")), f"{slowest:.1f}"])  # fmt: skip
    return rows


def verdict(path: Path, ct: object) -> str:
    """equal, warn, moved (accepted, other world), reject or traceback."""
    try:
        scan = read_series(path)
    except SacroplastyError:
        return "reject"
    except Exception as error:
        return f"traceback {type(error).__name__}"
    if scan.warnings:
        return "warn"
    same = scan.volume.grid.shape == ct.grid.shape and np.array_equal(scan.volume.array, ct.array)
    return "equal" if same and np.abs(scan.volume.grid.corners_mm - ct.grid.corners_mm).max() < 0.05 else "moved"


def main() -> None:
    """Run all and write the table."""
    warnings.simplefilter("ignore")
    rows = [HEAD, *made_cases()]
    with (ROOT / "benchmarks" / "door_malformed.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    for row in rows:
        print("  ".join(f"{cell!s:>12}" for cell in row))


if __name__ == "__main__":
    main()
