"""Speed and agreement of the projector on a pelvis of 448 x 376 x 400 voxels of 0.8 mm, 512 x 512 detector.

Peers in the same run where they are installed: itk-rtk's Joseph and nanodrr's sampling on the CPU (`pip install itk-rtk
nanodrr`; about 3 GB, so no part of the development lock), and our GPU path where a CUDA device is there. Agreement is
against a trilinear reference sampled every 0.2 mm on random rays. Times are medians, all on the same cores.

Run: python benchmarks/fluoroscopy_projector.py; writes benchmarks/fluoroscopy_projector.csv
"""

from __future__ import annotations

import csv
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fluoroscopy.scene import real_ct

from sacroplasty.fluoroscopy import CArm, PackedVolume, View, line_integrals
from sacroplasty.fluoroscopy.joseph import line_integrals_by_ray
from sacroplasty.fluoroscopy.material import attenuation_per_mm
from sacroplasty.space import Grid, Volume

VIEWS = {"AP": (180, 0), "lateral": (90, 0), "inlet": (180, -40), "outlet": (180, 45), "oblique": (150, 10)}
RAYS = 600


def reference(mu: Volume, view: View, pixels: np.ndarray) -> np.ndarray:
    """Trilinear field, zero outside, summed every 0.2 mm along rays."""
    rays, sums = view.rays(pixels), []
    distances = np.arange(350.0, view.carm.source_detector_mm, 0.2)
    for ray in rays:
        points = view.source_mm + distances[:, None] * ray
        index = mu.grid.voxel_from_patient.points(points).T
        sums.append(ndimage.map_coordinates(mu.array, index, order=1, mode="grid-constant").sum() * 0.2)
    return np.array(sums)


def timed(project, packed, view, repeats: int = 5) -> tuple[float, float, np.ndarray]:
    """Median wall and CPU milliseconds, and the image."""
    image = project(packed, view)
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        image = project(packed, view)
        walls.append(1e3 * (time.perf_counter() - wall))
        cpus.append(1e3 * (time.process_time() - cpu))
    return float(np.median(walls)), float(np.median(cpus)), image


def rtk_projector(mu: Volume) -> Callable[[object, View], np.ndarray] | None:
    """itk-rtk's Joseph projector of a volume; None where it is not installed."""
    if importlib.util.find_spec("itk") is None:
        return None
    import itk
    from itk import RTK as rtk

    kind = itk.Image[itk.F, 3]
    image = itk.image_from_array(np.ascontiguousarray(mu.array.transpose(2, 1, 0), dtype=np.float32))
    image.SetSpacing([float(v) for v in mu.grid.spacing_mm])
    image.SetOrigin([float(v) for v in mu.grid.patient_from_voxel.points((0.0, 0.0, 0.0))])

    def project(_: object, view: View) -> np.ndarray:
        # Its detectors face the source: rows run upwards, so the shot is turned over at the end.
        corner, right, up = view.detector_points_mm([[0.0, 511.0], [1.0, 511.0], [0.0, 510.0]])
        pixel_mm = view.carm.pixel_mm
        geometry = rtk.ThreeDCircularProjectionGeometry.New()
        placed = (view.source_mm, corner, (right - corner) / pixel_mm, (up - corner) / pixel_mm)
        assert geometry.AddProjection(*([float(x) for x in v] for v in placed))
        stack = rtk.ConstantImageSource[kind].New()
        stack.SetOrigin([0.0, 0.0, 0.0])
        stack.SetSpacing([pixel_mm, pixel_mm, 1.0])
        stack.SetSize([512, 512, 1])
        joseph = rtk.JosephForwardProjectionImageFilter[kind, kind].New()
        joseph.SetGeometry(geometry)
        joseph.SetInput(0, stack.GetOutput())
        joseph.SetInput(1, image)
        joseph.Update()
        return np.asarray(itk.array_from_image(joseph.GetOutput()))[0, ::-1]

    return project


def nanodrr_projector(mu: Volume) -> Callable[[object, View], np.ndarray] | None:
    """nanodrr's projector of a volume on the CPU, 500 samples per ray; None where it is not installed."""
    if importlib.util.find_spec("nanodrr") is None:
        return None
    import torch
    import torchio
    from nanodrr.data import Subject
    from nanodrr.drr import render

    image = torchio.ScalarImage(tensor=torch.from_numpy(np.array(mu.array))[None], affine=mu.grid.affine_lps)
    subject = Subject.from_images(image, convert_to_mu=False)

    def project(_: object, view: View) -> np.ndarray:
        # Its pixel centres lie at half numbers; ours at whole ones.
        focal = view.carm.source_detector_mm / view.carm.pixel_mm
        intrinsic = np.array([[focal, 0, view.carm.columns / 2], [0, focal, view.carm.rows / 2], [0, 0, 1.0]])
        with torch.no_grad():
            shot = render(
                subject, torch.from_numpy(np.linalg.inv(intrinsic))[None].float(),
                torch.from_numpy(np.array(view.camera_from_patient.inverse.matrix))[None].float(),
                torch.tensor([view.carm.source_detector_mm]), view.carm.rows, view.carm.columns,
            )  # fmt: skip
        return shot[0, 0].numpy()

    return project


def gpu_projector() -> Callable[[PackedVolume, View], np.ndarray] | None:
    """Our ray-driven Joseph on a GPU; None where numba finds no CUDA device."""
    from numba import cuda

    if not cuda.is_available():
        return None
    return lambda packed, view: line_integrals(packed, view, device="gpu")


def main() -> None:
    """Print the table and write the CSV."""
    ct = real_ct("totalsegmentator/ct_3mm.nii.gz")
    low = ct.grid.bounds_mm[0]
    grid = Grid.aligned(low, low + 0.8 * np.array([447, 375, 399]), 0.8)
    fine = ct.resampled(grid, order=1)
    mu = attenuation_per_mm(fine, 65.0)
    packed = PackedVolume.of(mu)
    peers = {
        "ray-driven Joseph, GPU": gpu_projector(),
        "itk-rtk Joseph": rtk_projector(mu),
        "nanodrr, 500 samples": nanodrr_projector(mu),
    }
    centre = (grid.bounds_mm[0] + grid.bounds_mm[1]) / 2 + np.array([0.0, 20.0, -10.0])
    rng, rows = np.random.default_rng(0), []
    for name, (primary, secondary) in VIEWS.items():
        view = View(CArm.profile(), primary, secondary, centre, name=name)
        pixels = rng.integers(0, 512, (RAYS, 2))
        truth = reference(mu, view, pixels.astype(float))
        for label, project, repeats in (
            ("shear-warp 0.5 mm", line_integrals, 5),
            ("shear-warp 0.8 mm", lambda p, v: line_integrals(p, v, 0.8), 5),
            ("ray-driven Joseph", line_integrals_by_ray, 1),
            *((label, project, 3) for label, project in peers.items() if project is not None),
        ):
            wall, cpu, image = timed(project, packed, view, repeats)
            got = image[pixels[:, 1], pixels[:, 0]]
            ncc = float(np.corrcoef(got, truth)[0, 1])
            rms = float(np.sqrt(np.mean((got - truth) ** 2) / np.mean(truth**2)))
            rows.append([name, label, f"{wall:.0f}", f"{cpu:.0f}", f"{ncc:.6f}", f"{rms:.1e}"])
            print(rows[-1], flush=True)
    with Path(__file__).with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["view", "projector", "wall_ms", "cpu_ms", "ncc", "relative_rms"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
