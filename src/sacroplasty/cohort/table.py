"""The cohort's tables: one row per case, and the failures with their sentences."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sacroplasty.cohort.job import FAILED, Row
from sacroplasty.errors import InputError
from sacroplasty.io import write_atomically

# The columns of failures.csv.
FAILURE_COLUMNS = ("name", "failed_stage", "code", "sentence")
FIRST = ("name", "status", *FAILURE_COLUMNS[1:])


def columns_of(rows: Sequence[Row]) -> list[str]:
    """All columns of the rows, the leading ones first, the others by name: the same whatever the order of the rows."""
    return [*FIRST, *sorted({column for row in rows for column in row} - set(FIRST))]


def write_table(rows: Sequence[Row], path: Path) -> None:
    """Write the rows, in the order given, as CSV or Parquet by the file's suffix."""
    if path.suffix == ".csv":
        text = _csv(rows, columns_of(rows))
        write_atomically(path, lambda stream: stream.write(text.encode("utf-8")))
    elif path.suffix == ".parquet":
        _write_parquet(rows, path)
    else:
        raise InputError("A table is written as .csv or .parquet", got=path.name)


def write_failures(rows: Sequence[Row], path: Path) -> None:
    """Write the failed cases with stage, code and sentence."""
    text = _csv([row for row in rows if row["status"] == FAILED], FAILURE_COLUMNS)
    write_atomically(path, lambda stream: stream.write(text.encode("utf-8")))


def _csv(rows: Sequence[Row], columns: Sequence[str]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[_cell(row.get(column)) for column in columns] for row in rows])
    return stream.getvalue()


def _cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


def _write_parquet(rows: Sequence[Row], path: Path) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            "A Parquet table needs pyarrow", got="it is not installed",
            remedy="Install it with `pip install 'sacroplasty[cohort]'`, or write .csv",
        ) from None  # fmt: skip
    table = pyarrow.table({column: [row.get(column) for row in rows] for column in columns_of(rows)})
    write_atomically(path, lambda stream: pyarrow.parquet.write_table(table, stream))
