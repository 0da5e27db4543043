"""Fuzz one target with atheris: python fuzz/run.py TARGET [libFuzzer options]. Exits with 77 on a find."""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "fuzz")]

with atheris.instrument_imports(include=["sacroplasty.io", "sacroplasty.case", "nrrd"]):
    import targets

    if sys.argv[1:2] in (["plan"], ["trail"]):
        # The case room imports every room below it; only these two targets need it.
        importlib.import_module("sacroplasty.case.codec")


def main() -> None:
    """Set up seeds and run until the options say to stop."""
    name = sys.argv.pop(1)
    target = targets.TARGETS[name]
    corpus = Path(tempfile.mkdtemp(prefix=f"corpus-{name}-"))
    for number, seed in enumerate(targets.seeds(name)):
        (corpus / str(number)).write_bytes(seed)

    def once(data: bytes) -> None:
        try:
            target(data)
        except targets.REFUSALS:
            return

    # What a target imports on its first call is no part of a unit's time.
    for seed in targets.seeds(name):
        once(seed)
    atheris.Setup([*sys.argv, str(corpus)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
