"""Every code block of README and docs runs, in order, in one folder per page."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sacroplasty.cli import app
from tests.data import ROOT, data_root

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```([\w{}-]*)\n(.*?)^```", re.M | re.S)
RUNNABLE = {"python", "console"}
# The front page's demo is the tour's, which gives the defaults by name; it takes a minute and runs there alone.
DEMO = "python3 run.py demo"
TOUR_DEMO = f"{DEMO} --case zhang-1 --out cases/zhang-1"
# These would run this very suite, or serve until stopped; tests of their own cover them.
ELSEWHERE = ("python3 run.py test", "sacroplasty serve", "python3 run.py serve", "git clone", "cd ", "pip install")


def blocks(page: Path) -> list[tuple[str, str]]:
    return [(kind, text) for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind in RUNNABLE]


def command(line: str) -> list[str]:
    words = shlex.split(line)
    if words[:2] == ["python3", "run.py"]:
        words = ["sacroplasty", *words[2:]]
    if words[0] == "sacroplasty":
        return [sys.executable, "-m", *words]
    return [sys.executable if words[0] in {"python", "python3"} else words[0], *words[1:]]


def run(words: list[str], folder: Path) -> None:
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": paths, "SACROPLASTY_DATA": str(data_root())}
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True, env=env, timeout=570)
    assert result.returncode == 0, f"{words}\n{result.stdout[-1500:]}\n{result.stderr[-3000:]}"


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.name)
def test_code_blocks_run(page: Path, tmp_path: Path) -> None:
    scripts = [text for kind, text in blocks(page) if kind == "python"]
    if scripts:
        # A later block may use the names of an earlier one.
        run([sys.executable, "-c", "\n".join(scripts)], tmp_path)
    for kind, text in blocks(page):
        for line in text.splitlines() if kind == "console" else ():
            if line.startswith("$ ") and not line[2:].startswith(ELSEWHERE) and line[2:] != DEMO:
                run(command(line[2:]), tmp_path)


def test_the_demo_of_the_front_page_is_that_of_the_tour(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Path]] = []
    monkeypatch.setattr("sacroplasty.workflow.demo_case", lambda case, folder, _: asked.append((case, folder)))
    monkeypatch.setattr("sacroplasty.cli._finish", lambda *_: None)
    result = CliRunner().invoke(app, command(DEMO)[3:])
    assert result.exit_code == 0, result.output
    assert asked == [("zhang-1", Path("cases/zhang-1"))]
    assert f"$ {TOUR_DEMO}\n" in (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_no_block_hides_from_the_test(page: Path) -> None:
    kinds = {kind for kind, _ in BLOCK.findall(page.read_text(encoding="utf-8"))}
    assert kinds <= RUNNABLE | {"", "text", "json", "toml", "{toctree}", "{image}", "{figure}", "mermaid"}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_pictures_exist(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists() and not t.startswith("mailto:")]
    assert missing == []


def test_the_manual_builds(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    result = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", str(ROOT / "docs"), str(tmp_path)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-2000:]
