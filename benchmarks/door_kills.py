"""Kills during a save: nothing that was acknowledged is lost, nothing is torn.

A process saves one stage of a case again and again and notes every save that returned; it is killed (SIGKILL) at a
random moment; the case is then opened and compared with what was noted, and its audit trail verified.
Usage: python benchmarks/door_kills.py [KILLS]. Prints a table and writes benchmarks/door_kills.csv.
"""

from __future__ import annotations

import csv
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from sacroplasty.case import CaseFolder  # noqa: E402
from sacroplasty.case.audit import verify_trail  # noqa: E402
from sacroplasty.case.store import AUDIT  # noqa: E402
from sacroplasty.errors import SacroplastyError  # noqa: E402

SEED = 20261121
HEAD = ["kills", "in a save", "saves acknowledged", "lost", "torn", "broken trails", "slowest opening ms"]


def save_forever(path: Path, noted: Path) -> None:
    """Save a value with an array, note the number, and so on until killed. `noted` is renewed in one step."""
    folder = CaseFolder.open(path)
    number = int(folder.read_value("plan", dict[str, Any])["number"])
    handle = os.open(noted, os.O_WRONLY | os.O_CREAT)
    while True:
        number += 1
        array = np.full(5000, number, dtype=np.float64)
        folder.write_value("plan", {"number": number, "array": array, "padding": "x" * 4000})
        os.pwrite(handle, f"{number:12d}".encode(), 0)


def one_kill(path: Path, noted: Path, chance: random.Random) -> None:
    """Start the saving process and kill it at a random moment after up to five acknowledged saves."""
    before = noted.read_bytes() if noted.exists() else b""
    wanted = int(before or b"0") + chance.randrange(6)
    child = os.fork()
    if child == 0:
        try:
            save_forever(path, noted)
        finally:
            os._exit(3)
    until = time.monotonic() + 60
    while time.monotonic() < until and int((noted.read_bytes() if noted.exists() else b"") or b"0") < wanted:
        time.sleep(0.0005)
    time.sleep(chance.uniform(0.0, 0.012))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def killed(kills: int) -> list[object]:
    """How a case fares under that many kills; its trail is put aside every fifty, so that it stays short."""
    chance = random.Random(SEED)
    lost = torn = broken = saves = during = 0
    slowest = 0.0
    with tempfile.TemporaryDirectory() as top:
        path, noted = Path(top) / "case", Path(top) / "noted"
        for n in range(kills):
            if n % 50 == 0:
                path = Path(top) / f"case{n}"
                noted = Path(top) / f"noted{n}"
                CaseFolder.create(path, "k").write_value("plan", {"number": 0})
                before = 0
            one_kill(path, noted, chance)
            acknowledged = int(noted.read_bytes() or b"0") if noted.exists() else 0
            during += any(path.glob(".plan.*")) or _index_ahead(path)
            start = time.monotonic()
            try:
                folder = CaseFolder.open(path)
                found = folder.read_value("plan", dict[str, Any])
                slowest = max(slowest, time.monotonic() - start)
                number = int(found["number"])
                lost += number < acknowledged
                torn += number > 0 and not _whole(found, folder, number)
            except SacroplastyError:
                torn += 1
            try:
                broken += verify_trail(path / AUDIT)[-1].details["version"] != folder.index["version"]
            except SacroplastyError:
                broken += 1
            saves += acknowledged - before
            before = acknowledged
    return [kills, during, saves, lost, torn, broken, f"{slowest * 1000:.0f}"]


def _index_ahead(path: Path) -> bool:
    return any(path.glob(".case.json.*"))


def _whole(found: dict[str, Any], folder: CaseFolder, number: int) -> bool:
    """The side file belongs to the number."""
    array = np.load(folder.file("plan", found["array"]["image"]), allow_pickle=False)
    return bool((array == number).all()) and len(found["padding"]) == 4000


def main() -> None:
    """Run all and write the table."""
    rows = [HEAD, killed(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)]
    with (ROOT / "benchmarks" / "door_kills.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    for row in rows:
        print("  ".join(f"{cell!s:>18}" for cell in row))


if __name__ == "__main__":
    main()
