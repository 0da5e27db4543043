"""Byte mutants of DICOM, NIfTI and NRRD files against reader and gate, each in a fork under the child's limits.

What a mutant may not do: end otherwise than accepted, refused or stopped at a limit, or be accepted wrongly. Accepted
is wrong where it comes without a warning (but the seed's own, of its small field of view) and its world is neither the
seed's (corners to 0.1 mm, every voxel) nor what a third reader finds in the mutant itself: SimpleITK, and for the
enhanced file also highdicom. A mutant of one slice of a series must keep the seed's corners and other slices, because
those are untouched. Refused is wrong where the mutation changed nothing. Every mutant with an odd end, and one in a
hundred of all, goes once more through read_series and its real child process, and must come out as an image or as a
sentence.
Usage: python benchmarks/door_mutants.py [COUNT] [--resume]. Prints a table and writes benchmarks/door_mutants.csv; with
--resume, a run that broke off goes on with the very next mutant.
"""

from __future__ import annotations

import collections
import csv
import gc
import importlib
import os
import pickle
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gdcm
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.io import corpus_dicom  # noqa: E402
from tests.io.made_dicom import body_ct, enhanced, save, save_all, series  # noqa: E402

from sacroplasty.errors import SacroplastyError  # noqa: E402
from sacroplasty.io import read_series, write_nifti, write_nrrd  # noqa: E402
from sacroplasty.io.child import limit  # noqa: E402
from sacroplasty.io.series import judge, load  # noqa: E402
from sacroplasty.space import Grid  # noqa: E402

TABLE = ROOT / "benchmarks" / "door_mutants.csv"
SEED = 20261121
MEMORY_BYTES = 1_500_000_000
HANG_S = 30
# Corners and values that differ by no more are the same world; values of float files are rounded.
SAME_MM, SAME_HU = 0.1, 0.01
# A third reader gets more memory than ours, so that it does not fail where ours passes.
THIRD_BYTES = 3_000_000_000
REPLAYED_OF = 100
# So many mutants may be lost by a break.
ROW_EVERY = 100
HEAD = ["mutants of", "seed", "n", "accepted: seed's world", "accepted: other world, as a third reader finds",
        "accepted with a warning", "wrongly accepted", "refused", "wrongly refused", "memory limit",
        "surprise in child", "signal in child", "hang", "peak MB", "replayed", "tracebacks"]  # fmt: skip

World = tuple[np.ndarray, np.ndarray]


@dataclass
class Tally:
    """Counts of one seed's mutants."""

    ends: collections.Counter[str] = field(default_factory=collections.Counter)
    peak_mb: float = 0.0
    replayed: int = 0
    tracebacks: int = 0

    @classmethod
    def of(cls, row: list[str]) -> Tally:
        """The counts of a row of the table."""
        names = ("same", "third", "warned", "wrongly accepted", "refused", "wrongly refused", "memory limit",
                 "surprise", "signal", "hang")  # fmt: skip
        ends = collections.Counter({name: int(cell) for name, cell in zip(names, row[3:13], strict=True)})
        return cls(ends, float(row[13]), int(row[14]), int(row[15]))

    def row(self, name: str, count: int) -> list[object]:
        """The table's row."""
        e = self.ends
        signals = sum(n for end, n in e.items() if end.startswith("signal"))
        return [name, SEED, count, e["same"], e["third"], e["warned"], e["wrongly accepted"], e["refused"],
                e["wrongly refused"], e["memory limit"], e["surprise"], signals, e["hang"], f"{self.peak_mb:.0f}",
                self.replayed, self.tracebacks]  # fmt: skip


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


def forked(work: Callable[[], Any], note: Path, memory_bytes: int = MEMORY_BYTES) -> tuple[str, Any, float]:
    """How a piece of work ended in a fork under limits, what it returned, and its peak memory in MB."""
    note.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        status, result = 3, None
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            limit(memory_bytes, HANG_S)
            try:
                result, status = work(), 0
            except SacroplastyError:
                status = 1
            except MemoryError:
                status = 2
        finally:
            # Our own note from our own fork: not data from outside.
            note.write_bytes(pickle.dumps((result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)))
            os._exit(status)
    until = time.monotonic() + HANG_S
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hang", None, 0.0
        time.sleep(0.0005)
    result, peak = pickle.loads(note.read_bytes()) if note.exists() else (None, 0.0)
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}", None, float(peak)
    # Status 3 is an exception that the child process would turn into a sentence of its own.
    ended = {0: "accepted", 1: "refused", 2: "memory limit", 3: "surprise"}[os.WEXITSTATUS(status)]
    return ended, result, float(peak)


def ours(path: Path) -> tuple[set[str], World]:
    """Codes of the warnings, and the world as the gate gives it."""
    found = judge(replace(load(path, modality="CT"), modality="CT"))
    return {w.code for w in found.warnings}, (found.volume.grid.corners_mm, found.volume.array)


def by_simpleitk(path: Path) -> World:
    """Corners and values of one file in canonical order, read without any of our readers."""
    import SimpleITK

    image = SimpleITK.ReadImage(str(path))
    image = SimpleITK.DICOMOrient(image, "LPS")
    step = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = step, image.GetOrigin()
    array = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
    return Grid.from_affine(array.shape, affine).corners_mm, array


def by_highdicom(path: Path) -> World:
    """The same of an enhanced multi-frame file."""
    import highdicom

    volume = highdicom.imread(path).get_volume()
    volume = volume.to_patient_orientation("LPS")
    return Grid.from_affine(volume.spatial_shape, volume.affine).corners_mm, np.asarray(volume.array)


def same(one: World, other: World) -> bool:
    """Corners and voxels agree; what lies below the Hounsfield scale is air in both."""
    if one[1].shape != other[1].shape or not np.abs(one[0] - other[0]).max() <= SAME_MM:
        return False
    return bool(np.abs(np.maximum(one[1], -1024.0) - np.maximum(other[1], -1024.0)).max() <= SAME_HU)


def sort_of_acceptance(path: Path, found: World, seed: World, part: int | None, note: Path) -> str:
    """Of an unwarned acceptance: same, third (other world, as a third reader finds it) or wrongly accepted."""
    if same(found, seed):
        return "same"
    if part is None:
        for third in (by_simpleitk, by_highdicom) if path.suffix == ".dcm" else (by_simpleitk,):
            _, theirs, _ = forked(lambda third=third: third(path), note, THIRD_BYTES)  # type: ignore[misc]
            if theirs is not None and same(found, theirs):
                return "third"
        return "wrongly accepted"
    if found[1].shape != seed[1].shape or np.abs(found[0] - seed[0]).max() > SAME_MM:
        return "wrongly accepted"
    others = np.arange(seed[1].shape[2]) != part
    _, theirs, _ = forked(lambda: by_simpleitk(path), note, THIRD_BYTES)
    if theirs is None or theirs[1].shape != seed[1][:, :, :1].shape:
        return "wrongly accepted"
    plane = (np.zeros(1), theirs[1])
    kept = np.array_equal(found[1][:, :, others], seed[1][:, :, others])
    return "third" if kept and same((np.zeros(1), found[1][:, :, part : part + 1]), plane) else "wrongly accepted"


def replay(path: Path) -> bool:
    """The mutant's way through the real child process ends as an image or as a sentence."""
    try:
        read_series(path)
    except SacroplastyError:
        return True
    except Exception:
        return False
    return True


def seeds(top: Path) -> dict[str, tuple[Path, int | None]]:
    """Name, file to mutate, and which slice of a series it is (None where it is the whole image)."""
    ct = body_ct((24, 20, 12))
    jpeg = save_all(series(ct), top / "jpeg")
    corpus_dicom.recoded(jpeg, gdcm.TransferSyntax.JPEG2000Lossless)
    return {
        "enhanced DICOM": (save(enhanced(ct), top / "b.dcm"), None),
        "NIfTI": (write_nifti(ct, top / "c.nii"), None),
        "NIfTI gz": (write_nifti(ct, top / "d.nii.gz"), None),
        "NRRD": (write_nrrd(ct, top / "e.nrrd"), None),
        "one slice of a series": (save_all(series(ct), top / "plain") / "0006.dcm", 5),
        "one JPEG 2000 slice": (jpeg / "0006.dcm", 5),
    }


def family(name: str, count: int, odd: Path, before: list[str] | None) -> Iterator[list[object]]:
    """How mutants of one seed end, a row now and then; those that end wrongly are kept in a folder.

    `before` is the row of a run that broke off: its mutants are made again, so that chance goes on, but not read.
    """
    chance, tally, done = random.Random(f"{SEED} {name}"), Tally(), 0
    if before is not None:
        tally, done = Tally.of(before), int(before[2])
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        seed, part = seeds(top)[name]
        raw, note = seed.read_bytes(), top / "note"
        file = top / f"mutant{''.join(seed.suffixes)}" if part is None else seed
        path = file if part is None else file.parent
        said, world = ours(seed if part is None else path)
        for number in range(count):
            made = mutated(raw, chance)
            if number < done:
                continue
            file.write_bytes(made)
            ended, found, peak = forked(lambda: ours(path), note)
            if ended == "accepted":
                ended = "warned" if found[0] - said else sort_of_acceptance(file, found[1], world, part, note)
            elif made == raw:
                ended = "wrongly refused"
            tally.ends[ended] += 1
            tally.peak_mb = max(tally.peak_mb, peak)
            rare = ended.startswith(("surprise", "signal", "hang", "wrongly"))
            if rare or (ended == "memory limit" and number % 10 == 0) or number % REPLAYED_OF == 0:
                tally.replayed += 1
                tally.tracebacks += not replay(path)
            if rare:
                odd.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, odd / f"{name.replace(' ', '-')}-{number}-{ended.replace(' ', '-')}{file.suffix}")
            if number % ROW_EVERY == ROW_EVERY - 1 or number == count - 1:
                yield tally.row(name, number + 1)


def main() -> None:
    """Run all that is not yet in the table and write it, row by row."""
    warnings.simplefilter("ignore")
    # Loaded once here, so that every fork has them.
    for module in ("sacroplasty.io.dicom", "sacroplasty.io.nrrd", "SimpleITK"):
        importlib.import_module(module)
    resume = "--resume" in sys.argv
    count = next((int(word) for word in sys.argv[1:] if word.isdigit()), 20_004)
    with tempfile.TemporaryDirectory() as folder:
        names = list(seeds(Path(folder)))
    odd = Path(tempfile.mkdtemp(prefix="door-mutants-"))
    with TABLE.open(encoding="utf-8") as stream:
        before = list(csv.reader(stream))
    rows: dict[str, list[Any]] = {}
    if resume and before[0] == HEAD:
        rows = {row[0]: row for row in before[1:] if row[1] == str(SEED) and row[0] in names}
    # Nothing here is garbage; frozen, it is not touched and so not copied in every fork.
    gc.freeze()
    for name in names:
        kept = rows.get(name)
        if kept is None or int(kept[2]) < count // len(names):
            for row in family(name, count // len(names), odd, kept):
                rows[name] = row
                table = [HEAD, *(rows[n] for n in names if n in rows)]
                with TABLE.open("w", newline="", encoding="utf-8") as stream:
                    csv.writer(stream, lineterminator="\n").writerows(table)
        print("  ".join(f"{cell!s:>12}" for cell in rows[name]), flush=True)
    print("odd mutants, if any, are in", odd)


if __name__ == "__main__":
    main()
