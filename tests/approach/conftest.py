"""The toy pelvis, built once."""

from __future__ import annotations

import pytest

from tests.approach import toy


@pytest.fixture(scope="session")
def pelvis():
    """CT and anatomy at 1.5 mm."""
    return toy.build(1.5)


@pytest.fixture(scope="session")
def s1(pelvis):
    """CT, anatomy and a ball in the S1 body."""
    return (*pelvis, toy.lesion(pelvis[1], *toy.S1_BODY))


@pytest.fixture(scope="session")
def s3(pelvis):
    """CT, anatomy and a ball in the S3 body."""
    return (*pelvis, toy.lesion(pelvis[1], *toy.S3_BODY))


@pytest.fixture(scope="session")
def ala(pelvis):
    """CT, anatomy and a ball in the left ala."""
    return (*pelvis, toy.lesion(pelvis[1], *toy.LEFT_ALA))


@pytest.fixture(scope="session")
def s1_plans(s1):
    """Every approach to the S1 body."""
    from sacroplasty.approach import plan_trajectories

    return plan_trajectories(*s1)


@pytest.fixture(scope="session")
def s3_plans(s3):
    """Every approach to the S3 body."""
    from sacroplasty.approach import plan_trajectories

    return plan_trajectories(*s3)


@pytest.fixture(scope="session")
def ala_plans(ala):
    """Every approach to the left ala."""
    from sacroplasty.approach import plan_trajectories

    return plan_trajectories(*ala)
