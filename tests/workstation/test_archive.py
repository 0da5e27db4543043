"""A series from a real Orthanc into a case, and a case's objects back into it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from sacroplasty.case import CaseFolder
from sacroplasty.io.pacs_dimse import Archive, find_series, store
from sacroplasty.io.pacs_web import WebArchive
from sacroplasty.space import Volume
from tests.io.made_dicom import body_ct, save_all, series
from tests.io.test_pacs import orthanc  # noqa: F401
from tests.workstation.conftest import client_of
from tests.workstation.test_work import worked

pytestmark = [pytest.mark.pacs, pytest.mark.slow]


def archives_file(archive: Archive, web: WebArchive) -> str:
    """The entries of both ways into one archive."""
    return (
        f'[dimse]\nhost = "{archive.host}"\nport = {archive.port}\ntitle = "{archive.title}"\n'
        f'[web]\naddress = "{web.address}"\n'
    )


@pytest.mark.parametrize("way", ["dimse", "web"])
def test_a_series_is_found_fetched_judged_and_imported(
    orthanc: tuple[Archive, WebArchive],  # noqa: F811
    cases: Path,
    tmp_path: Path,
    way: str,
) -> None:
    archive, web = orthanc
    ct = body_ct()
    store(archive, [pydicom.dcmread(one) for one in sorted(save_all(series(ct), tmp_path / "sent").iterdir())])
    (cases / "archives.toml").write_text(archives_file(archive, web), encoding="utf-8")
    with client_of(cases) as client:
        (found,) = client.post(f"/api/archives/{way}/find", json={"patient_id": "P1"}).json()["series"]
        wanted = {name: found[name] for name in ("patient_id", "study_uid", "series_uid", "images")}
        fetched = worked(client, cases, client.post(f"/api/archives/{way}/fetch", json=wanted))
        assert fetched["inspection"]["verdict"] in {"accept", "warn"}
        assert fetched["inspection"]["shape"] == list(ct.grid.shape)
        body = {"id": f"from-{way}", "upload": fetched["upload"]}
        worked(client, cases, client.post("/api/imports", json=body))
        held = CaseFolder.open(cases / f"from-{way}").read_value("images", Volume)
        np.testing.assert_array_equal(held.array, ct.array)
        nobody = client.post(f"/api/archives/{way}/find", json={"patient_id": "NOBODY"}).json()
        assert nobody["series"] == []


def test_the_objects_of_a_case_arrive(
    orthanc: tuple[Archive, WebArchive],  # noqa: F811
    cases: Path,
) -> None:
    archive, web = orthanc
    (cases / "archives.toml").write_text(archives_file(archive, web), encoding="utf-8")
    with client_of(cases) as client:
        sent = worked(client, cases, client.post("/api/cases/toy/send", json={"archive": "dimse"}))["sent"]
        exported = worked(client, cases, client.post("/api/cases/toy/export", json={"formats": ["dicom"]}))
        assert sent == exported["files"] > 0
    kinds = {one.modality for one in find_series(archive, patient_id="ANONYMOUS")}
    assert {"CT", "SEG", "SR"} <= kinds
