/** What is drawn into every slice: side letters, scale bar, names, crosshair, needle, foramina, roots, pins. */

import { ACCENT, COLOURS, css } from "./colours";
import { along, dot, letters, lerp, scale, sub, type Vec3 } from "./geometry";
import { normal, type Plane } from "./reslice";
import type { Anatomy } from "./types";
import { PANES, type Normals, type PaneName, type Path } from "./viewer";

export interface Frame {
  readonly context: CanvasRenderingContext2D;
  readonly plane: Plane;
  readonly width: number;
  readonly height: number;
  readonly mmPerPixel: number;
  /** Backing pixels per page pixel: type and lines keep their size. */
  readonly ratio: number;
}

const SANS = '"Inter", "Segoe UI", system-ui, "Noto Sans", "Noto Sans CJK KR", sans-serif';
const MARK = "#f3ecb0";
/** Letters that say that a place is not known to exist are never drawn. */
const UNKNOWN = new Set(["absent", "outside the field of view", "not found"]);
export const isKnown = (state: string): boolean => !UNKNOWN.has(state);
const isInferred = (state: string): boolean => state === "inferred";

/** Pixel of a place in the picture, and its signed distance from the plane in mm. */
export function pixelOf(f: Pick<Frame, "plane" | "width" | "height" | "mmPerPixel">, place: Vec3): Vec3 {
  const offset = sub(place, f.plane.centre);
  return [
    (f.width - 1) / 2 + dot(offset, f.plane.right) / f.mmPerPixel,
    (f.height - 1) / 2 + dot(offset, f.plane.down) / f.mmPerPixel,
    dot(offset, normal(f.plane)),
  ];
}

function text(f: Frame, words: string, x: number, y: number, align: CanvasTextAlign, size: number, colour = MARK, weight = 500): void {
  const c = f.context;
  c.font = `${weight} ${size * f.ratio}px ${SANS}`;
  c.textAlign = align;
  c.textBaseline = "middle";
  c.lineWidth = 3 * f.ratio;
  c.lineJoin = "round";
  c.strokeStyle = "rgba(0,0,0,0.85)";
  // Words that begin inside the picture stay inside it.
  const over = align === "left" ? x + c.measureText(words).width - f.width + 4 * f.ratio : 0;
  const at = over > 0 && x < f.width ? Math.max(4 * f.ratio, x - over) : x;
  c.strokeText(words, at, y);
  c.fillStyle = colour;
  c.fillText(words, at, y);
}

/** Length of a round scale bar, mm, that fits a third of the picture. */
export function barLength(width_mm: number): number {
  return [200, 100, 50, 20, 10, 5, 2, 1].find((mm) => mm <= width_mm / 3) ?? 1;
}

export function annotate(f: Frame, title: string, lines: readonly string[], simulated: boolean): void {
  const { width, height, plane, ratio } = f;
  const pad = 12 * ratio;
  text(f, letters(scale(plane.right, -1)), pad, height / 2, "left", 16, MARK, 650);
  text(f, letters(plane.right), width - pad, height / 2, "right", 16, MARK, 650);
  text(f, letters(scale(plane.down, -1)), width / 2, pad + 2 * ratio, "center", 16, MARK, 650);
  text(f, letters(plane.down), width / 2, height - pad, "center", 16, MARK, 650);
  text(f, title, pad, pad, "left", 12, MARK, 600);
  lines.forEach((line, n) => text(f, line, pad, pad + (n + 1) * 15 * ratio, "left", 11, "#cfd6dd", 400));
  const bar = barLength(width * f.mmPerPixel);
  const pixels = bar / f.mmPerPixel;
  const c = f.context;
  c.strokeStyle = MARK;
  c.lineWidth = 2 * ratio;
  c.beginPath();
  c.moveTo(width - pad - pixels, height - pad);
  c.lineTo(width - pad, height - pad);
  c.stroke();
  text(f, `${bar} mm`, width - pad - pixels / 2, height - pad - 9 * ratio, "center", 11);
  text(f, simulated ? "SIMULATED · not for clinical use" : "not for clinical use", pad, height - pad - 22 * ratio, "left", 10, "#a9b3bd", 400);
}

/** Page-pixel distance from the focus to the handles that rotate the lines. */
export const handleDistance = (f: Pick<Frame, "width" | "height">): number => Math.min(f.width, f.height) * 0.36;

/** Direction, in the picture, of the line where another pane's plane cuts this one. */
export function lineDirection(plane: Plane, other: Vec3): [number, number] {
  const x = dot(other, plane.down);
  const y = -dot(other, plane.right);
  const length = Math.hypot(x, y) || 1;
  return [x / length, y / length];
}

const LINE: Record<PaneName, string> = { axial: "#56b4e9", sagittal: "#e69f00", coronal: "#9fd356" };

export function crosshair(f: Frame, name: PaneName, all: Normals, focus: Vec3, faint: boolean): void {
  const [x, y] = pixelOf(f, focus);
  const c = f.context;
  const gap = 9 * f.ratio;
  const far = f.width + f.height;
  for (const other of PANES) {
    if (other === name) continue;
    const [dx, dy] = lineDirection(f.plane, all[other]);
    c.strokeStyle = LINE[other];
    c.globalAlpha = faint ? 0.35 : 0.75;
    c.lineWidth = 1 * f.ratio;
    c.beginPath();
    for (const s of [-1, 1]) {
      c.moveTo(x + s * dx * gap, y + s * dy * gap);
      c.lineTo(x + s * dx * far, y + s * dy * far);
    }
    c.stroke();
    const d = handleDistance(f);
    c.globalAlpha = faint ? 0.4 : 0.9;
    for (const s of [-1, 1]) {
      c.beginPath();
      c.arc(x + s * dx * d, y + s * dy * d, 4 * f.ratio, 0, 7);
      c.stroke();
    }
  }
  c.globalAlpha = 1;
}

/** Places nearer to the plane than this are drawn as lying in it, mm. */
const IN_PLANE_MM = 2.5;

function nearPieces(f: Frame, points: readonly Vec3[], reach_mm: number, colour: string, width: number, dashed: boolean): void {
  const c = f.context;
  c.strokeStyle = colour;
  c.lineWidth = width * f.ratio;
  c.setLineDash(dashed ? [4 * f.ratio, 3 * f.ratio] : []);
  c.beginPath();
  for (let n = 1; n < points.length; n++) {
    const a = pixelOf(f, points[n - 1]!);
    const b = pixelOf(f, points[n]!);
    if (Math.abs(a[2]) > reach_mm && Math.abs(b[2]) > reach_mm) continue;
    c.moveTo(a[0], a[1]);
    c.lineTo(b[0], b[1]);
  }
  c.stroke();
  c.setLineDash([]);
}

export function drawAnatomy(f: Frame, anatomy: Anatomy, foramina: boolean, roots: boolean, reach_mm: number): void {
  const reach = Math.max(IN_PLANE_MM, reach_mm / 2);
  if (roots) {
    for (const root of anatomy.roots) {
      if (isKnown(root.state)) nearPieces(f, root.points_mm, reach + root.radius_mm, css(COLOURS["root"]!, 0.8), 2, isInferred(root.state));
    }
  }
  if (!foramina) return;
  for (const one of anatomy.foramina) {
    if (!isKnown(one.state)) continue;
    nearPieces(f, one.rim_mm, reach, css(COLOURS["foramen"]!, 0.95), 2, isInferred(one.state));
    const [x, y, d] = pixelOf(f, one.centre_mm);
    if (Math.abs(d) < reach * 2) text(f, `${one.level}${one.face[0] ?? ""}`, x, y, "center", 10, css(COLOURS["foramen"]!));
  }
}

/** The needle: solid where it lies in the plane, dashed where it passes before or behind it. */
export function drawPath(f: Frame, path: Path, reach_mm: number): void {
  const c = f.context;
  const reach = Math.max(IN_PLANE_MM, reach_mm / 2);
  const steps = 60;
  const width = Math.max(1.5 * f.ratio, (2 * path.radius_mm) / f.mmPerPixel);
  for (let n = 0; n < steps; n++) {
    const a = pixelOf(f, lerp(path.entry_mm, path.target_mm, n / steps));
    const b = pixelOf(f, lerp(path.entry_mm, path.target_mm, (n + 1) / steps));
    const near = Math.min(Math.abs(a[2]), Math.abs(b[2])) <= reach;
    if (!near && n % 2) continue;
    c.strokeStyle = near ? (path.feasible === false ? "#ff9d5c" : "#ffffff") : "rgba(255,255,255,0.45)";
    c.lineWidth = near ? width : 1 * f.ratio;
    c.beginPath();
    c.moveTo(a[0], a[1]);
    c.lineTo(b[0], b[1]);
    c.stroke();
  }
  if (path.cone && path.editable) drawCone(f, path, path.cone, reach);
  for (const [end, place] of [["entry", path.entry_mm], ["target", path.target_mm]] as const) {
    const [x, y, d] = pixelOf(f, place);
    const near = Math.abs(d) <= reach;
    const r = (path.editable ? 6 : 4) * f.ratio;
    c.strokeStyle = near ? ACCENT : "rgba(200,210,220,0.6)";
    c.fillStyle = near ? "rgba(76,194,196,0.25)" : "transparent";
    c.lineWidth = 2 * f.ratio;
    c.beginPath();
    if (end === "entry") c.rect(x - r, y - r, 2 * r, 2 * r);
    else c.arc(x, y, r, 0, 7);
    c.fill();
    c.stroke();
    const away = near ? "" : ` ${d > 0 ? "+" : "−"}${Math.abs(d).toFixed(0)} mm`;
    if (path.editable) text(f, `${end}${away}`, x + r + 5 * f.ratio, y - r - 5 * f.ratio, "left", 10, near ? "#dff" : "#b8c0c8", 500);
  }
}

/** The tolerance of the path: a needle between the dotted lines is still safe enough. */
function drawCone(f: Frame, path: Path, cone: NonNullable<Path["cone"]>, reach: number): void {
  const a = pixelOf(f, path.entry_mm);
  const b = pixelOf(f, path.target_mm);
  if (Math.min(Math.abs(a[2]), Math.abs(b[2])) > reach) return;
  const length = Math.hypot(b[0] - a[0], b[1] - a[1]);
  if (length < 1) return;
  const across = [-(b[1] - a[1]) / length, (b[0] - a[0]) / length] as const;
  const c = f.context;
  c.strokeStyle = "rgba(76,194,196,0.8)";
  c.lineWidth = 1 * f.ratio;
  c.setLineDash([2 * f.ratio, 3 * f.ratio]);
  c.beginPath();
  for (const s of [-1, 1]) {
    const [e, t] = [(s * cone.entry_mm) / f.mmPerPixel, (s * cone.tip_mm) / f.mmPerPixel];
    c.moveTo(a[0] + across[0] * e, a[1] + across[1] * e);
    c.lineTo(b[0] + across[0] * t, b[1] + across[1] * t);
  }
  c.stroke();
  c.setLineDash([]);
}

export function drawPins(f: Frame, list: readonly { name: string; place: Vec3 }[]): void {
  const c = f.context;
  for (const { name, place } of list) {
    const [x, y, d] = pixelOf(f, place);
    if (Math.abs(d) > 6) continue;
    c.strokeStyle = ACCENT;
    c.lineWidth = 2 * f.ratio;
    c.beginPath();
    c.moveTo(x - 6 * f.ratio, y);
    c.lineTo(x + 6 * f.ratio, y);
    c.moveTo(x, y - 6 * f.ratio);
    c.lineTo(x, y + 6 * f.ratio);
    c.stroke();
    text(f, name, x + 9 * f.ratio, y, "left", 10, "#dff");
  }
}

/** Patient displacement of a movement on the picture. */
export const moved = (plane: Plane, dx: number, dy: number, mmPerPixel: number): Vec3 =>
  along(scale(plane.right, dx * mmPerPixel), plane.down, dy * mmPerPixel);
