/** A plane through an image: trilinear grey values with a slab, nearest labels; nothing is invented outside the image. */

import { along, cross, inverse, point, scale, vector, type Affine, type Vec3 } from "./geometry";

export interface Image3D {
  readonly array: Int16Array | Uint8Array;
  /** Voxels along i, j, k; i runs fastest in `array`. */
  readonly shape: Vec3;
  readonly patientFromVoxel: Affine;
  readonly voxelFromPatient: Affine;
  readonly spacing_mm: Vec3;
}

/** Where a picture lies: its centre and the patient directions of its right and lower side, unit vectors. */
export interface Plane {
  readonly centre: Vec3;
  readonly right: Vec3;
  readonly down: Vec3;
}

export interface Slab {
  readonly thickness_mm: number;
  readonly mode: "mean" | "maximum";
}

/** Marks pixels that lie outside the image: no CT number at all, which is not the same as air. */
export const NO_DATA = -32768;

/** An image that knows where it is; throws where size and geometry do not agree. */
export function image3d(array: Int16Array | Uint8Array, shape: Vec3, patientFromVoxel: Affine): Image3D {
  if (array.length !== shape[0] * shape[1] * shape[2]) throw new Error("The image's size does not fit its geometry");
  const column = (n: number): number =>
    Math.hypot(patientFromVoxel[n]!, patientFromVoxel[4 + n]!, patientFromVoxel[8 + n]!);
  return {
    array,
    shape,
    patientFromVoxel,
    voxelFromPatient: inverse(patientFromVoxel),
    spacing_mm: [column(0), column(1), column(2)],
  };
}

export const normal = (plane: Plane): Vec3 => cross(plane.right, plane.down);

/** Patient position of a picture's pixel (columns to the right, rows down, centre of the picture in the middle). */
export function patientPoint(plane: Plane, x: number, y: number, width: number, height: number, mmPerPixel: number): Vec3 {
  const toRight = along(plane.centre, plane.right, (x - (width - 1) / 2) * mmPerPixel);
  return along(toRight, plane.down, (y - (height - 1) / 2) * mmPerPixel);
}

interface Walk {
  start: Vec3;
  perColumn: Vec3;
  perRow: Vec3;
}

function walk(image: Image3D, plane: Plane, width: number, height: number, mmPerPixel: number): Walk {
  const m = image.voxelFromPatient;
  return {
    start: point(m, patientPoint(plane, 0, 0, width, height, mmPerPixel)),
    perColumn: vector(m, scale(plane.right, mmPerPixel)),
    perRow: vector(m, scale(plane.down, mmPerPixel)),
  };
}

/** Columns [first, end) of a row for which start + n * step stays within half a voxel of the image. */
function insideColumns(start: Vec3, step: Vec3, shape: Vec3, width: number): [number, number] {
  let first = 0;
  let end = width;
  for (let axis = 0; axis < 3; axis++) {
    const low = -0.5 - start[axis]!;
    const high = shape[axis]! - 0.5 - start[axis]!;
    const d = step[axis]!;
    if (Math.abs(d) < 1e-12) {
      if (low > 0 || high <= 0) return [0, 0];
      continue;
    }
    const [a, b] = d > 0 ? [low / d, high / d] : [high / d, low / d];
    first = Math.max(first, Math.ceil(a));
    end = Math.min(end, Math.ceil(b));
  }
  return first < end ? [first, end] : [0, 0];
}

/** Grey values of a plane, width * height, trilinear; NO_DATA outside the image. */
export function resliced(
  image: Image3D, plane: Plane, width: number, height: number, mmPerPixel: number, slab: Slab, out: Int16Array,
): void {
  const step = Math.min(...image.spacing_mm);
  const layers = Math.max(1, Math.round(slab.thickness_mm / step));
  if (layers === 1) return oneLayer(image, plane, width, height, mmPerPixel, out);
  const sum = new Float32Array(width * height);
  const count = new Uint16Array(width * height);
  const across = normal(plane);
  const maximum = slab.mode === "maximum";
  for (let n = 0; n < layers; n++) {
    const centre = along(plane.centre, across, (n - (layers - 1) / 2) * (slab.thickness_mm / layers));
    oneLayer(image, { ...plane, centre }, width, height, mmPerPixel, out);
    for (let p = 0; p < out.length; p++) {
      const value = out[p]!;
      if (value === NO_DATA) continue;
      sum[p] = maximum ? (count[p] ? Math.max(sum[p]!, value) : value) : sum[p]! + value;
      count[p] = count[p]! + 1;
    }
  }
  for (let p = 0; p < out.length; p++) out[p] = count[p] ? (maximum ? sum[p]! : sum[p]! / count[p]!) : NO_DATA;
}

function oneLayer(
  image: Image3D, plane: Plane, width: number, height: number, mmPerPixel: number, out: Int16Array,
): void {
  const { start, perColumn, perRow } = walk(image, plane, width, height, mmPerPixel);
  const { array, shape } = image;
  const [ni, nj, nk] = shape;
  const row = ni;
  const layer = ni * nj;
  const [di, dj, dk] = perColumn;
  out.fill(NO_DATA);
  for (let y = 0; y < height; y++) {
    const begin = along(start, perRow, y);
    const [first, end] = insideColumns(begin, perColumn, shape, width);
    for (let x = first; x < end; x++) {
      let a = begin[0] + x * di;
      let b = begin[1] + x * dj;
      let c = begin[2] + x * dk;
      a = a < 0 ? 0 : a > ni - 1 ? ni - 1 : a;
      b = b < 0 ? 0 : b > nj - 1 ? nj - 1 : b;
      c = c < 0 ? 0 : c > nk - 1 ? nk - 1 : c;
      const i = a | 0;
      const j = b | 0;
      const k = c | 0;
      const fi = a - i;
      const fj = b - j;
      const fk = c - k;
      const at = i + j * row + k * layer;
      const ri = i < ni - 1 ? 1 : 0;
      const rj = j < nj - 1 ? row : 0;
      const rk = k < nk - 1 ? layer : 0;
      const v00 = array[at]! + fi * (array[at + ri]! - array[at]!);
      const v10 = array[at + rj]! + fi * (array[at + rj + ri]! - array[at + rj]!);
      const up = at + rk;
      const v01 = array[up]! + fi * (array[up + ri]! - array[up]!);
      const v11 = array[up + rj]! + fi * (array[up + rj + ri]! - array[up + rj]!);
      const near = v00 + fj * (v10 - v00);
      const far = v01 + fj * (v11 - v01);
      // Rounded, not cut: a CT number that is read off must not be biased.
      out[y * width + x] = ((near + fk * (far - near) + 32768.5) | 0) - 32768;
    }
  }
}

/** Labels of a plane, width * height, nearest voxel; 0 outside the image. */
export function labelsOn(
  image: Image3D, plane: Plane, width: number, height: number, mmPerPixel: number, out: Uint8Array | Int16Array,
): void {
  const { start, perColumn, perRow } = walk(image, plane, width, height, mmPerPixel);
  const { array, shape } = image;
  const [ni, nj, nk] = shape;
  const [di, dj, dk] = perColumn;
  out.fill(0);
  for (let y = 0; y < height; y++) {
    const begin = along(start, perRow, y);
    const [first, end] = insideColumns(begin, perColumn, shape, width);
    for (let x = first; x < end; x++) {
      const i = Math.min(ni - 1, (begin[0] + x * di + 0.5) | 0);
      const j = Math.min(nj - 1, (begin[1] + x * dj + 0.5) | 0);
      const k = Math.min(nk - 1, (begin[2] + x * dk + 0.5) | 0);
      out[y * width + x] = array[i + j * ni + k * ni * nj]!;
    }
  }
}

/** The image's value at a place, trilinear for grey values; null outside. */
export function valueAt(image: Image3D, place: Vec3): number | null {
  const one = new Int16Array(1);
  oneLayer(image, { centre: place, right: [1, 0, 0], down: [0, 1, 0] }, 1, 1, 1, one);
  return one[0] === NO_DATA ? null : one[0]!;
}

/** Patient position of the image's centre. */
export const centreOf = (image: Image3D): Vec3 =>
  point(image.patientFromVoxel, [(image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2, (image.shape[2] - 1) / 2]);
