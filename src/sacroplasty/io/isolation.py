"""Untrusted files are parsed in a child process: a decoder that crashes, hangs or eats memory cannot harm the program.

The child gets limits on memory, processor time and file size, and one job; the parent takes back plain arrays and JSON
(never pickles) and looks at them again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from sacroplasty.errors import GeometryError, InputError, SacroplastyError
from sacroplasty.io.raw import RawImage
from sacroplasty.io.verdict import CODES, Remark, rejected

# Memory of the child, bytes: a fixed part, and a multiple of what lies on disk for honest large series.
MEMORY_BYTES = 1_500_000_000
MEMORY_PER_INPUT_BYTE = 4
LARGEST_MEMORY_BYTES = 6_000_000_000
# Processor time of the child, seconds: a fixed part, and more for large inputs; and how many times that may pass by the
# clock, because the machine may be busy with other work.
TIME_S = 30.0
TIME_PER_MEGABYTE_S = 0.25
CLOCK_PER_PROCESSOR_TIME = 3.0
_RESULT = "result.json"


def isolated(job: str, path: Path, *, timeout_s: float | None = None, **arguments: Any) -> Any:
    """The JSON result of a job of `sacroplasty.io.child` on a path; RawImage or named arrays where the job gives them.

    Raises what the child refused with; InputError SAC-G004 where it crashed or went over a limit.
    """
    size = _size(path)
    memory = min(MEMORY_BYTES + MEMORY_PER_INPUT_BYTE * size, LARGEST_MEMORY_BYTES)
    processor_s = TIME_S + TIME_PER_MEGABYTE_S * size / 1e6
    limit_s = timeout_s or CLOCK_PER_PROCESSOR_TIME * processor_s
    with TemporaryDirectory(prefix="sacroplasty-") as folder:
        request = {
            "job": job,
            "path": str(path.absolute()),
            "out": folder,
            "memory_bytes": memory,
            "seconds": processor_s,
        }
        status = _run({**request, "arguments": arguments}, limit_s)
        result = Path(folder) / _RESULT
        if status != 0 or not result.is_file():
            raise rejected(
                "SAC-G004",
                f"Reading {path.name} was stopped",
                got=_reason(status, limit_s),
                remedy="The file is damaged or not an image of a plausible size; export it again",
            )
        answer = json.loads(result.read_text(encoding="utf-8"))
        if "refusal" in answer:
            raise _refusal(answer["refusal"])
        if "arrays" in answer:
            return {str(name): np.load(Path(folder) / f"{n}.npy", allow_pickle=False)
                    for n, name in enumerate(answer["arrays"])}  # fmt: skip
        return _raw(answer["raw"], Path(folder)) if "raw" in answer else answer["value"]


def _size(path: Path) -> int:
    """Bytes below a path, as far as plain files go."""
    if path.is_dir():
        return sum(f.stat().st_size for f in path.rglob("*") if f.is_file() and not f.is_symlink())
    return path.stat().st_size if path.is_file() else 0


def _run(request: dict[str, Any], limit_s: float) -> int | None:
    """Exit status of the child; None where it was killed for time."""
    environment = {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PATH": os.environ.get("PATH", ""),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "LC_ALL": "C.UTF-8",
    }
    command = [sys.executable, "-m", "sacroplasty.io.child"]
    # pydicom and GDCM write about damaged files to stderr; nothing of it, which may name a patient, is kept.
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    ) as child:
        try:
            child.communicate(json.dumps(request).encode(), timeout=limit_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            return None
    return child.returncode


def _reason(status: int | None, limit_s: float) -> str:
    if status is None or (status < 0 and -status == getattr(signal, "SIGXCPU", 24)):
        return f"no answer within {limit_s:.0f} s"
    if status < 0:
        return f"the reader crashed ({signal.Signals(-status).name})"
    return "the reader ran out of memory or stopped without an answer"


def _refusal(found: dict[str, str]) -> SacroplastyError:
    kind = GeometryError if found["kind"] == "GeometryError" else InputError
    return kind(found["what"], got=found["got"], remedy=found["remedy"], code=found["code"])


def stored(raw: RawImage, folder: Path) -> dict[str, Any]:
    """What the child writes: the array as .npy, the rest as JSON-ready data."""
    np.save(folder / "array.npy", raw.array, allow_pickle=False)
    corners = raw.second_corners_mm
    return {
        "steps": [raw.first_step_mm.tolist(), raw.second_step_mm.tolist()],
        "origins": raw.origins_mm.tolist(),
        "modality": raw.modality,
        "remarks": [[r.code, r.message] for r in raw.remarks],
        "about": dict(raw.about),
        "corners": None if corners is None else corners.tolist(),
    }


def stored_arrays(arrays: dict[str, npt.NDArray[np.generic]], folder: Path) -> list[str]:
    """What the child writes of named arrays: each as .npy under its number; the names."""
    for number, array in enumerate(arrays.values()):
        np.save(folder / f"{number}.npy", array, allow_pickle=False)
    return list(arrays)


def _raw(found: dict[str, Any], folder: Path) -> RawImage:
    array = np.load(folder / "array.npy", allow_pickle=False)
    origins = np.asarray(found["origins"], dtype=np.float64)
    if array.ndim != 3 or origins.shape != (array.shape[2], 3) or any(c not in CODES for c, _ in found["remarks"]):
        raise rejected("SAC-G004", "The reader's answer does not hold together", got=f"shape {array.shape}")
    corners = found["corners"]
    return RawImage(
        array=array,
        first_step_mm=np.asarray(found["steps"][0], dtype=np.float64),
        second_step_mm=np.asarray(found["steps"][1], dtype=np.float64),
        origins_mm=origins,
        modality=str(found["modality"]),
        remarks=tuple(Remark(str(code), str(message)) for code, message in found["remarks"]),
        about={str(key): str(value) for key, value in found["about"].items()},
        second_corners_mm=None if corners is None else np.asarray(corners, dtype=np.float64),
    )
