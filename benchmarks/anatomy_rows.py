"""Rows of a benchmark's CSV, added case by case, so that a run can be stopped, bounded and taken up again."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
Row = dict[str, object]


def count_asked(description: str | None, default: int) -> int:
    """How many cases not yet in the table this run may add (`--count`)."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--count", type=int, default=default, help="cases to add to the table in this run")
    return int(parser.parse_args().count)


def rows_in(name: str) -> list[dict[str, str]]:
    """All rows of a table beside this file; none where it does not exist yet."""
    path = HERE / name
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def appended(name: str, rows: Sequence[Row]) -> None:
    """The rows added to the table; its columns are those of the first row ever written."""
    path = HERE / name
    fresh = not path.exists()
    columns = list(rows[0]) if fresh else list(rows_in(name)[0])
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerows(rows)


def extended(name: str, key: str, cases: Iterable[str], count: int, measure: Callable[[str], Sequence[Row]]) -> None:
    """Measure the next `count` cases that have no row with this key yet, each appended as soon as it is done."""
    done = {row[key] for row in rows_in(name)}
    for case in [one for one in cases if one not in done][:count]:
        rows = measure(case)
        appended(name, rows)
        print(*rows, sep="\n", flush=True)
