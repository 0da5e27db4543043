"""The shipped page is what its sources build to, small, self-contained, and slices an image where it should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from tests.data import ROOT

PAGE = ROOT / "src" / "sacroplasty" / "workstation" / "page"
STATIC = PAGE.parent / "static"
LARGEST_BYTES = 3_000_000
# Names of XML namespaces are no addresses; nothing is fetched from them.
NAMESPACE = re.compile(r"https?://www\.w3\.org/[\w/.-]+")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with the locked tools; skips where there is no node, or no way to get the tools."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are absent: the page cannot be built here")
    place = tmp_path_factory.mktemp("page")
    for name in ("package.json", "package-lock.json", "tsconfig.json", "build.mjs"):
        shutil.copy(PAGE / name, place)
    shutil.copytree(PAGE / "source", place / "source")
    if (PAGE / "node_modules").is_dir():
        (place / "node_modules").symlink_to(PAGE / "node_modules")
        return place
    got = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit"], cwd=place, capture_output=True, text=True)
    if got.returncode:
        pytest.skip(f"the page's locked tools cannot be installed here: {got.stderr.strip().splitlines()[-1:]}")
    return place


def test_the_bundle_is_what_the_sources_build_to(workshop: Path, tmp_path: Path) -> None:
    built = subprocess.run(
        ["node", "build.mjs", str(tmp_path / "static")], cwd=workshop, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    fresh, shipped = files(tmp_path / "static"), files(STATIC)
    assert sorted(fresh) == sorted(shipped)
    assert [name for name in fresh if fresh[name] != shipped[name]] == []


def test_the_sources_are_typed(workshop: Path) -> None:
    checked = subprocess.run(["npx", "--no-install", "tsc", "--noEmit"], cwd=workshop, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout[-2000:]


def test_the_bundle_is_small_and_asks_nobody_else() -> None:
    shipped = files(STATIC)
    assert sum(map(len, shipped.values())) < LARGEST_BYTES
    for name in ("index.html", "assets/page.js", "assets/style.css", "assets/mark.svg"):
        text = NAMESPACE.sub("", shipped[name].decode())
        assert re.findall(r"https?://[\w.-]+", text) == [], name


def test_nothing_needs_a_loose_content_policy() -> None:
    html = (STATIC / "index.html").read_text(encoding="utf-8")
    script = (STATIC / "assets" / "page.js").read_text(encoding="utf-8")
    assert re.search(r"<script(?![^>]*\bsrc=)", html) is None
    assert re.search(r"<style|\sstyle=|\son\w+=", html) is None
    assert re.search(r"\beval\(|new Function\(|\.innerHTML\s*=\s*[\"'`]<script", script) is None


def test_the_bundle_names_the_licences_of_what_it_contains() -> None:
    text = (STATIC / "assets" / "licences.txt").read_text(encoding="utf-8")
    wanted = json.loads((PAGE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    for name, version in wanted.items():
        assert f"{name} {version}" in text
    assert text.count("MIT License") >= len(wanted)


PROBE = """
import { image3d, labelsOn, NO_DATA, resliced } from "./source/reslice";
import { letters, inverse } from "./source/geometry";
import { planeOf, rotated, STRAIGHT } from "./source/viewer";
import { readFileSync } from "node:fs";
const asked = JSON.parse(readFileSync(0, "utf8"));
const image = image3d(Int16Array.from(asked.values), asked.shape, asked.affine);
const planes = asked.turns.map(([fixed, angle]) => rotated(STRAIGHT, fixed, angle)).flatMap((all) =>
  ["axial", "sagittal", "coronal"].map((name) => planeOf(name, all, asked.through, asked.through)));
const pictures = planes.map((plane) => {
  const out = new Int16Array(asked.width * asked.height);
  resliced(image, plane, asked.width, asked.height, asked.mm, { thickness_mm: 0, mode: "mean" }, out);
  const labels = new Int16Array(asked.width * asked.height);
  labelsOn(image, plane, asked.width, asked.height, asked.mm, labels);
  return { plane, out: [...out], labels: [...labels], sides: [letters(plane.right), letters(plane.down)] };
});
console.log(JSON.stringify({ pictures, none: NO_DATA, back: inverse(inverse(asked.affine)) }));
"""


@pytest.fixture(scope="module")
def sliced(workshop: Path) -> tuple[dict, dict]:
    """Slices of a smooth oblique volume as the page makes them, and what was asked."""
    rng = np.random.default_rng(5)
    shape = (23, 31, 17)
    values = np.rint(ndimage.gaussian_filter(rng.normal(size=shape), 2) * 20000).astype(np.int16)
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = axes * (1.0, 0.8, 2.1)
    affine[:3, 3] = (40, -25, 310)
    through = (affine @ [11, 15, 8, 1])[:3]
    asked = {
        "values": values.ravel(order="F").tolist(), "shape": shape, "affine": affine.ravel().tolist(),
        "through": through.tolist(), "width": 40, "height": 33, "mm": 0.9,
        "turns": [["axial", 0.0], ["axial", 0.4], ["sagittal", -0.7], ["coronal", 0.25]],
    }  # fmt: skip
    (workshop / "probe.ts").write_text(PROBE, encoding="utf-8")
    esbuild = workshop / "node_modules" / ".bin" / "esbuild"
    made = subprocess.run(
        [str(esbuild), "probe.ts", "--bundle", "--platform=node", "--format=esm", "--outfile=probe.mjs"],
        cwd=workshop, capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    ran = subprocess.run(["node", "probe.mjs"], cwd=workshop, input=json.dumps(asked), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return {**asked, "array": values, "matrix": affine}, json.loads(ran.stdout)


def voxels_of(asked: dict, plane: dict) -> np.ndarray:
    """Voxel coordinates (rows, columns, 3) of a picture's pixels, by the definition of a plane."""
    x = (np.arange(asked["width"]) - (asked["width"] - 1) / 2) * asked["mm"]
    y = (np.arange(asked["height"]) - (asked["height"] - 1) / 2) * asked["mm"]
    places = np.asarray(plane["centre"]) + x[None, :, None] * plane["right"] + y[:, None, None] * plane["down"]
    inverse = np.linalg.inv(asked["matrix"])
    return places @ inverse[:3, :3].T + inverse[:3, 3]


def test_slices_hold_the_values_that_lie_there(sliced: tuple[dict, dict]) -> None:
    asked, answer = sliced
    size = np.asarray(asked["shape"])
    for picture in answer["pictures"]:
        at = voxels_of(asked, picture["plane"])
        truth = ndimage.map_coordinates(asked["array"].astype(float), np.moveaxis(at, -1, 0), order=1, mode="nearest")
        shown = np.reshape(picture["out"], truth.shape)
        inside = ((at > -0.499) & (at < size - 0.501)).all(axis=-1)
        outside = ((at < -0.501) | (at > size - 0.499)).any(axis=-1)
        assert inside.any()
        assert (shown[outside] == answer["none"]).all()
        np.testing.assert_allclose(shown[inside], truth[inside], atol=0.501)  # whole numbers


def test_labels_are_those_of_the_nearest_voxel(sliced: tuple[dict, dict]) -> None:
    asked, answer = sliced
    for picture in answer["pictures"]:
        at = voxels_of(asked, picture["plane"])
        nearest = np.floor(at + 0.5).astype(int)
        clear = (np.abs(at + 0.5 - np.round(at + 0.5)) > 1e-6).all(axis=-1)
        inside = clear & ((nearest >= 0) & (nearest < asked["shape"])).all(axis=-1)
        truth = asked["array"][tuple(nearest[inside].T)]
        assert (np.reshape(picture["labels"], inside.shape)[inside] == truth).all()


def test_pictures_follow_the_radiological_convention(sliced: tuple[dict, dict]) -> None:
    asked, answer = sliced
    axial, sagittal, coronal = answer["pictures"][:3]
    assert axial["sides"] == ["L", "P"]
    assert sagittal["sides"] == ["P", "F"]
    assert coronal["sides"] == ["L", "F"]
    for picture in answer["pictures"]:
        right, down = picture["plane"]["right"], picture["plane"]["down"]
        assert np.isclose(np.linalg.norm(right), 1)
        assert np.isclose(np.dot(right, down), 0)
    # Turning the lines in a pane leaves that pane's own picture as it is.
    for number, (fixed, _) in enumerate(asked["turns"]):
        own = answer["pictures"][3 * number + ["axial", "sagittal", "coronal"].index(fixed)]
        assert own["sides"] == answer["pictures"][["axial", "sagittal", "coronal"].index(fixed)]["sides"]
    np.testing.assert_allclose(np.reshape(answer["back"], (4, 4)), asked["matrix"], atol=1e-9)
