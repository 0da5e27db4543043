"""A case as DICOM objects that other programs open: segmentation, structured report, pictures, PDF."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import highdicom as hd
import numpy as np
import numpy.typing as npt
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from sacroplasty import __version__
from sacroplasty.errors import GeometryError
from sacroplasty.lesion import Lesion
from sacroplasty.plan import NeedlePlan, Plan
from sacroplasty.report.dicom_source import BODY_PART, MANUFACTURER, MODEL, SERIES_PREFIX, stamped, uid_of
from sacroplasty.space import LabelMap, Mask

_SCT = codes.SCT
# Name of a structure: category, type, side. What is not listed is written as tissue under its own name.
_TERMS: dict[str, Any] = {
    "sacrum": _SCT.Sacrum, "coccyx": _SCT.Coccyx, "l5": _SCT.L5Vertebra, "hip_left": _SCT.Hip, "hip_right": _SCT.Hip,
    "femur_left": _SCT.Femur, "femur_right": _SCT.Femur, "si_joint_left": _SCT.SacroiliacJoint,
    "si_joint_right": _SCT.SacroiliacJoint, "iliac_artery_left": _SCT.IliacArtery,
    "iliac_artery_right": _SCT.IliacArtery, "iliac_vein_left": _SCT.IliacVein, "iliac_vein_right": _SCT.IliacVein,
    "colon": _SCT.Colon, "bladder": _SCT.Bladder, "aorta": _SCT.Aorta, "vena_cava": _SCT.InferiorVenaCava,
    "lesion": _SCT.Lesion,
}  # fmt: skip


def _equipment() -> dict[str, Any]:
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": MODEL,
        "software_versions": __version__,
        "device_serial_number": "0",
    }


def segmentation(
    labels: LabelMap, source: Sequence[Dataset], when: datetime, *, lesion: Mask | None = None
) -> hd.seg.Segmentation:
    """Labels, and the lesion where one is given, as a DICOM Segmentation with every frame of every segment.

    `source` are the images of `dicom_source`; the labels must lie on their grid, or are brought to it by nearest
    voxel. Empty frames are written too, because viewers that assume all frames otherwise shift the overlay.
    """
    names = [name for value, name in sorted(labels.names.items()) if labels.has(name)]
    masks = [labels.mask(name) for name in names]
    if lesion is not None:
        names, masks = [*names, "lesion"], [*masks, lesion]
    if not names:
        raise GeometryError("There is nothing to export", remedy="Segment the anatomy first")
    pixels = np.stack([_on_source(mask, source) for mask in masks], axis=-1)
    segments = [_description(number, name) for number, name in enumerate(names, start=1)]
    key = uid_of("segmentation", source[0].SeriesInstanceUID, *names, pixels.tobytes())
    made = hd.seg.Segmentation(
        source_images=list(source),
        pixel_array=pixels.astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=uid_of("series", key),
        series_number=101,
        sop_instance_uid=key,
        instance_number=1,
        omit_empty_frames=False,
        series_description=(SERIES_PREFIX + "anatomy")[:64],
        **_equipment(),
    )
    # highdicom draws this UID by chance; equal content shall give equal bytes.
    organization = uid_of("dimensions", key)
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
    # Who made it is required, though it may be empty; highdicom leaves the element out.
    made.ContentCreatorName = ""
    stamped(made, when)
    return made


def _on_source(mask: Mask, source: Sequence[Dataset]) -> npt.NDArray[np.bool_]:
    """The mask's value (images, rows, columns) at every pixel of the source images."""
    frames = []
    for ds in source:
        orientation = np.array([float(v) for v in ds.ImageOrientationPatient])
        down, across = (float(v) for v in ds.PixelSpacing)
        rows, columns = np.mgrid[0 : int(ds.Rows), 0 : int(ds.Columns)]
        corner = np.array([float(v) for v in ds.ImagePositionPatient])
        place = corner + columns[..., None] * across * orientation[:3] + rows[..., None] * down * orientation[3:]
        frames.append(mask.contains(place))
    return np.stack(frames)


def _description(number: int, name: str) -> hd.seg.SegmentDescription:
    side = _SCT.Left if name.endswith("_left") else _SCT.Right if name.endswith("_right") else None
    category = _SCT.AnatomicalStructure if name in _TERMS else _SCT.Tissue
    if name == "lesion":
        category = _SCT.MorphologicallyAbnormalStructure
    described = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=category,
        segmented_property_type=_TERMS.get(name, _SCT.Tissue),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            MODEL, codes.DCM.ArtificialIntelligence, __version__
        ),
        tracking_uid=uid_of("segment", name),
        tracking_id=name,
    )
    if side is not None:
        modifier = hd.sr.CodedConcept(side.value, side.scheme_designator, side.meaning)
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [modifier]
    return described


# Of the 16 characters that DICOM gives a code value, four are the prefix.
CODE_LETTERS, DIGEST_LETTERS = 12, 5
_UNITS = {
    name: CodedConcept(code, "UCUM", meaning)
    for name, code, meaning in (
        ("mm", "mm", "millimeter"),
        ("deg", "deg", "degree"),
        ("ml", "ml", "milliliter"),
        ("hu", "[hnsf'U]", "Hounsfield unit"),
        ("s", "s", "second"),
        ("fraction", "1", "no units"),
    )
}


def code_of(stem: str) -> str:
    """A code value (at most 16 characters) of a measure's name; a long one ends in a digest, so that none is shared."""
    if len(stem) > CODE_LETTERS:
        stem = stem[: CODE_LETTERS - DIGEST_LETTERS] + hashlib.sha256(stem.encode()).hexdigest()[:DIGEST_LETTERS]
    return f"SAC-{stem}".upper()


def _measure(name: str, value: float) -> hd.sr.Measurement | None:
    """A named number whose name ends in its unit; None where it has no unit that DICOM knows or is not measurable."""
    stem, _, unit = name.rpartition("_")
    if unit not in _UNITS or not np.isfinite(value):
        return None
    known = {"mm": _SCT.Length, "deg": _SCT.Angle, "ml": _SCT.Volume}
    meaning = stem.replace("_", " ")[:64]
    concept = CodedConcept(code_of(stem), "99SACRO", meaning)
    if unit in known and stem in {"length", "angle", "volume"}:
        concept = known[unit]
    return hd.sr.Measurement(name=concept, value=round(float(value), 3), unit=_UNITS[unit])


def measurement_report(
    plan: Plan, source: Sequence[Dataset], when: datetime, *, lesion: Lesion | None = None
) -> hd.sr.Comprehensive3DSR:
    """The plan as a TID 1500 report: each needle's path as a polyline from entry to target, with its measurements.

    Positions are patient LPS mm in the source's frame of reference, for archives that know nothing of planning.
    """
    groups: list[Any] = [_needle_group(plan, n, source) for n in range(len(plan.needles))]
    if lesion is not None:
        groups.append(_lesion_group(lesion, source))
    context = hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
                uid=uid_of("device", __version__), name=MODEL
            ),
        )
    )
    report = hd.sr.MeasurementReport(
        observation_context=context,
        procedure_reported=CodedConcept("SAC-PLAN", "99SACRO", "Planning of percutaneous sacroplasty"),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    key = uid_of("report", source[0].SeriesInstanceUID, repr(plan), repr(lesion and lesion.centre_mm))
    made = hd.sr.Comprehensive3DSR(
        evidence=list(source),
        content=report[0],
        series_instance_uid=uid_of("series", key),
        series_number=102,
        sop_instance_uid=key,
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        series_description=(SERIES_PREFIX + "plan")[:64],
    )
    stamped(made, when)
    return made


def _needle_group(plan: Plan, number: int, source: Sequence[Dataset]) -> Any:
    needle: NeedlePlan = plan.needles[number]
    path = needle.trajectory
    uid = uid_of("needle", plan.approach, number, path)
    line = hd.sr.ImageRegion3D(
        graphic_type=hd.sr.GraphicTypeValues3D.POLYLINE,
        graphic_data=np.array([path.entry_mm, path.target_mm]),
        frame_of_reference_uid=str(source[0].FrameOfReferenceUID),
    )
    named = {
        "skin_to_target_mm": path.length_mm,
        "needle_outer_diameter_mm": needle.needle.outer_diameter_mm,
        "cephalad_angulation_deg": path.cephalad_deg,
        "leftward_angulation_deg": path.leftward_deg,
        "cement_volume_ml": sum(i.volume_ml for i in needle.injections),
        **{f"clearance_{c.structure.replace(' ', '_')}_mm": c.distance_mm for c in needle.clearances},
        **(dict(plan.measures) if number == 0 else {}),
    }
    measures = [m for name, value in named.items() if (m := _measure(name, value)) is not None]
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid, f"needle {number + 1}: {plan.approach} {plan.side}"),
        referenced_region=line,
        finding_type=_SCT.Needle,
        finding_sites=[hd.sr.FindingSite(_SCT.Sacrum)],
        measurements=measures,
    )


def _lesion_group(lesion: Lesion, source: Sequence[Dataset]) -> Any:
    region = hd.sr.ImageRegion3D(
        graphic_type=hd.sr.GraphicTypeValues3D.POINT,
        graphic_data=np.array([lesion.centre_mm]),
        frame_of_reference_uid=str(source[0].FrameOfReferenceUID),
    )
    named = {"volume_ml": lesion.volume_ml, **dict(lesion.measures)}
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid_of("lesion", lesion.centre_mm), f"lesion ({lesion.kind})"),
        referenced_region=region,
        finding_type=_SCT.Lesion,
        finding_sites=[hd.sr.FindingSite(_SCT.Sacrum)],
        measurements=[m for name, value in named.items() if (m := _measure(name, value)) is not None],
    )


def secondary_capture(
    picture: npt.NDArray[np.uint8], source: Sequence[Dataset], when: datetime, *, description: str, number: int = 1
) -> Dataset:
    """A picture (rows, columns) or (rows, columns, 3), for example a simulated radiograph, as a Secondary Capture.

    It makes no claim about the patient's orientation: the sides are drawn into the picture.
    """
    key = uid_of("picture", source[0].StudyInstanceUID, description, number, picture.tobytes())
    ds = _object(SecondaryCaptureImageStorage, key, source[0], "OT", 103, description)
    ds.SeriesInstanceUID = uid_of("pictures", source[0].StudyInstanceUID)
    ds.InstanceNumber, ds.PatientOrientation, ds.ImageType = number, "", ["DERIVED", "SECONDARY"]
    ds.BodyPartExamined = BODY_PART
    ds.Rows, ds.Columns = picture.shape[:2]
    ds.SamplesPerPixel = 1 if picture.ndim == 2 else 3
    ds.PhotometricInterpretation = "MONOCHROME2" if picture.ndim == 2 else "RGB"
    if picture.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    content = np.ascontiguousarray(picture, dtype=np.uint8).tobytes()
    ds.PixelData = content + b"\0" * (len(content) % 2)
    return stamped(ds, when)


def encapsulated_pdf(pdf: bytes, source: Sequence[Dataset], when: datetime, *, title: str) -> Dataset:
    """A PDF report as an Encapsulated PDF object of the patient's study."""
    key = uid_of("pdf", source[0].StudyInstanceUID, pdf)
    ds = _object(EncapsulatedPDFStorage, key, source[0], "DOC", 104, "report")
    ds.DeviceSerialNumber, ds.AcquisitionDateTime, ds.DocumentTitle = "0", "", title
    ds.ConceptNameCodeSequence = []
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocumentLength = len(pdf)
    ds.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    return stamped(ds, when)


def _object(kind: str, key: str, reference: Dataset, modality: str, series_number: int, description: str) -> Dataset:
    """What our own objects share: the patient's study, our equipment, a series of their own."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = kind, key, modality
    for name in ("StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate",
                 "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"):  # fmt: skip
        setattr(ds, name, reference.get(name, ""))
    ds.SeriesInstanceUID, ds.SeriesNumber, ds.InstanceNumber = uid_of("series", key), series_number, 1
    ds.SeriesDescription = (SERIES_PREFIX + description)[:64]
    ds.ConversionType, ds.BurnedInAnnotation = "WSD", "YES"
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = MANUFACTURER, MODEL, __version__
    ds.ContentDate = ds.ContentTime = ""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta = meta
    return ds
