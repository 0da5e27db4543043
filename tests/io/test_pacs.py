"""Query, retrieve and store against a real Orthanc, and against archives that misbehave."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from sacroplasty.errors import InputError, SacroplastyError
from sacroplasty.io import read_series
from sacroplasty.io.pacs import Limits, SeriesFound, require_uid
from sacroplasty.io.pacs_dimse import Archive, echo, find_series, get_series, store
from sacroplasty.io.pacs_web import WebArchive, find_web_series, get_web_series, store_web
from tests.io.made_dicom import ROOT, body_ct, save, save_all, series

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
WANTED = SeriesFound("P1", f"{ROOT}.2", f"{ROOT}.3", images=28)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Archive, WebArchive]]:
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None:
        pytest.skip("the program Orthanc is absent")
    folder = tmp_path_factory.mktemp("orthanc")
    web, dicom = free_port(), free_port()
    config = {"StorageDirectory": str(folder / "s"), "IndexDirectory": str(folder / "s"), "HttpPort": web,
              "DicomPort": dicom, "DicomAet": "ORTHANC", "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
              "DicomAlwaysAllowGet": True, "DicomAlwaysAllowFind": True, "Plugins": [str(PLUGIN)],
              "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}}  # fmt: skip
    (folder / "c.json").write_text(json.dumps(config), encoding="utf-8")
    server = subprocess.Popen([program, str(folder / "c.json")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{web}/system", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield Archive("127.0.0.1", dicom, "ORTHANC"), WebArchive(f"http://127.0.0.1:{web}/dicom-web")
    finally:
        server.terminate()
        server.wait()


def read_all(folder: Path) -> list[Dataset]:
    return [pydicom.dcmread(p) for p in sorted(folder.iterdir())]


@pytest.mark.pacs
@pytest.mark.slow
def test_round_trip_with_orthanc(orthanc: tuple[Archive, WebArchive], tmp_path: Path) -> None:
    archive, web = orthanc
    echo(archive)
    ct = body_ct()
    store(archive, read_all(save_all(series(ct), tmp_path / "sent")))
    found = find_series(archive, patient_id="P1")
    assert [(s.series_uid, s.images, s.modality) for s in found] == [(f"{ROOT}.3", 28, "CT")]
    (listed,) = find_web_series(web, patient_id="P1")
    folders = get_series(archive, found[0], tmp_path / "dimse"), get_web_series(web, listed, tmp_path / "web")
    for folder in folders:
        scan = read_series(folder)
        assert scan.volume.grid.same_as(ct.grid)
        np.testing.assert_array_equal(scan.volume.array, ct.array)
    assert not list(tmp_path.glob(".*quarantine"))
    with pytest.raises(InputError, match="exists already"):
        get_series(archive, found[0], tmp_path / "dimse")


@pytest.mark.pacs
@pytest.mark.slow
def test_plan_objects_go_to_orthanc_and_come_back(orthanc: tuple[Archive, WebArchive], tmp_path: Path) -> None:
    exports = pytest.importorskip("tests.report.test_dicom_export")
    from sacroplasty.report.dicom_export import encapsulated_pdf, measurement_report, segmentation

    archive, web = orthanc
    ct, when = body_ct(), datetime(2026, 3, 4)
    source = series_of(save_all(series(ct), tmp_path / "source"))
    made = {
        "SEG": segmentation(exports.small_labels(ct), source, when),
        "SR": measurement_report(exports.small_plan(), source, when),
        "DOC": encapsulated_pdf(b"%PDF-1.4 test", source, when, title="Plan"),
    }
    paths = {name: exports.saved(ds, tmp_path / f"{name}.dcm") for name, ds in made.items()}
    store(archive, [pydicom.dcmread(paths["SEG"]), pydicom.dcmread(paths["DOC"])])
    store_web(web, [pydicom.dcmread(paths["SR"])])
    found = {s.modality: s for s in find_web_series(web, patient_id="P1")}
    for name, ds in made.items():
        folder = get_web_series(web, found[name], tmp_path / f"back-{name}")
        (back,) = read_all(folder)
        assert back.SOPInstanceUID == ds.SOPInstanceUID
        back.file_meta = ds.file_meta
        sent = pydicom.dcmread(paths[name])
        assert [e for e in back if e.tag.group != 2] == [e for e in sent if e.tag.group != 2]


def series_of(folder: Path) -> list[Dataset]:
    """Images with the empty elements that exports copy."""
    found = read_all(folder)
    for ds in found:
        for name in ("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "PatientSex", "ReferringPhysicianName"):
            setattr(ds, name, "")
    return found


@pytest.mark.pacs
@pytest.mark.slow
@pytest.mark.hazard("H09")
def test_what_does_not_fit_is_not_kept(orthanc: tuple[Archive, WebArchive], tmp_path: Path) -> None:
    archive, web = replace(orthanc[0], timeout_s=2), orthanc[1]
    made = series(body_ct())
    for ds in made:
        ds.PatientID, ds.StudyInstanceUID, ds.SeriesInstanceUID = "P7", f"{ROOT}.7.2", f"{ROOT}.7.3"
        ds.SOPInstanceUID += ".7"
    store(archive, read_all(save_all(made, tmp_path / "sent")))
    (right,) = find_series(archive, patient_id="P7")
    for wanted, limits, words in (
        (replace(right, patient_id="P2"), Limits(), "another PatientID|did not arrive|did not finish"),
        (replace(right, images=29), Limits(), "not arrive complete"),
        (right, Limits(images=5), "too many images"),
        (right, Limits(bytes=10_000), "too much data"),
    ):
        for get, peer in ((get_series, archive), (get_web_series, web)):
            with pytest.raises(InputError, match=words):
                get(peer, wanted, tmp_path / "out", limits=limits)
            assert [p.name for p in tmp_path.iterdir()] == ["sent"]


class Hostile(BaseHTTPRequestHandler):
    """A DICOMweb server whose answer the test writes."""

    answer: Callable[[Hostile], None]

    def do_GET(self) -> None:
        """Answer as the test says."""
        type(self).answer(self)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def multipart(parts: list[bytes], end: bytes = b"--X--\r\n") -> bytes:
    return b"".join(b"--X\r\nContent-Type: application/dicom\r\n\r\n" + p + b"\r\n" for p in parts) + end


def reply(body: bytes, status: int = 200, **headers: str) -> Callable[[Hostile], None]:
    def answer(self: Hostile) -> None:
        self.send_response(status)
        kind = {"Content_Type": "multipart/related; type=application/dicom; boundary=X", **headers}
        for name, value in kind.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    return answer


def endless(self: Hostile) -> None:
    self.send_response(200)
    self.send_header("Content-Type", "multipart/related; boundary=X")
    self.end_headers()
    try:
        while True:
            self.wfile.write(b"\0" * 65536)
    except OSError:
        return


def slow(self: Hostile) -> None:
    self.send_response(200)
    self.send_header("Content-Type", "multipart/related; boundary=X")
    self.end_headers()
    try:
        for _ in range(100):
            self.wfile.write(b"--X")
            self.wfile.flush()
            time.sleep(0.1)
    except OSError:
        return


@pytest.fixture
def hostile() -> Iterator[WebArchive]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield WebArchive(f"http://127.0.0.1:{server.server_address[1]}/dicom-web", token="secret", timeout_s=3)
    server.shutdown()
    server.server_close()


def objects(tmp_path: Path, change: Callable[[Dataset, int], None] = lambda ds, n: None) -> list[bytes]:
    made = series(body_ct())
    for n, ds in enumerate(made):
        change(ds, n)
    return [p.read_bytes() for p in sorted(save_all(made, tmp_path / "made").iterdir())]


MISBEHAVIOURS: dict[str, Callable[[Path], Callable[[Hostile], None]]] = {
    "another patient": lambda t: reply(multipart(objects(t, lambda ds, n: setattr(ds, "PatientID", "P2")))),
    "one image of another patient": lambda t: reply(
        multipart(objects(t, lambda ds, n: n == 7 and setattr(ds, "PatientID", "P2")))
    ),
    "another series": lambda t: reply(multipart(objects(t, lambda ds, n: setattr(ds, "SeriesInstanceUID", "1.2")))),
    "another study": lambda t: reply(multipart(objects(t, lambda ds, n: setattr(ds, "StudyInstanceUID", "1.2")))),
    "one missing": lambda t: reply(multipart(objects(t)[:-1])),
    "one more": lambda t: reply(multipart([*objects(t), extra(t)])),
    "duplicates": lambda t: reply(multipart([*objects(t), objects(t)[0]])),
    "path as UID": lambda t: reply(multipart(objects(t, lambda ds, n: setattr(ds, "SOPInstanceUID", "../../x")))),
    "no DICOM": lambda t: reply(multipart([b"hello"] * 28)),
    "nothing": lambda t: reply(multipart([])),
    "cut": lambda t: reply(multipart(objects(t), end=b"")),
    "error page": lambda t: reply(b"<html>", 500),
    "redirect": lambda t: reply(b"", 302, Location="http://127.0.0.1:9/steal"),
    "html": lambda t: reply(b"<html></html>", Content_Type="text/html"),
    "unknown packing": lambda t: reply(b"x", Content_Encoding="br"),
    "broken gzip": lambda t: reply(b"not gzip", Content_Encoding="gzip"),
    "gzip bomb": lambda t: reply(gzip.compress(bytes(1 << 20)) * 300, Content_Encoding="gzip"),
    "endless": lambda t: endless,
    "slow": lambda t: slow,
}


def extra(tmp_path: Path) -> bytes:
    ds = series(body_ct())[0]
    ds.SOPInstanceUID += ".9"
    return save(ds, tmp_path / "extra.dcm").read_bytes()


@pytest.mark.hazard("H17")
@pytest.mark.hazard("H09")
@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_a_misbehaving_web_archive_leaves_nothing(hostile: WebArchive, tmp_path: Path, name: str) -> None:
    Hostile.answer = MISBEHAVIOURS[name](tmp_path)
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        get_web_series(hostile, WANTED, tmp_path / "out", limits=Limits(bytes=50_000_000, seconds=2, images=100))
    assert caught.value.code in {"SAC-G090", "SAC-G091", "SAC-E100"}
    assert time.monotonic() - start < 300, "a server must not be able to hold us for ever"
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))
    assert "secret" not in caught.value.sentence


def test_a_well_behaved_answer_is_kept(hostile: WebArchive, tmp_path: Path) -> None:
    for packed in (False, True):
        body = multipart(objects(tmp_path))
        Hostile.answer = reply(gzip.compress(body), Content_Encoding="gzip") if packed else reply(body)
        out = get_web_series(hostile, WANTED, tmp_path / f"out{packed}")
        assert len(list(out.iterdir())) == 28
        assert all(p.stem.isalnum() for p in out.iterdir())


def test_odd_lists_of_series_are_refused(hostile: WebArchive) -> None:
    many = b'[{"00201209":{"vr":"IS","Value":[1e999]},"0020000D":{"vr":"UI","Value":["1.2"]}}]'
    for body in (many, b"{", b"[1]", b'{"a":1}', b'[{"0020000D":{"vr":"UI","Value":["../../x"]}}]', b"[" * 100_000):
        Hostile.answer = reply(body, Content_Type="application/dicom+json")
        with pytest.raises(InputError):
            find_web_series(hostile, patient_id="P1")


def test_what_may_be_asked() -> None:
    for address in ("http://pacs.example.org/x", "ftp://127.0.0.1", "https://", "https://u:p@h/x", "https://h/x?a=b"):
        with pytest.raises(InputError):
            WebArchive(address)
    for uid in ("", "../x", "1.2/3", "1..2", "1." * 40, "1.2\n"):
        with pytest.raises(InputError):
            require_uid(uid)
    for patient in ("", "*", "P?"):
        with pytest.raises(InputError, match="one patient"):
            find_web_series(WebArchive("https://pacs.example.org"), patient_id=patient)
        with pytest.raises(InputError, match="one patient"):
            find_series(Archive("127.0.0.1", 1, "X"), patient_id=patient)


def test_an_absent_archive_is_a_sentence() -> None:
    with pytest.raises(SacroplastyError, match="does not accept the connection"):
        echo(Archive("127.0.0.1", free_port(), "NOBODY", timeout_s=2))
    with pytest.raises(SacroplastyError, match="does not answer"):
        find_web_series(WebArchive(f"http://127.0.0.1:{free_port()}", timeout_s=2), patient_id="P1")


@pytest.mark.hazard("H09")
def test_a_dimse_archive_that_sends_another_patient(tmp_path: Path) -> None:
    from pynetdicom import AE, evt
    from pynetdicom.sop_class import CTImageStorage, StudyRootQueryRetrieveInformationModelGet

    strangers = objects(tmp_path, lambda ds, n: setattr(ds, "PatientID", "P2"))

    def on_get(event: object) -> Iterator[object]:
        yield len(strangers)
        for raw in strangers:
            yield 0xFF00, pydicom.dcmread(io.BytesIO(raw))

    entity = AE(ae_title="BAD")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    entity.add_supported_context(CTImageStorage, scu_role=True, scp_role=True)
    port = free_port()
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_GET, on_get)])
    try:
        with pytest.raises(InputError, match="another PatientID"):
            get_series(Archive("127.0.0.1", port, "BAD", timeout_s=5), WANTED, tmp_path / "out")
    finally:
        server.shutdown()
    assert not (tmp_path / "out").exists()


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for this machine, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("the program openssl is absent")
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
               "-addext", "subjectAltName=DNS:localhost", "-out", str(paths[0]), "-keyout", str(paths[1])]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return paths


def test_tls_is_used_and_a_strange_certificate_refused(tmp_path: Path) -> None:
    import ssl

    from pynetdicom import AE
    from pynetdicom.sop_class import Verification

    right, key = certificate(tmp_path, "right")
    wrong, _ = certificate(tmp_path, "wrong")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(right, key)
    entity = AE(ae_title="SAFE")
    entity.add_supported_context(Verification)
    port = free_port()
    server = entity.start_server(("127.0.0.1", port), block=False, ssl_context=context)
    try:
        echo(Archive("localhost", port, "SAFE", certificate=right, timeout_s=5))
        with pytest.raises(SacroplastyError, match="does not accept"):
            echo(Archive("localhost", port, "SAFE", certificate=wrong, timeout_s=5))
    finally:
        server.shutdown()
