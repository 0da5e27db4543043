from __future__ import annotations

import pytest

from sacroplasty.anatomy import Anatomy
from sacroplasty.space import Volume
from tests.lesion.toy import toy


@pytest.fixture(scope="session")
def loaf() -> tuple[Volume, Anatomy]:
    return toy()
