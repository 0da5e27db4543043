"""A short run of the fuzz targets, and every find of longer runs, which stay mended."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from pathlib import Path

import pytest

from sacroplasty.errors import SacroplastyError
from sacroplasty.io.markups import load_markups
from sacroplasty.io.mesh import load_mesh
from tests.data import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nrrd", "mesh"])
def test_a_short_run_finds_nothing(tmp_path: Path, name: str) -> None:
    pytest.importorskip("atheris", reason="the fuzzer atheris is not installed")
    command = [sys.executable, ROOT / "fuzz" / "run.py", name, "-runs=400", "-rss_limit_mb=3000", "-seed=1"]
    done = subprocess.run(map(str, command), cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
    assert not list(tmp_path.glob("crash-*"))


@pytest.mark.hazard("H17")
@pytest.mark.parametrize(
    ("ending", "parse"),
    [(".mrk.json", load_markups), (".fcsv", load_markups), (".ply", load_mesh), (".stl", load_mesh)],
)
def test_mutants_of_markups_and_meshes_are_a_sentence(tmp_path: Path, ending: str, parse: object) -> None:
    """What the child process meets: only the program's own refusals come out of the parsers themselves."""
    sys.path.insert(0, str(ROOT / "fuzz"))
    import targets

    name = {".mrk.json": "markups", ".fcsv": "fcsv", ".ply": "mesh", ".stl": "stl"}[ending]
    (seed,) = targets.seeds(name)
    chance = random.Random(7)
    path = tmp_path / f"a{ending}"
    for _ in range(300):
        made = bytearray(seed)
        for _ in range(chance.choice((1, 2, 8))):
            at = chance.randrange(len(made))
            made[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(4))
        path.write_bytes(bytes(made))
        with contextlib.suppress(SacroplastyError):
            parse(path)
