"""Several lesions in the workstation: added, shown anew, chosen for treatment, taken out."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from sacroplasty.anatomy import Anatomy
from sacroplasty.case import AUDIT, CaseFolder, read_trail
from sacroplasty.errors import InputError
from sacroplasty.lesion import Lesion
from tests.approach import toy
from tests.workstation.conftest import revision
from tests.workstation.test_work import worked

S3 = {"centre_mm": list(toy.S3_BODY[0]), "radius_mm": toy.S3_BODY[1]}
FIRST = {"stages": ["images", "segment", "lesion"]}


def show(client: TestClient, cases: Path, body: dict[str, Any]) -> None:
    worked(client, cases, client.post("/api/cases/toy/lesion", json=body, headers=revision(client)))


def levels(client: TestClient) -> list[str]:
    """The chief level of every lesion, the treated one first."""
    found = client.get("/api/cases/toy/lesions").json()["lesions"]
    return [max(one["levels"], key=one["levels"].get) for one in found]


@pytest.fixture
def two(client: TestClient, cases: Path) -> TestClient:
    """The toy with a lesion of S1, which is treated, and one of S3."""
    show(client, cases, {**S3, "among": "further"})
    return client


def test_a_further_lesion_joins_and_what_was_planned_is_forgotten(two: TestClient, cases: Path) -> None:
    assert levels(two) == ["S1", "S3"]
    assert two.get("/api/cases/toy").json()["stages"] == FIRST["stages"]
    names = [one["name"] for one in two.get("/api/cases/toy/images").json()["images"]]
    assert {"lesion-1", "lesion-2"} <= set(names)
    last = read_trail(cases / "toy" / AUDIT)[-1]
    assert (last.event, last.details["change"]) == ("lesion added", "further")


def test_another_lesion_is_treated_and_comes_first(two: TestClient, cases: Path) -> None:
    held = CaseFolder.open(cases / "toy").read_value("lesion", tuple[Lesion, ...])
    worked(two, cases, two.post("/api/cases/toy/lesions/2/treat", headers=revision(two)))
    assert levels(two) == ["S3", "S1"]
    now = CaseFolder.open(cases / "toy").read_value("lesion", tuple[Lesion, ...])
    assert np.array_equal(now[0].mask.array, held[1].mask.array)
    assert np.array_equal(now[1].mask.array, held[0].mask.array)


@pytest.mark.parametrize(("number", "stays"), [(1, "S3"), (2, "S1")])
def test_a_lesion_is_taken_out(two: TestClient, cases: Path, number: int, stays: str) -> None:
    worked(two, cases, two.delete(f"/api/cases/toy/lesions/{number}", headers=revision(two)))
    assert levels(two) == [stays]


def test_the_treated_lesion_is_drawn_anew_and_the_other_stays(two: TestClient, cases: Path) -> None:
    anatomy = CaseFolder.open(cases / "toy").read_value("segment", Anatomy)
    points = anatomy.labels.grid.centres_mm()
    ball = (np.linalg.norm(points - toy.S1_BODY[0], axis=-1) < 6.0) & (anatomy.labels.array == 1)
    body = gzip.compress(ball.astype(np.uint8).tobytes(order="F"))
    answer = two.put("/api/cases/toy/lesion/mask?among=treated", content=body, headers=revision(two))
    worked(two, cases, answer)
    assert levels(two) == ["S1", "S3"]
    drawn = CaseFolder.open(cases / "toy").read_value("lesion", tuple[Lesion, ...])[0]
    assert np.array_equal(drawn.mask.array, ball)


def test_a_search_or_a_lesion_alone_takes_the_place_of_all(two: TestClient, cases: Path) -> None:
    show(two, cases, S3)
    assert levels(two) == ["S3"]


def test_lesions_that_share_bone_are_one(client: TestClient, cases: Path) -> None:
    centre, radius = toy.S1_BODY
    body = {"centre_mm": [centre[0] + 4.0, *centre[1:]], "radius_mm": radius, "among": "further"}
    before = client.get("/api/cases/toy").json()["stages"]
    with pytest.raises(InputError, match="overlap"):
        show(client, cases, body)
    assert client.get("/api/cases/toy").json()["stages"] == before, "a refused change forgets nothing"


def test_what_cannot_be_is_refused_before_a_job(client: TestClient, cases: Path) -> None:
    held = revision(client)
    only = client.delete("/api/cases/toy/lesions/1", headers=held)
    assert (only.status_code, "only lesion" in only.json()["sentence"]) == (422, True)
    assert client.delete("/api/cases/toy/lesions/2", headers=held).status_code == 404
    assert client.post("/api/cases/toy/lesions/2/treat", headers=held).status_code == 404
    assert client.post("/api/cases/toy/lesions/1/treat").status_code == 428, "without a revision"
    assert client.post("/api/cases/toy/lesion", json={"among": "further"}, headers=held).status_code == 422
    assert client.post("/api/cases/toy/lesion", json={**S3, "among": "some"}, headers=held).status_code == 422
    assert client.get("/api/jobs").json()["jobs"] == []


def test_a_further_lesion_needs_a_first_one(client: TestClient, cases: Path) -> None:
    folder = CaseFolder.open(cases / "toy")
    folder.write_value("segment", folder.read_value("segment", Anatomy), forget=("lesion", "plan", "views", "cement"))
    answer = client.post("/api/cases/toy/lesion", json={**S3, "among": "further"}, headers=revision(client))
    assert answer.status_code == 404
