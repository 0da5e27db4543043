"""The child process that parses one untrusted path under limits. Run as a module; see isolation."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from sacroplasty.errors import SacroplastyError
from sacroplasty.io.isolation import stored, stored_arrays
from sacroplasty.io.raw import RawImage
from sacroplasty.io.verdict import rejected

# The largest file a child may write: one array of a whole-body CT.
_LARGEST_FILE = 4_000_000_000


def limit(memory_bytes: int, seconds: float) -> None:
    """Bound this process's memory, processor time and files; no effect where the platform has no limits."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE, _LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


# Jobs by name: the module and the function that does it on a path.
JOBS = {
    "load": ("series", "load"),
    "stacks": ("dicom", "described_stacks"),
    "segmentation": ("segmentation", "load_segmentation"),
    "label_folder": ("label_folder", "load_label_folder"),
    "structures": ("structures", "load_structures"),
    "markups": ("markups", "load_markups"),
    "mesh": ("mesh", "load_mesh"),
    "originals": ("originals", "load_originals"),
    "identities": ("originals", "load_identities"),
    "deidentify": ("deidentify", "write_deidentified"),
}


def perform(job: str, path: Path, arguments: dict[str, Any]) -> Any:
    """The result of one job: a RawImage, arrays by name, or a value that JSON can carry."""
    module, function = JOBS[job]
    return getattr(import_module(f"sacroplasty.io.{module}"), function)(path, **arguments)


def answer(job: str, path: Path, out: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """The child's answer: a raw image, a value, or a refusal."""
    try:
        result = perform(job, path, arguments)
        if isinstance(result, RawImage):
            return {"raw": stored(result, out)}
        if isinstance(result, dict) and result and all(isinstance(v, np.ndarray) for v in result.values()):
            return {"arrays": stored_arrays(result, out)}
        return {"value": result}
    except SacroplastyError as error:
        return {"refusal": _refusal(error)}
    except MemoryError:
        return {"refusal": _refusal(rejected("SAC-G004", f"{path.name} needs more memory than any CT"))}
    except Exception as error:  # a parser's surprise is a damaged file, never a traceback
        what = f"{path.name} cannot be read"
        got, remedy = type(error).__name__, "The file is damaged or of an unknown kind; export it again"
        return {"refusal": _refusal(rejected("SAC-G003", what, got=got, remedy=remedy))}


def _refusal(error: SacroplastyError) -> dict[str, str]:
    return {"kind": type(error).__name__, "what": error.what, "got": error.got, "remedy": error.remedy,
            "code": error.code}  # fmt: skip


def main() -> None:
    """Read the request from standard input, do the job, leave the answer in the folder it names."""
    # pydicom would load an HTTP client to fetch its own test files: slow to import, and no business of this process.
    sys.modules["requests"] = None  # type: ignore[assignment]
    request = json.load(sys.stdin)
    limit(int(request["memory_bytes"]), float(request["seconds"]))
    out = Path(request["out"])
    found = answer(request["job"], Path(request["path"]), out, request["arguments"])
    (out / "result.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
