/** Vectors and affine maps in patient LPS millimetres: +x left, +y posterior, +z superior. */

export type Vec3 = readonly [number, number, number];
/** Row-major 4 x 4. */
export type Affine = readonly number[];

export const add = (a: Vec3, b: Vec3): Vec3 => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
export const sub = (a: Vec3, b: Vec3): Vec3 => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
export const scale = (a: Vec3, s: number): Vec3 => [a[0] * s, a[1] * s, a[2] * s];
export const dot = (a: Vec3, b: Vec3): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a: Vec3, b: Vec3): Vec3 => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];
export const norm = (a: Vec3): number => Math.hypot(a[0], a[1], a[2]);
export const along = (a: Vec3, direction: Vec3, distance: number): Vec3 => add(a, scale(direction, distance));
export const lerp = (a: Vec3, b: Vec3, t: number): Vec3 => along(a, sub(b, a), t);

/** Unit vector; refuses the null vector, which has no direction. */
export function unit(a: Vec3): Vec3 {
  const length = norm(a);
  if (!(length > 1e-9)) throw new Error("A direction of length zero");
  return scale(a, 1 / length);
}

/** `a` turned about the unit `axis` by `angle_rad`, right-handed. */
export function turned(a: Vec3, axis: Vec3, angle_rad: number): Vec3 {
  const c = Math.cos(angle_rad);
  const s = Math.sin(angle_rad);
  return add(add(scale(a, c), scale(cross(axis, a), s)), scale(axis, dot(axis, a) * (1 - c)));
}

export const point = (m: Affine, p: Vec3): Vec3 => [
  m[0]! * p[0] + m[1]! * p[1] + m[2]! * p[2] + m[3]!,
  m[4]! * p[0] + m[5]! * p[1] + m[6]! * p[2] + m[7]!,
  m[8]! * p[0] + m[9]! * p[1] + m[10]! * p[2] + m[11]!,
];

export const vector = (m: Affine, v: Vec3): Vec3 => [
  m[0]! * v[0] + m[1]! * v[1] + m[2]! * v[2],
  m[4]! * v[0] + m[5]! * v[1] + m[6]! * v[2],
  m[8]! * v[0] + m[9]! * v[1] + m[10]! * v[2],
];

/** The inverse of an affine map; refuses a singular one. */
export function inverse(m: Affine): Affine {
  const [a, b, c, d, e, f, g, h, i] = [m[0]!, m[1]!, m[2]!, m[4]!, m[5]!, m[6]!, m[8]!, m[9]!, m[10]!];
  const determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  if (!(Math.abs(determinant) > 1e-12)) throw new Error("The image's geometry cannot be inverted");
  const s = 1 / determinant;
  const linear = [
    (e * i - f * h) * s, (c * h - b * i) * s, (b * f - c * e) * s,
    (f * g - d * i) * s, (a * i - c * g) * s, (c * d - a * f) * s,
    (d * h - e * g) * s, (b * g - a * h) * s, (a * e - b * d) * s,
  ] as const;
  const t: Vec3 = [m[3]!, m[7]!, m[11]!];
  const row = (r: number): [number, number, number, number] => {
    const [x, y, z] = [linear[3 * r]!, linear[3 * r + 1]!, linear[3 * r + 2]!];
    return [x, y, z, -(x * t[0] + y * t[1] + z * t[2])];
  };
  return [...row(0), ...row(1), ...row(2), 0, 0, 0, 1];
}

const LETTERS = [["L", "R"], ["P", "A"], ["H", "F"]] as const;
/** A direction whose second component is below this gets one letter. */
const SECOND_LETTER = 0.38;

/** Patient orientation letters of a direction, strongest first: R L A P F H. */
export function letters(direction: Vec3): string {
  const d = unit(direction);
  return [0, 1, 2]
    .sort((p, q) => Math.abs(d[q]!) - Math.abs(d[p]!))
    .slice(0, 2)
    .filter((axis, n) => n === 0 || Math.abs(d[axis]!) > SECOND_LETTER)
    .map((axis) => LETTERS[axis]![d[axis]! > 0 ? 0 : 1])
    .join("");
}
