"""Eight writers, 500 edits each, on one row of a registry: SQLite and PostgreSQL, no update lost.

Writes registry_writers.csv beside it. The worst case: every writer reads
the row as a form does, and writes it back only where nobody came in between; a refused edit is read and done again.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.registry.server import postgres_server, server_programs  # noqa: E402
from tests.registry.writers import compete  # noqa: E402

WRITERS, EDITS = 8, 500


def row(database: str, place: str) -> dict[str, str]:
    """One line of the table."""
    reached, outcomes = compete(place, WRITERS, EDITS)
    accepted = sum(one.accepted for one in outcomes)
    return {
        "database": database, "writers": str(WRITERS), "edits_each": str(EDITS), "accepted": str(accepted),
        "stored": str(reached), "lost": str(accepted - reached), "refused": str(sum(one.refused for one in outcomes)),
        "cpu_ms_per_accepted_edit": f"{1000 * sum(one.cpu_s for one in outcomes) / accepted:.1f}",
    }  # fmt: skip


def main() -> None:
    """Print and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [row("SQLite", str(Path(folder) / "registry.sqlite"))]
    programs = server_programs()
    if programs is not None:
        with postgres_server(programs) as url:
            rows.append(row("PostgreSQL", url))
    with (Path(__file__).with_suffix(".csv")).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for one in rows:
        print("  ".join(f"{name} {value}" for name, value in one.items()))


if __name__ == "__main__":
    main()
