"""Where the real scans lie; tests that need one are skipped with the reason where it is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def data_root() -> Path:
    """SACROPLASTY_DATA, else the folder shared/data beside the checkout."""
    return Path(os.environ.get("SACROPLASTY_DATA", ROOT.parent / "shared" / "data"))


def real(name: str) -> Path:
    """The path of a real scan, or a skip that says what is missing."""
    path = data_root() / name
    if not path.exists():
        pytest.skip(f"real scan {name} is absent: set SACROPLASTY_DATA to the folder that holds it")
    return path
