"""Work that brings scans in and takes results out."""

from __future__ import annotations

import secrets
import shutil
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sacroplasty.case import CaseFolder, encode
from sacroplasty.errors import InputError
from sacroplasty.io import inspect
from sacroplasty.io.pacs import SeriesFound
from sacroplasty.report import export_case
from sacroplasty.workflow import Progress, ReadParameters, create_case, load_case
from sacroplasty.workstation.archives import archives_of, retrieved, sent
from sacroplasty.workstation.casebook import Casebook, revision_of
from sacroplasty.workstation.jobs import Job
from sacroplasty.workstation.uploads import folder_of, name_for
from sacroplasty.workstation.working import WorkingFolder

# Exports of one case that are kept.
_KEPT = 5


def inspect_source(casebook: Casebook, job: Job, progress: Progress) -> dict[str, Any]:
    """The gate's verdict on an upload or a folder."""
    progress(0.1, "Reading the scan")
    return {"inspection": encode(inspect(job.arguments["source"]))}


def fetch(casebook: Casebook, job: Job, progress: Progress) -> dict[str, Any]:
    """A series of an archive in an upload, and the gate's verdict on it."""
    given = job.arguments
    archive = archives_of(casebook.root).get(given["archive"])
    if archive is None:
        raise InputError("There is no such archive", got=str(given["archive"])[:60])
    upload = folder_of(casebook, given["upload"])
    wanted = SeriesFound(given["patient_id"], given["study_uid"], given["series_uid"], images=given["images"])
    with TemporaryDirectory(prefix="fetch-", dir=casebook.state) as folder:
        progress(0.1, "Fetching the series")
        found = retrieved(archive, wanted, Path(folder) / "series")
        for number, one in enumerate(sorted(found.iterdir())):
            one.replace(upload / name_for(number, one.name))
    progress(0.7, "Reading the scan")
    return {"upload": given["upload"], "inspection": encode(inspect(upload))}


def import_scan(casebook: Casebook, job: Job, progress: Progress) -> dict[str, Any]:
    """A case from an upload or a folder."""
    assert job.case is not None
    given = job.arguments
    reading = ReadParameters(
        given.get("series"), tuple(given["acknowledge"]), given["resample_irregular"], given["resample_tilted"]
    )
    progress(0.1, "Reading the scan")
    create_case(casebook.root / job.case, Path(given["source"]), reading, given["name"] or job.case)
    if given.get("upload"):
        shutil.rmtree(casebook.state / "uploads" / given["upload"], ignore_errors=True)
    return {"case": job.case, "revision": revision_of(casebook.open(job.case))}


def export(casebook: Casebook, job: Job, progress: Progress) -> dict[str, Any]:
    """A zip of standard objects; the latest few of a case are kept."""
    assert job.case is not None
    target = casebook.state / "exports" / job.case
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}.zip"
    with TemporaryDirectory(prefix="export-", dir=casebook.state) as folder:
        progress(0.1, "Loading the case")
        case = load_case(CaseFolder.open(casebook.open(job.case).path))
        progress(0.3, "Writing the objects")
        written = export_case(case, Path(folder), tuple(job.arguments["formats"]))
        progress(0.9, "Packing")
        part = target / f".{name}.part"
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for one in sorted(written):
                archive.write(one, one.relative_to(folder).as_posix())
        part.replace(target / name)
    for old in sorted(target.glob("*.zip"))[:-_KEPT]:
        old.unlink()
    return {"file": name, "files": len(written), "url": f"/api/cases/{job.case}/exports/{name}"}


def send(casebook: Casebook, job: Job, progress: Progress) -> dict[str, Any]:
    """The DICOM objects of a case in an archive."""
    import pydicom

    assert job.case is not None
    archive = archives_of(casebook.root).get(job.arguments["archive"])
    if archive is None:
        raise InputError("There is no such archive", got=str(job.arguments["archive"])[:60])
    with TemporaryDirectory(prefix="send-", dir=casebook.state) as folder:
        progress(0.1, "Writing the objects")
        case = load_case(CaseFolder.open(casebook.open(job.case).path))
        written = export_case(case, Path(folder), ("dicom",))
        progress(0.6, "Sending")
        sent(archive, [pydicom.dcmread(one) for one in sorted(written)])
    return {"case": job.case, "sent": len(written)}


def compare_later(casebook: Casebook, job: Job, progress: Progress) -> dict[str, Any]:
    """A later CT against the case's plan, kept under its name."""
    from sacroplasty.outcome.audit_case import follow_case

    assert job.case is not None
    given = job.arguments
    folder = WorkingFolder.begin(casebook.open(job.case).path)
    follow_case(folder, Path(given["source"]), given["name"], progress=progress)
    shutil.rmtree(casebook.state / "uploads" / given["upload"], ignore_errors=True)
    return {"case": job.case, "name": given["name"], "revision": revision_of(casebook.open(job.case))}
