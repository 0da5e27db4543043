"""What every room's tests share."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import numpy as np
import pytest

from sacroplasty.space import Grid, Volume
from tests.data import LABELLED_SPHERE, ROOT, real, sacroplasty


@pytest.fixture(scope="session", autouse=True)
def _interpolation_is_compiled() -> None:
    """Before Hypothesis times its first example, which would take the compilation for slowness."""
    volume = Volume(np.zeros((2, 2, 2), np.float32), Grid.from_affine((2, 2, 2), np.eye(4)))
    volume.resampled(volume.grid).sampled(volume.grid.centres_mm())


# Files that take minutes, the longest first. Begun last, one of them keeps a single core busy to the end.
LONGEST = ("workstation/test_page_acrin.py", "test_workflow.py", "test_docs.py", "cohort/test_trial.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, then those with slow tests, then the rest."""
    heavy = {item.path for item in items if item.get_closest_marker("slow")}
    order = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order) + (item.path not in heavy)))


@pytest.fixture(scope="session")
def labelled_case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole job on TotalSegmentator's scan with its labels, run once for all workers; a test copies it."""
    top = tmp_path_factory.getbasetemp()
    top = top.parent if "PYTEST_XDIST_WORKER" in os.environ else top
    case, ended = top / "labelled" / "totalsegmentator", top / "labelled" / "ended"
    ended.parent.mkdir(exist_ok=True)
    with (ended.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ended.exists():
            result = sacroplasty(
                "run", "--ct", real("totalsegmentator/ct_3mm.nii.gz"), "--labels",
                real("totalsegmentator/labels_3mm.nii.gz"), "--lesion-sphere", LABELLED_SPHERE, "--out", case,
            )  # fmt: skip
            assert result.returncode == 0, result.stderr
            ended.touch()
    return case
