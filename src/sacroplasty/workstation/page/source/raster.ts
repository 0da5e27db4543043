/** Triangles to pixels without WebGL: an orthographic z-buffer for solids, and shells of glass over them. */

import { cross, dot, unit, type Vec3 } from "./geometry";

export interface Mesh {
  readonly points: Float32Array;
  readonly triangles: Uint32Array;
  readonly normals: Float32Array;
  readonly colour: Vec3;
  /** 1 is opaque; below it the surface is a shell that is denser at its rim. */
  readonly opacity: number;
}

/** Looks along `forward` with `up` towards the top of the picture; `mmPerPixel` at every depth. */
export interface Camera {
  readonly centre: Vec3;
  readonly forward: Vec3;
  readonly up: Vec3;
  readonly mmPerPixel: number;
}

export interface Layer {
  readonly depth: Float32Array;
  readonly rgb: Uint32Array;
}

export interface Canvas3D {
  readonly width: number;
  readonly height: number;
  readonly opaque: Layer;
  readonly glass: Layer;
}

const layer = (n: number): Layer => ({ depth: new Float32Array(n), rgb: new Uint32Array(n) });

export function canvas3d(width: number, height: number): Canvas3D {
  return { width, height, opaque: layer(width * height), glass: layer(width * height) };
}

/** Normals (unit, 3 per point) of a surface whose triangles are wound outwards. */
export function normalsOf(points: Float32Array, triangles: Uint32Array): Float32Array {
  const normals = new Float32Array(points.length);
  for (let t = 0; t < triangles.length; t += 3) {
    const a = triangles[t]! * 3;
    const b = triangles[t + 1]! * 3;
    const c = triangles[t + 2]! * 3;
    const ux = points[b]! - points[a]!, uy = points[b + 1]! - points[a + 1]!, uz = points[b + 2]! - points[a + 2]!;
    const vx = points[c]! - points[a]!, vy = points[c + 1]! - points[a + 1]!, vz = points[c + 2]! - points[a + 2]!;
    const nx = uy * vz - uz * vy, ny = uz * vx - ux * vz, nz = ux * vy - uy * vx;
    for (const p of [a, b, c]) {
      normals[p] = normals[p]! + nx;
      normals[p + 1] = normals[p + 1]! + ny;
      normals[p + 2] = normals[p + 2]! + nz;
    }
  }
  for (let p = 0; p < normals.length; p += 3) {
    const length = Math.hypot(normals[p]!, normals[p + 1]!, normals[p + 2]!) || 1;
    normals[p] = normals[p]! / length;
    normals[p + 1] = normals[p + 1]! / length;
    normals[p + 2] = normals[p + 2]! / length;
  }
  return normals;
}

/** Right, down and forward unit vectors of the picture. */
export function axes(camera: Camera): { right: Vec3; down: Vec3; forward: Vec3 } {
  const forward = unit(camera.forward);
  const right = unit(cross(forward, camera.up));
  return { right, down: cross(forward, right), forward };
}

/** Pixel and depth of a place. */
export function projected(camera: Camera, place: Vec3, width: number, height: number): Vec3 {
  const { right, down, forward } = axes(camera);
  const offset: Vec3 = [place[0] - camera.centre[0], place[1] - camera.centre[1], place[2] - camera.centre[2]];
  return [
    width / 2 + dot(offset, right) / camera.mmPerPixel,
    height / 2 + dot(offset, down) / camera.mmPerPixel,
    dot(offset, forward),
  ];
}

/** Draws the meshes over `background` into `out` (0xAABBGGRR): solids first, then each shell from far to near. */
export function drawn(target: Canvas3D, camera: Camera, meshes: readonly Mesh[], background: number, out: Uint32Array): void {
  const { opaque, glass, width, height } = target;
  emptied(opaque);
  for (const mesh of meshes) if (mesh.opacity >= 1) rasterised(opaque, width, height, camera, mesh);
  for (let p = 0; p < out.length; p++) out[p] = opaque.rgb[p]! || background;
  const { forward } = axes(camera);
  const shells = meshes.filter((mesh) => mesh.opacity < 1).map((mesh) => ({ mesh, depth: meanDepth(mesh, forward) }));
  for (const { mesh } of shells.sort((a, b) => b.depth - a.depth)) {
    emptied(glass);
    rasterised(glass, width, height, camera, mesh);
    laidOver(glass, opaque, out);
  }
}

function emptied(one: Layer): void {
  one.depth.fill(Infinity);
  one.rgb.fill(0);
}

/** Depth of a shell's middle, from a sample of its points. */
function meanDepth(mesh: Mesh, forward: Vec3): number {
  const stride = 3 * Math.max(1, Math.floor(mesh.points.length / 3 / 200));
  let sum = 0;
  let count = 0;
  for (let p = 0; p < mesh.points.length; p += stride) {
    sum += mesh.points[p]! * forward[0] + mesh.points[p + 1]! * forward[1] + mesh.points[p + 2]! * forward[2];
    count++;
  }
  return sum / Math.max(1, count);
}

function rasterised(out: Layer, width: number, height: number, camera: Camera, mesh: Mesh): void {
  const { right, down, forward } = axes(camera);
  const { points, normals, triangles } = mesh;
  const count = points.length / 3;
  const screen = new Float32Array(count * 4);
  const perMm = 1 / camera.mmPerPixel;
  const [cx, cy, cz] = camera.centre;
  for (let p = 0; p < count; p++) {
    const x = points[3 * p]! - cx, y = points[3 * p + 1]! - cy, z = points[3 * p + 2]! - cz;
    screen[4 * p] = width / 2 + (x * right[0] + y * right[1] + z * right[2]) * perMm;
    screen[4 * p + 1] = height / 2 + (x * down[0] + y * down[1] + z * down[2]) * perMm;
    screen[4 * p + 2] = x * forward[0] + y * forward[1] + z * forward[2];
    screen[4 * p + 3] = -(normals[3 * p]! * forward[0] + normals[3 * p + 1]! * forward[1] + normals[3 * p + 2]! * forward[2]);
  }
  const shades = shadeTable(mesh);
  for (let t = 0; t < triangles.length; t += 3) {
    triangle(out, width, height, screen, triangles[t]! * 4, triangles[t + 1]! * 4, triangles[t + 2]! * 4, shades);
  }
}

/** Colour by how squarely the surface faces the viewer, 0 to 255. */
function shadeTable(mesh: Mesh): Uint32Array {
  const table = new Uint32Array(256);
  for (let n = 0; n < 256; n++) {
    const facing = n / 255;
    const rim = (1 - facing) ** 2;
    const light = mesh.opacity >= 1 ? 0.28 + 0.72 * facing : 0.8 + 0.3 * rim;
    const alpha = mesh.opacity >= 1 ? 1 : Math.min(0.85, mesh.opacity + (0.8 - mesh.opacity) * rim);
    const [r, g, b] = mesh.colour.map((c) => Math.round(Math.min(255, c * light)));
    table[n] = ((Math.round(alpha * 255) << 24) | (b! << 16) | (g! << 8) | r!) >>> 0;
  }
  return table;
}

function triangle(
  out: Layer, width: number, height: number, s: Float32Array, a: number, b: number, c: number, shades: Uint32Array,
): void {
  const ax = s[a]!, ay = s[a + 1]!, bx = s[b]!, by = s[b + 1]!, qx = s[c]!, qy = s[c + 1]!;
  const area = (bx - ax) * (qy - ay) - (by - ay) * (qx - ax);
  // Rows run downwards, right x down is forward: what faces the viewer has a negative area.
  if (area >= 0) return;
  const x0 = Math.max(0, Math.ceil(Math.min(ax, bx, qx)));
  const x1 = Math.min(width - 1, Math.floor(Math.max(ax, bx, qx)));
  const y0 = Math.max(0, Math.ceil(Math.min(ay, by, qy)));
  const y1 = Math.min(height - 1, Math.floor(Math.max(ay, by, qy)));
  const inverseArea = 1 / area;
  for (let y = y0; y <= y1; y++) {
    for (let x = x0; x <= x1; x++) {
      const wb = ((x - ax) * (qy - ay) - (y - ay) * (qx - ax)) * inverseArea;
      const wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) * inverseArea;
      const wa = 1 - wb - wc;
      if (wa < 0 || wb < 0 || wc < 0) continue;
      const depth = wa * s[a + 2]! + wb * s[b + 2]! + wc * s[c + 2]!;
      const at = y * width + x;
      if (depth >= out.depth[at]!) continue;
      out.depth[at] = depth;
      const facing = wa * s[a + 3]! + wb * s[b + 3]! + wc * s[c + 3]!;
      out.rgb[at] = shades[facing <= 0 ? 0 : facing >= 1 ? 255 : (facing * 255) | 0]!;
    }
  }
}

/** Mixes a shell over what is drawn so far, where no solid stands before it. */
function laidOver(shell: Layer, opaque: Layer, out: Uint32Array): void {
  for (let p = 0; p < out.length; p++) {
    const over = shell.rgb[p]!;
    if (!over || shell.depth[p]! >= opaque.depth[p]!) continue;
    const alpha = over >>> 24;
    const rest = 255 - alpha;
    const under = out[p]!;
    const r = ((over & 255) * alpha + (under & 255) * rest) / 255;
    const g = (((over >>> 8) & 255) * alpha + ((under >>> 8) & 255) * rest) / 255;
    const b = (((over >>> 16) & 255) * alpha + ((under >>> 16) & 255) * rest) / 255;
    out[p] = (0xff000000 | (b << 16) | (g << 8) | r) >>> 0;
  }
}
