"""The page's renderer against vtk.js in headless Chromium with software rendering, on a real pelvis.

Needs node, npm, Chromium, playwright and the real scans. Prints a table and writes workstation_page.csv.
The medians are over 40 frames of 600 x 450 pixels, read back after each; `load` is the machine's load average of the
minute before, `processor_s` what the browser's processes spent on the whole page.
"""

from __future__ import annotations

import csv
import functools
import gzip
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]
VTK = "@kitware/vtk.js@37.4.3"
FLAGS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
RENDERING = {
    "disable-gpu": ["--disable-gpu"],
    "swiftshader": ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"],
}
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
REPEATS = 3


class Folder(http.server.SimpleHTTPRequestHandler):
    """Files under the workstation's own content policy."""

    def end_headers(self) -> None:
        """Add the policy."""
        self.send_header("content-security-policy", POLICY)
        super().end_headers()

    def log_message(self, *words: Any) -> None:
        """Stay quiet."""


def scene(folder: Path) -> None:
    """The CT as bare numbers and its bones as a mesh."""
    from skimage.measure import marching_cubes
    from tests.data import data_root

    from sacroplasty.io import read_ct

    ct = read_ct(data_root() / "acrin" / "ct_pelvis_4.25mm.nii.gz", acknowledge=["all"])
    array = np.rint(np.asarray(ct.array)).astype("<i2")
    matrix = np.asarray(ct.grid.patient_from_voxel.matrix)
    (folder / "ct.raw").write_bytes(array.tobytes(order="F"))
    facts = {"shape": list(array.shape), "patient_from_voxel": matrix.ravel().tolist()}
    (folder / "ct.json").write_text(json.dumps(facts))
    points, faces, _, _ = marching_cubes(array[::2, ::2].astype(np.float32), 250, gradient_direction="ascent")
    points = (points * (2, 2, 1)) @ matrix[:3, :3].T + matrix[:3, 3]
    (folder / "mesh.v").write_bytes(points.astype("<f4").tobytes())
    (folder / "mesh.f").write_bytes(faces.astype("<u4").tobytes())


def bundles(folder: Path) -> dict[str, tuple[int, int]]:
    """Both pages built; bytes of each, bare and gzipped."""
    work = folder / "work"
    shutil.copytree(ROOT / "src/sacroplasty/workstation/page/source", work / "source")
    shutil.copy(HERE / "workstation_page.canvas.ts", work / "own.ts")
    shutil.copy(HERE / "workstation_page.vtk.mjs", work / "vtk.mjs")
    (work / "package.json").write_text("{}")
    subprocess.run(["npm", "install", "--ignore-scripts", VTK, "esbuild@0.28.2"], cwd=work, check=True)
    sizes = {}
    for name, source in (("own", "own.ts"), ("vtk", "vtk.mjs")):
        out = folder / f"{name}.js"
        tool = work / "node_modules/.bin/esbuild"
        options = ["--bundle", "--minify", "--format=esm", "--target=es2022"]
        subprocess.run([tool, source, *options, f"--outfile={out}"], cwd=work, check=True)
        page = f"<!doctype html><title>trial</title><body><script type=module src={name}.js></script></body>"
        (folder / f"{name}.html").write_text(page)
        sizes[name] = (out.stat().st_size, len(gzip.compress(out.read_bytes(), 9)))
    return sizes


def main() -> None:
    """Build, run, print, write."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as play:
        folder = Path(place)
        scene(folder)
        sizes = bundles(folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Folder, directory=place))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        rows = []
        for rendering, flags in RENDERING.items():
            for turn in range(2 * REPEATS):
                renderer = ("own", "vtk")[turn % 2]
                browser = play.chromium.launch(executable_path=chromium, args=[*FLAGS, *flags])
                page = browser.new_page(viewport={"width": 1366, "height": 900})
                load, spent = os.getloadavg()[0], processor_s(browser)
                page.goto(f"http://127.0.0.1:{server.server_port}/{renderer}.html")
                page.wait_for_selector("body[data-done]", timeout=300_000)
                found = row(rendering, renderer, turn // 2 + 1, sizes[renderer], page.evaluate("window.result"))
                rows.append({**found, "processor_s": round(processor_s(browser) - spent, 1), "load": round(load, 1)})
                print(rows[-1], flush=True)
                browser.close()
    with (HERE / "workstation_page.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def processor_s(browser: Any) -> float:
    """Processor time of every process of the browser."""
    session = browser.new_browser_cdp_session()
    found = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return sum(float(one["cpuTime"]) for one in found)


def row(rendering: str, renderer: str, run: int, size: tuple[int, int], result: dict[str, Any]) -> dict[str, Any]:
    """One line of the table; times in ms."""
    frames = {
        f"{name}_{figure}_ms": round(result[name][figure], 1)
        for name in ("slider_one", "slider_three", "oblique", "mesh_frame")
        for figure in ("median", "p95")
    }
    return {
        "rendering": rendering, "renderer": renderer, "run": run, "bundle_bytes": size[0], "bundle_gzip_bytes": size[1],
        "data_loaded_ms": round(result["loaded"]), "three_slices_painted_ms": round(result["first"]), **frames,
        "mesh_first_ms": round(result["mesh_first"]),
    }  # fmt: skip


if __name__ == "__main__":
    main()
