"""The whole way to a real Orthanc and back under TLS, by DIMSE and by DICOMweb."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest

from sacroplasty.errors import SacroplastyError
from sacroplasty.io import read_series
from sacroplasty.io.pacs_dimse import Archive, echo, find_series, get_series, store
from sacroplasty.io.pacs_web import WebArchive, find_web_series, get_web_series
from tests.io.made_dicom import body_ct, save_all, series
from tests.io.test_pacs import PLUGIN, certificate, free_port, read_all, series_of


def tls_front(pem: Path, key: Path, port: int) -> socket.socket:
    """A TLS socket that passes everything to a plain port, as a reverse proxy before an archive does.

    Orthanc 1.10.1 of Debian 12 ends at the first request when it speaks HTTPS itself.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(65536):
                sink.sendall(block)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _ = listener.accept()
                try:
                    link = context.wrap_socket(raw, server_side=True)
                except OSError:
                    continue
                inner = socket.create_connection(("127.0.0.1", port))
                for pair in ((link, inner), (inner, link)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return listener


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Archive, WebArchive]]:
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None:
        pytest.skip("the program Orthanc is absent")
    folder = tmp_path_factory.mktemp("secure")
    pem, key = certificate(folder, "own")
    web, dicom = free_port(), free_port()
    config = {"StorageDirectory": str(folder / "s"), "IndexDirectory": str(folder / "s"), "HttpPort": web,
              "DicomPort": dicom, "DicomAet": "ORTHANC", "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
              "DicomAlwaysAllowGet": True, "DicomAlwaysAllowFind": True, "Plugins": [str(PLUGIN)],
              "DicomTlsEnabled": True, "DicomTlsCertificate": str(pem), "DicomTlsPrivateKey": str(key),
              "DicomTlsTrustedCertificates": str(pem), "DicomTlsRemoteCertificateRequired": False,
              "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}}  # fmt: skip
    (folder / "c.json").write_text(json.dumps(config), encoding="utf-8")
    server = subprocess.Popen([program, str(folder / "c.json")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    archive = Archive("localhost", dicom, "ORTHANC", certificate=pem)
    try:
        for _ in range(100):
            try:
                echo(archive)
                break
            except SacroplastyError:
                time.sleep(0.2)
        front = tls_front(pem, key, web)
        address = f"https://localhost:{front.getsockname()[1]}/dicom-web"
        yield archive, WebArchive(address, certificate=pem)
        front.close()
    finally:
        server.terminate()
        server.wait()


@pytest.mark.pacs
@pytest.mark.slow
def test_scan_and_plan_there_and_back_under_tls(secure: tuple[Archive, WebArchive], tmp_path: Path) -> None:
    exports = pytest.importorskip("tests.report.test_dicom_export")
    from sacroplasty.report.dicom_export import encapsulated_pdf, measurement_report, segmentation
    from sacroplasty.report.dicom_presentation import presentation_state

    archive, web = secure
    ct, when = body_ct(), datetime(2026, 3, 4)
    store(archive, read_all(save_all(series(ct), tmp_path / "sent")))
    source = series_of(tmp_path / "sent")
    made = {
        "SEG": segmentation(exports.small_labels(ct), source, when),
        "SR": measurement_report(exports.small_plan(), source, when),
        "DOC": encapsulated_pdf(b"%PDF-1.4 test", source, when, title="Plan"),
        "PR": presentation_state(exports.small_plan(), source, when),
    }
    sent = {name: pydicom.dcmread(exports.saved(ds, tmp_path / f"{name}.dcm")) for name, ds in made.items()}
    store(archive, list(sent.values()))
    for listed, get, peer, way in (
        (find_series(archive, patient_id="P1"), get_series, archive, "dimse"),
        (find_web_series(web, patient_id="P1"), get_web_series, web, "web"),
    ):
        found = {one.modality: one for one in listed}
        assert found.keys() == {"CT", *made}
        scan = read_series(get(peer, found["CT"], tmp_path / f"ct-{way}"))
        assert scan.volume.grid.same_as(ct.grid)
        np.testing.assert_array_equal(scan.volume.array, ct.array)
        for name, ds in sent.items():
            (back,) = read_all(get(peer, found[name], tmp_path / f"{name}-{way}"))
            assert [e for e in back if e.tag.group != 2] == [e for e in ds if e.tag.group != 2]


@pytest.mark.pacs
@pytest.mark.slow
def test_a_strange_certificate_ends_the_talk(secure: tuple[Archive, WebArchive], tmp_path: Path) -> None:
    archive, web = secure
    other, _ = certificate(tmp_path, "other")
    with pytest.raises(SacroplastyError, match="does not accept"):
        echo(Archive("localhost", archive.port, "ORTHANC", certificate=other, timeout_s=5))
    with pytest.raises(SacroplastyError, match="does not answer"):
        find_web_series(WebArchive(web.address, certificate=other, timeout_s=5), patient_id="P1")
