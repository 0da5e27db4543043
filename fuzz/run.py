"""Fuzz one target with atheris: python fuzz/run.py TARGET [libFuzzer options]. Exits with 77 on a find."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "fuzz")]

with atheris.instrument_imports(include=["sacroplasty.io", "nrrd"]):
    import targets


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

    atheris.Setup([*sys.argv, str(corpus)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
