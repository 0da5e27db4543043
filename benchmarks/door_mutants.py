"""Byte mutants of DICOM, NIfTI and NRRD files against reader and gate, each in a fork under the child's limits.

Usage: python benchmarks/door_mutants.py [COUNT]. Prints a table and writes benchmarks/door_mutants.csv.
"""

from __future__ import annotations

import collections
import csv
import importlib
import itertools
import os
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gdcm

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.io import corpus_dicom  # noqa: E402
from tests.io.made_dicom import body_ct, enhanced, save, save_all, series  # noqa: E402

from sacroplasty.errors import SacroplastyError  # noqa: E402
from sacroplasty.io import write_nifti, write_nrrd  # noqa: E402
from sacroplasty.io.child import limit  # noqa: E402
from sacroplasty.io.series import judge, load  # noqa: E402

SEED = 20261121
MEMORY_BYTES = 1_500_000_000
HANG_S = 30
HEAD = [
    "mutants of",
    "n",
    "accepted",
    "refused",
    "memory limit",
    "surprise in child",
    "signal in child",
    "hang",
    "peak MB",
]


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """Bytes with a few bits turned, bytes replaced, a piece cut, doubled or inserted; mostly in the header."""
    made = bytearray(raw)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        end = len(made) if chance.random() < 0.2 else min(len(made), 1500)
        at = chance.randrange(end)
        kind = chance.randrange(5)
        if kind == 0:
            made[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            made[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            made[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
        elif kind == 3:
            del made[at : at + chance.randrange(1, 64)]
        else:
            made[at:at] = chance.randbytes(chance.randrange(1, 16))
        if not made:
            break
    return bytes(made)


def forked(path: Path, peak_file: Path) -> tuple[str, float]:
    """Read and judge one file in a fork under the child's limits; how it ended, and peak memory in MB."""
    child = os.fork()
    if child == 0:
        status = 3
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            limit(MEMORY_BYTES, HANG_S)
            try:
                judge(replace(load(path, modality="CT"), modality="CT"))
                status = 0
            except SacroplastyError:
                status = 1
            except MemoryError:
                status = 2
        finally:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            peak_file.write_text(str(peak))
            os._exit(status)
    until = time.monotonic() + HANG_S
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hang", 0.0
        time.sleep(0.001)
    peak = float(peak_file.read_text() or 0) if peak_file.exists() else 0.0
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}", peak
    # Status 3 is an exception that the child process would turn into a sentence of its own.
    return {0: "accepted", 1: "refused", 2: "memory limit", 3: "surprise"}[os.WEXITSTATUS(status)], peak


def mutants(count: int) -> Iterator[list[object]]:
    """How mutants of six seeds end, one row per seed."""
    ct = body_ct((24, 20, 12))
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        jpeg = save_all(series(ct), top / "jpeg")
        corpus_dicom.recoded(jpeg, gdcm.TransferSyntax.JPEG2000Lossless)
        seeds = {
            "enhanced DICOM": save(enhanced(ct), top / "b.dcm"),
            "NIfTI": write_nifti(ct, top / "c.nii"),
            "NIfTI gz": write_nifti(ct, top / "d.nii.gz"),
            "NRRD": write_nrrd(ct, top / "e.nrrd"),
            "one slice of a series": save_all(series(ct), top / "plain") / "0006.dcm",
            "one JPEG 2000 slice": jpeg / "0006.dcm",
        }
        for name, seed in seeds.items():
            chance = random.Random(f"{SEED} {name}")
            counts: collections.Counter[str] = collections.Counter()
            raw, highest = seed.read_bytes(), 0.0
            alone = seed.parent == top
            path = top / f"mutant{''.join(seed.suffixes)}" if alone else seed
            for _ in range(count // len(seeds)):
                path.write_bytes(mutated(raw, chance))
                ended, peak = forked(path if alone else path.parent, top / "peak.txt")
                counts[ended] += 1
                highest = max(highest, peak)
            signals = sum(n for ended, n in counts.items() if ended.startswith("signal"))
            ends = [counts[e] for e in ("accepted", "refused", "memory limit", "surprise")]
            yield [name, count // len(seeds), *ends, signals, counts["hang"], f"{highest:.0f}"]


def main() -> None:
    """Run all and write the table, row by row."""
    warnings.simplefilter("ignore")
    # Loaded once here, so that every fork has it.
    importlib.import_module("sacroplasty.io.dicom")
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with (ROOT / "benchmarks" / "door_mutants.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        for row in itertools.chain([HEAD], mutants(count)):
            writer.writerow(row)
            stream.flush()
            print("  ".join(f"{cell!s:>12}" for cell in row), flush=True)


if __name__ == "__main__":
    main()
