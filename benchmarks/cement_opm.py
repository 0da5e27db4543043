"""Side by side with OPM Flow: four 40³ decks, the same pressure and transport problem, fully implicit there.

Prints a table and writes benchmarks/cement_opm.csv. Skipped where the command `flow` is absent. OPM takes minutes a
case: with --keep its answers are stored in a folder and used again, so that the table can follow our solver. Usage:
    python benchmarks/cement_opm.py [--keep FOLDER] [case ...]
"""

from __future__ import annotations

import csv
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from sacroplasty.cement import Medium, Source, inject

N, SIDE_MM, VOLUME_ML, RATE_ML_S, CEMENT, MARROW = 40, 40.0, 4.0, 0.05, 50.0, 0.1
STEPS = 40
DARCY = 9.869233e-13
ATM = 101325.0
PINNED_MULTIPLIER = 1e10


def blocks() -> dict[str, tuple[np.ndarray, np.ndarray, tuple[int, int, int]]]:
    """Permeability (n, n, n, 3) in m², porosity, and the source voxel of every case."""
    shape = (N, N, N)
    porosity = np.full(shape, 0.85)
    homogeneous = np.full((*shape, 3), 5e-9)
    anisotropic = homogeneous * np.array([0.78, 1.0, 1.0])
    rng = np.random.default_rng(11)
    field = ndimage.gaussian_filter(rng.standard_normal(shape), 2.0)
    scalar = 5e-9 * 10 ** (0.5 * field / field.std())
    g = np.arange(N)
    x, y, z = np.meshgrid(g, g, g, indexing="ij")
    shell = (np.maximum(np.maximum(abs(x - 19.5), abs(y - 19.5)), abs(z - 19.5)) > 15) & (
        np.maximum(np.maximum(abs(x - 19.5), abs(y - 19.5)), abs(z - 19.5)) < 17
    )
    scalar[shell] = 1e-13
    ball = (x - 24) ** 2 + (y - 20) ** 2 + (z - 20) ** 2 < 36
    scalar[ball] = 5e-8
    scalar[shell & (abs(y - 20) < 3) & (abs(z - 20) < 3) & (x > 20)] = 1e-8
    scalar[(abs(y - 14) < 1) & (abs(z - 20) < 1) & (x < 20)] = 1.5e-8
    heterogeneous = np.repeat(scalar[..., None], 3, axis=3)
    return {
        "homogeneous": (homogeneous, porosity, (20, 20, 20)),
        "anisotropic": (anisotropic, porosity, (20, 20, 20)),
        "heterogeneous": (heterogeneous, porosity, (17, 20, 20)),
        "leak": (heterogeneous, porosity, (28, 20, 20)),
    }


def ours(name: str, updates: int = 16) -> dict[str, object]:
    """Our solver on one case; CPU seconds after compilation. Cement beyond the rim voxels has escaped."""
    permeability, porosity, cell = blocks()[name]
    rim = np.ones(porosity.shape, np.int32)
    rim[1:-1, 1:-1, 1:-1] = 0
    medium = Medium(permeability, porosity, SIDE_MM / N, outlet=rim, open_rim=False)
    source = Source.at(cell, 0.9)
    options = {"rate_ml_s": RATE_ML_S, "cement": CEMENT, "marrow_pa_s": MARROW}
    inject(medium, source, volume_ml=0.05, **options)
    start = time.process_time()
    result = inject(medium, source, volume_ml=VOLUME_ML, updates=updates, **options)
    return {
        "cpu": time.process_time() - start,
        "saturation": result.saturation,
        "pressure": float(result.voxel_pressure_pa[-1]),
        "escaped": float(result.escaped_ml.sum() + (result.saturation * porosity)[rim > 0].sum() / 1000),
    }


def deck(name: str) -> str:
    """The Eclipse deck (LAB units) of one case: water is the cement, oil the marrow, straight-line relperms."""
    permeability, porosity, (i, j, k) = blocks()[name]

    def listed(array: np.ndarray) -> str:
        flat = array.ravel(order="F")
        return "\n".join(" ".join(f"{v:.7g}" for v in flat[n : n + 8]) for n in range(0, flat.size, 8)) + " /\n"

    rim = np.full(porosity.shape, PINNED_MULTIPLIER)
    rim[1:-1, 1:-1, 1:-1] = 1.0
    h_cm = SIDE_MM / N / 10
    hours = VOLUME_ML / RATE_ML_S / 3600 / STEPS
    cells = N**3
    # A coarse analytic well would add its own radius: the injector's connection factor only shifts its BHP.
    return f"""RUNSPEC
DIMENS
{N} {N} {N} /
OIL
WATER
LAB
START
1 'JAN' 2020 /
WELLDIMS
1 1 1 1 /
TABDIMS
/
UNIFOUT
GRID
INIT
DX
{cells}*{h_cm} /
DY
{cells}*{h_cm} /
DZ
{cells}*{h_cm} /
TOPS
{N * N}*100 /
PORO
{listed(porosity)}PERMX
{listed(permeability[..., 0] / DARCY * 1000)}PERMY
{listed(permeability[..., 1] / DARCY * 1000)}PERMZ
{listed(permeability[..., 2] / DARCY * 1000)}MULTPV
{listed(rim)}PROPS
DENSITY
1.0 1.0 0.001 /
PVTW
1 1 1e-12 {CEMENT * 1000} 0 /
PVDO
0.0001 1.0 {MARROW * 1000}
100000 0.99999999 {MARROW * 1000} /
ROCK
1 1e-12 /
SWOF
0 0 1 0
1 1 0 0 /
SOLUTION
PRESSURE
{cells}*10 /
SWAT
{cells}*0 /
SUMMARY
RPTONLY
SCHEDULE
RPTRST
BASIC=2 /
WELSPECS
'I' 'G' {i + 1} {j + 1} 100 WATER /
/
COMPDAT
'I' {i + 1} {j + 1} {k + 1} {k + 1} OPEN 1* 1* 0.02 /
/
WCONINJE
'I' WATER OPEN RATE {RATE_ML_S * 3600} 1* 1000000 /
/
TSTEP
{STEPS}*{hours:.9f} /
END
"""


def last_record(path: Path, name: str) -> np.ndarray:
    """The last array of a name in an Eclipse unified restart file (big-endian Fortran records)."""
    data, at, found = path.read_bytes(), 0, None
    sizes = {"INTE": ("i4", 4), "REAL": ("f4", 4), "DOUB": ("f8", 8), "LOGI": ("i4", 4), "CHAR": ("S8", 8)}
    while at < len(data):
        keyword = data[at + 4 : at + 12].decode().strip()
        count = struct.unpack(">i", data[at + 12 : at + 16])[0]
        kind = data[at + 16 : at + 20].decode()
        at += 24
        parts, left = [], count
        if kind == "MESS":
            continue
        code, width = sizes.get(kind, ("S1", int(kind[1:]) if kind.startswith("C0") else 8))
        while left > 0:
            length = struct.unpack(">i", data[at : at + 4])[0]
            if keyword == name:
                parts.append(np.frombuffer(data, ">" + code, length // width, at + 4))
            left -= length // width
            at += length + 8
        if keyword == name:
            found = np.concatenate(parts)
    if found is None:
        raise SystemExit(f"{path} has no {name}")
    return found.astype(np.float64)


def theirs(name: str) -> dict[str, object]:
    """OPM Flow on one case, one thread."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "CASE.DATA").write_text(deck(name))
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        done = subprocess.run(
            ["flow", "CASE.DATA", "--threads-per-process=1", "--output-dir=out", "--enable-terminal-output=false"],
            cwd=place, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
        cpu = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        restart = place / "out" / "CASE.UNRST"
        shape = (N, N, N)
        saturation = last_record(restart, "SWAT").reshape(shape, order="F")
        pressure = last_record(restart, "PRESSURE").reshape(shape, order="F") * ATM
    cell = blocks()[name][2]
    inner = np.zeros(shape, np.bool_)
    inner[1:-1, 1:-1, 1:-1] = True
    inside = float((saturation * blocks()[name][1])[inner].sum() / 1000)
    return {
        "cpu": cpu,
        "saturation": saturation * inner,
        "pressure": float(pressure[cell] - pressure[0, 0, 0]),
        "escaped": VOLUME_ML - inside,
    }


def kept(name: str, folder: Path | None) -> dict[str, object]:
    """OPM's answer from the folder, or a new one, which is then stored there."""
    file = None if folder is None else folder / f"opm_{name}.npz"
    if file is not None and file.exists():
        with np.load(file) as stored:
            return {key: stored[key] if stored[key].ndim else float(stored[key]) for key in stored.files}
    found = theirs(name)
    if file is not None:
        np.savez_compressed(file, **found)
    return found


def compared(name: str, folder: Path | None) -> dict[str, object]:
    """One line of the table."""
    a, b = ours(name), kept(name, folder)
    left, right = a["saturation"] > 0.5, b["saturation"] > 0.5
    dice = 2 * (left & right).sum() / (left.sum() + right.sum())
    edges = [m & ~ndimage.binary_erosion(m) for m in (left, right)]
    far = [ndimage.distance_transform_edt(~e) * SIDE_MM / N for e in edges]
    surface = (far[1][edges[0]].mean() + far[0][edges[1]].mean()) / 2
    return {
        "case": name,
        "dice": round(float(dice), 4),
        "surface_mm": round(float(surface), 3),
        "misplaced_percent": round(
            float(100 * abs(a["saturation"] - b["saturation"]).sum() / 2 / b["saturation"].sum()), 2
        ),
        "source_pressure_kpa": round(a["pressure"] / 1e3, 2),
        "source_pressure_opm_kpa": round(b["pressure"] / 1e3, 2),
        "escaped_ml": round(a["escaped"], 4),
        "escaped_opm_ml": round(b["escaped"], 4),
        "cpu_s": round(a["cpu"], 2),
        "cpu_opm_s": round(b["cpu"], 1),
        "cpu_ratio": round(b["cpu"] / a["cpu"]),
    }


def main() -> None:
    """Runs the cases named on the command line, all without."""
    if shutil.which("flow") is None:
        print("OPM Flow (command `flow`) is not installed: nothing compared")
        return
    arguments, folder = sys.argv[1:], None
    if arguments[:1] == ["--keep"]:
        folder, arguments = Path(arguments[1]), arguments[2:]
    rows = []
    for name in arguments or list(blocks()):
        rows.append(compared(name, folder))
        print(rows[-1], flush=True)
    with (Path(__file__).parent / "cement_opm.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
