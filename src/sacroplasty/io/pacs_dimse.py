"""Query, retrieve and store by DIMSE: C-ECHO, C-FIND, C-GET, C-STORE. No receiving server is ever started.

C-GET needs no port of ours to be open; C-MOVE would, and is left out on purpose.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    CTImageStorage,
    EncapsulatedPDFStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    ImplicitVRLittleEndian,
    MRImageStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from pynetdicom import AE, evt
from pynetdicom.presentation import build_role
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

from sacroplasty.errors import InputError, SacroplastyError
from sacroplasty.io.pacs import Limits, SeriesFound, quarantined, require_uid
from sacroplasty.io.verdict import rejected

# What a series may hold: images, and the objects this program exports.
_KINDS = (
    CTImageStorage,
    EnhancedCTImageStorage,
    MRImageStorage,
    SegmentationStorage,
    Comprehensive3DSRStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
)
# Deflated objects, which may unpack without end, and big endian ones are never asked for.
_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_PENDING = (0xFF00, 0xFF01)


@dataclass(frozen=True)
class Archive:
    """A DICOM archive: host, port, its and our application entity titles, and TLS with the archive's certificate.

    `certificate` is the file of the authority that signed the archive's certificate; without it the link is not
    encrypted, which only a closed network allows.
    """

    host: str
    port: int
    title: str
    our_title: str = "SACROPLASTY"
    certificate: Path | None = None
    timeout_s: float = 30.0


class _Link:
    """An association that is released, or aborted on error."""

    def __init__(
        self, archive: Archive, contexts: Iterable[str], roles: Sequence[Any] = (), handlers: Any = ()
    ) -> None:
        entity = AE(ae_title=archive.our_title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = archive.timeout_s
        entity.connection_timeout = archive.timeout_s
        for context in contexts:
            entity.add_requested_context(context, list(_SYNTAXES))
        secure = None
        if archive.certificate is not None:
            secure = (ssl.create_default_context(cafile=str(archive.certificate)), archive.host)
        self.association = entity.associate(
            archive.host,
            archive.port,
            ae_title=archive.title,
            ext_neg=list(roles),
            evt_handlers=list(handlers),
            tls_args=secure,
        )
        if not self.association.is_established:
            raise rejected(
                "SAC-G091",
                "The archive does not accept the connection",
                got=f"{archive.title} at {archive.host}:{archive.port}",
                remedy="Check host, port, titles and TLS, and that the archive knows this title",
            )

    def __enter__(self) -> Any:
        return self.association

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self.association.is_established:
            if kind is None:
                self.association.release()
            else:
                self.association.abort()


def echo(archive: Archive) -> None:
    """Ask the archive whether it answers; InputError where it does not."""
    with _Link(archive, [Verification]) as link:
        status = link.send_c_echo()
        if not status or status.Status != 0:
            raise rejected("SAC-G091", "The archive does not answer", got=archive.title)


def find_series(archive: Archive, *, patient_id: str, study_uid: str = "", most: int = 500) -> tuple[SeriesFound, ...]:
    """Every series of one patient (in one study where named); a patient is always named, never a wildcard."""
    if not patient_id.strip() or set(patient_id) & set("*?\\"):
        raise InputError(
            "A query needs one patient's ID", got=repr(patient_id[:64]), remedy="Give the ID without * or ?"
        )
    studies = [require_uid(study_uid)] if study_uid else _studies(archive, patient_id)
    found: list[SeriesFound] = []
    with _Link(archive, [StudyRootQueryRetrieveInformationModelFind]) as link:
        for study in studies:
            for answer in _answers(link, _series_query(patient_id, study), most):
                found.append(
                    SeriesFound(
                        patient_id=str(answer.get("PatientID", patient_id)).strip(),
                        study_uid=study,
                        series_uid=str(answer.get("SeriesInstanceUID", "")),
                        modality=str(answer.get("Modality", "")),
                        description=str(answer.get("SeriesDescription", ""))[:64],
                        images=int(answer.get("NumberOfSeriesRelatedInstances", 0) or 0),
                    )
                )
    return tuple(s for s in found if s.patient_id == patient_id.strip())


def _series_query(patient_id: str, study: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel, query.PatientID, query.StudyInstanceUID = "SERIES", patient_id, study
    query.SeriesInstanceUID = query.Modality = query.SeriesDescription = ""
    query.NumberOfSeriesRelatedInstances = None
    return query


def _studies(archive: Archive, patient_id: str) -> list[str]:
    query = Dataset()
    query.QueryRetrieveLevel, query.PatientID, query.StudyInstanceUID = "STUDY", patient_id, ""
    with _Link(archive, [StudyRootQueryRetrieveInformationModelFind]) as link:
        answers = _answers(link, query, 500)
    return sorted({require_uid(str(a.get("StudyInstanceUID", ""))) for a in answers})


def _answers(link: Any, query: Dataset, most: int) -> list[Dataset]:
    answers = []
    for status, answer in link.send_c_find(query, StudyRootQueryRetrieveInformationModelFind):
        if not status or status.Status not in (0x0000, *_PENDING):
            raise rejected("SAC-G091", "The archive's query failed", got=f"status {status.get('Status', 'none')}")
        if answer is not None:
            answers.append(answer)
        if len(answers) > most:
            raise rejected("SAC-G090", "The archive answered with too many entries", got=f"over {most}")
    return answers


def get_series(
    archive: Archive, wanted: SeriesFound, out: str | os.PathLike[str], *, limits: Limits | None = None
) -> Path:
    """Retrieve one series into the new folder `out`: complete and of the right patient and study, or not at all."""
    problems: list[SacroplastyError] = []
    with quarantined(wanted, out, limits) as quarantine:

        def on_store(event: Any) -> int:
            try:
                # The object's bytes as they came, with a file's head before them; nothing is parsed here.
                quarantine.keep(event.encoded_dataset())
            except SacroplastyError as error:
                problems.append(error)
                event.assoc.abort()
                return 0xA700
            except Exception as error:  # a message that names no object
                problems.append(rejected("SAC-G090", "The archive sent an unreadable object", got=type(error).__name__))
                event.assoc.abort()
                return 0xC000
            return 0x0000

        query = Dataset()
        query.QueryRetrieveLevel = "SERIES"
        query.PatientID, query.StudyInstanceUID = wanted.patient_id, wanted.study_uid
        query.SeriesInstanceUID = wanted.series_uid
        contexts = [StudyRootQueryRetrieveInformationModelGet, *_KINDS]
        roles = [build_role(kind, scp_role=True) for kind in _KINDS]
        with _Link(archive, contexts, roles, [(evt.EVT_C_STORE, on_store)]) as link:
            final = None
            for status, _ in link.send_c_get(query, StudyRootQueryRetrieveInformationModelGet):
                final = status
                quarantine.require_within()
        if problems:
            raise problems[0]
        if final is None or final.get("Status") != 0x0000:
            got = f"status {final.get('Status', 'none') if final else 'none'}"
            raise rejected("SAC-G091", "The archive did not finish the retrieval", got=got)
    return Path(out)


def store(archive: Archive, objects: Sequence[Dataset]) -> None:
    """Send objects and have each confirmed; InputError names the first that was not."""
    kinds = sorted({str(ds.SOPClassUID) for ds in objects})
    with _Link(archive, kinds) as link:
        for ds in objects:
            status = link.send_c_store(ds)
            if not status or status.Status != 0x0000:
                got = f"{ds.get('Modality', '')} object, status {status.get('Status', 'none') if status else 'none'}"
                raise rejected("SAC-G091", "The archive did not confirm an object", got=got)
