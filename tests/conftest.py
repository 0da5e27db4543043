"""What every room's tests share."""

from __future__ import annotations

import numpy as np
import pytest

from sacroplasty.space import Grid, Volume


@pytest.fixture(scope="session", autouse=True)
def _interpolation_is_compiled() -> None:
    """Before Hypothesis times its first example, which would take the compilation for slowness."""
    volume = Volume(np.zeros((2, 2, 2), np.float32), Grid.from_affine((2, 2, 2), np.eye(4)))
    volume.resampled(volume.grid).sampled(volume.grid.centres_mm())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: begun last, one of them keeps a single core busy to the end."""
    heavy = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in heavy)
