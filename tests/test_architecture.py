"""The house's rules as tests: imports go down, flips and affines stay in their rooms, the bare import is light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data import ROOT

SOURCE = ROOT / "src" / "sacroplasty"
# Migrations are generated and never edited afterwards.
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path.parent.name != "versions")


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)


def test_imports_go_down_only() -> None:
    result = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "", "PYTHONIOENCODING": "utf-8"},
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-500:]


def test_style_is_clean() -> None:
    checked = run("-m", "ruff", "check", "src", "tests", "benchmarks", "run.py")
    assert checked.returncode == 0, checked.stdout[-3000:]
    formatted = run("-m", "ruff", "format", "--check", "src", "tests", "benchmarks", "run.py")
    assert formatted.returncode == 0, formatted.stdout[-2000:]


def test_types_are_strict() -> None:
    result = run("-m", "mypy")
    assert result.returncode == 0, result.stdout[-3000:]


def test_the_bare_import_is_light() -> None:
    heavy = ["torch", "dask", "fastapi", "matplotlib", "SimpleITK", "numba", "scipy", "numpy"]
    script = f"import sys, sacroplasty, sacroplasty.cli; print([m for m in {heavy} if m in sys.modules])"
    assert run("-c", script).stdout.strip() == "[]"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_modules_and_functions_are_small(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(lines) <= 400
    long = [f"{f.name} {f.end_lineno - f.lineno + 1}" for f in functions(path) if f.end_lineno - f.lineno >= 60]
    assert long == []


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_public_functions_say_what_they_return(path: Path) -> None:
    silent = [f.name for f in functions(path) if not f.name.startswith("_") and not ast.get_docstring(f)]
    nested = {
        inner.name
        for f in functions(path)
        for inner in ast.walk(f)
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and inner is not f
    }
    assert [name for name in silent if name not in nested] == []


# Axis flips between RAS and LPS or storage orders belong to io; affine arithmetic to space.
FLIPS = re.compile(r"diag\(\[?\(?-1|\[::-1, *::-1|np\.flip\(|np\.flipud|np\.fliplr|\bRAS\b.*[-=]=? ?-1")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_axis_flips_only_in_io(path: Path) -> None:
    if path.relative_to(SOURCE).parts[0] == "io":
        return
    flips = [line for line in path.read_text(encoding="utf-8").splitlines() if FLIPS.search(line)]
    assert flips == []


AFFINES = re.compile(r"\.affine\b|apply_affine|inv\([^)]*affine")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_affine_arithmetic_only_in_space(path: Path) -> None:
    if path.relative_to(SOURCE).parts[0] in {"space", "io"}:
        return
    found = [line for line in path.read_text(encoding="utf-8").splitlines() if AFFINES.search(line)]
    assert found == []


def test_no_room_without_a_noun() -> None:
    vague = {"utils", "util", "common", "core", "helpers", "misc", "models"}
    assert [p for p in SOURCE.rglob("*") if p.stem in vague and "node_modules" not in p.parts] == []


def test_the_rules_fire() -> None:
    assert FLIPS.search("lps = np.diag([-1, -1, 1, 1]) @ affine")
    assert AFFINES.search("grid = image.affine @ point")


def test_the_project_speaks_of_itself_alone() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    machine_path = re.compile(r"(?<![\w.])/(?:work|tmp/research|root|home/\w+)/")
    bad = []
    for name in tracked:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".txt", ".csv", ".js", ".html", ".css"} and path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            bad += [
                f"{name}: {m.group(0)}" for m in machine_path.finditer(text) if name != "tests/test_architecture.py"
            ]
    assert bad == []
