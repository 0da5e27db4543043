/** What the four panes share: focus, plane directions, zoom, window, slab, what is laid over, and which tool is in hand. */

import { batch, computed, effect, signal } from "@preact/signals";
import { ask } from "./api";
import { along, cross, dot, norm, scale, sub, turned, unit, type Vec3 } from "./geometry";
import { centreOf, image3d, type Image3D, type Plane, type Slab } from "./reslice";
import { caseId, images, lesions, refused, remember, remembered } from "./station";
import type { ImageInfo } from "./types";

export type PaneName = "axial" | "sagittal" | "coronal";
export const PANES: readonly PaneName[] = ["axial", "sagittal", "coronal"];

export interface Normals { axial: Vec3; sagittal: Vec3; coronal: Vec3 }
/** Straight planes: axial is looked at from the feet, sagittal from the left, coronal from the front. */
export const STRAIGHT: Normals = { axial: [0, 0, 1], sagittal: [-1, 0, 0], coronal: [0, 1, 0] };

export const focus = signal<Vec3>([0, 0, 0]);
export const normals = signal<Normals>(STRAIGHT);
export const viewCentre = signal<Vec3>([0, 0, 0]);
export const mmPerPixel = signal(0.8);
export const windowing = signal({ centre_hu: 300, width_hu: 1500 });
export const slab = signal<Slab>({ thickness_mm: 0, mode: "mean" });
export const layers = signal<Record<string, boolean>>({
  labels: true, lesion: true, foramina: true, roots: true, needle: true, cement: true, crosshair: true, skin: false, vessel: true,
});
export const fused = signal<{ name: string; share: number }>({ name: "", share: 0.4 });
export const ct = signal<Image3D | null>(null);
export const ctLevel = signal<{ shown: number; finest: number } | null>(null);
export const ctRange = signal<[number, number]>([-1024, 3071]);
export const labelImage = signal<Image3D | null>(null);
/** The treated lesion, and the others. */
export const lesionImage = signal<Image3D | null>(null);
export const otherLesions = signal<readonly Image3D[]>([]);
export const otherImage = signal<{ image: Image3D; low: number; high: number } | null>(null);
/** Injected mL at which each voxel filled, in hundredths, 0 where never. */
export const arrivalImage = signal<Image3D | null>(null);
export const injected_ml = signal(Infinity);
export const maximised = signal<string | null>(null);

/** A tool takes the left button in the slices: it gets the patient point and the phase. */
export interface Tool {
  readonly name: string;
  readonly hint: string;
  readonly radius_mm?: number;
  act(place: Vec3, phase: "down" | "move" | "up", plane: Plane, erase: boolean): void;
}
export const tool = signal<Tool | null>(null);

/** A mask under the brush, on the labels' grid, before it is sent. */
export const brushed = signal<{ image: Image3D; stamp: number } | null>(null);
/** Places that wait to be sent as corrections. */
export const pins = signal<{ name: string; place: Vec3 }[]>([]);

export interface Path {
  entry_mm: Vec3; target_mm: Vec3; radius_mm: number; feasible: boolean | null; editable: boolean;
  /** How far entry and tip may be off before a breach gets too likely, mm. */
  cone?: { entry_mm: number; tip_mm: number };
}
export const path = signal<Path | null>(null);
/** Further needles of the same plan. */
export const otherPaths = signal<Path[]>([]);
/** Called while the user drags an end of the path. */
export const onPathMoved = signal<((end: "entry" | "target", place: Vec3) => void) | null>(null);

/** The plane of a pane through the focus: upright as far as its normal allows, patient's right on the viewer's left. */
export function planeOf(name: PaneName, all: Normals, through: Vec3, centre: Vec3): Plane {
  const across = all[name];
  const wanted: Vec3 = name === "axial" ? [0, 1, 0] : [0, 0, -1];
  let down = along(wanted, across, -dot(wanted, across));
  if (norm(down) < 0.05) {
    const spare: Vec3 = name === "axial" ? [0, 0, -1] : [0, 1, 0];
    down = along(spare, across, -dot(spare, across));
  }
  down = unit(down);
  const facing = cross(down, across);
  const right = dot(facing, name === "sagittal" ? [0, 1, 0] : [1, 0, 0]) < 0 ? scale(facing, -1) : facing;
  return { centre: along(centre, across, -dot(sub(centre, through), across)), right, down };
}

/** The shared planes with all but `fixed` turned about the normal of `fixed`: lines rotate, the picture stays. */
export function rotated(all: Normals, fixed: PaneName, angle_rad: number): Normals {
  const about = all[fixed];
  const next = { ...all };
  for (const name of PANES) if (name !== fixed) next[name] = unit(turned(all[name], about, angle_rad));
  return next;
}

export const isOblique = computed(() => PANES.some((name) => Math.abs(dot(normals.value[name], STRAIGHT[name])) < 1 - 1e-6));

/** Planes along a needle: axial and sagittal hold the needle, the coronal looks down it (bull's eye). */
export function alignWith(entry: Vec3, target: Vec3): void {
  const shaft = unit(sub(target, entry));
  const coronal = dot(shaft, STRAIGHT.coronal) < 0 && Math.abs(dot(shaft, STRAIGHT.coronal)) > 0.3 ? scale(shaft, -1) : shaft;
  const upright = along([0, 0, 1], coronal, -coronal[2]);
  const axial = norm(upright) > 0.05 ? unit(upright) : unit(along([0, -1, 0], coronal, coronal[1]));
  batch(() => {
    normals.value = { axial, coronal, sagittal: unit(cross(axial, coronal)) };
    focus.value = target;
  });
}

export function goTo(place: Vec3 | null): void {
  if (place) focus.value = place;
}

export function straighten(): void {
  normals.value = STRAIGHT;
}

/** Whole image in view, focus on the lesion if there is one. */
export function resetView(): void {
  const image = ct.value;
  if (!image) return;
  const extent = image.shape.map((n, axis) => n * image.spacing_mm[axis]!);
  const start = lesions.value[0]?.centre_mm ?? centreOf(image);
  batch(() => {
    straighten();
    focus.value = start;
    viewCentre.value = lesions.value.length ? start : centreOf(image);
    mmPerPixel.value = Math.min(1.2, Math.max(...extent.slice(0, 2)) / (lesions.value.length ? 520 : 420));
  });
}

/** The view is the page's own choice, which a lesion that arrives later may still improve. */
let ownChoice = false;

const affineOf = (level: ImageInfo["levels"][number]): number[] => {
  const { direction: d, spacing_mm: s, origin_mm: o } = level;
  return [
    d[0]! * s[0], d[3]! * s[1], d[6]! * s[2], o[0],
    d[1]! * s[0], d[4]! * s[1], d[7]! * s[2], o[1],
    d[2]! * s[0], d[5]! * s[1], d[8]! * s[2], o[2],
    0, 0, 0, 1,
  ];
};

async function fetched(info: ImageInfo, level: ImageInfo["levels"][number], signal: AbortSignal): Promise<Image3D> {
  const bytes = await (await ask(level.url, { signal })).arrayBuffer();
  if (bytes.byteLength !== level.bytes) throw new Error(`Image ${info.name} came incomplete; it is not shown`);
  if (info.type === "float32") {
    const values = new Float32Array(bytes);
    const whole = info.name === "cement_arrival" ? hundredths(values) : spread(values, ...info.window);
    return image3d(whole, level.shape, affineOf(level));
  }
  return image3d(info.type === "uint8" ? new Uint8Array(bytes) : new Int16Array(bytes), level.shape, affineOf(level));
}

/** Values as hundredths + 1, so that 0 stays free for "never". */
function hundredths(values: Float32Array): Int16Array {
  const out = new Int16Array(values.length);
  for (let n = 0; n < values.length; n++) out[n] = values[n]! < 0 ? 0 : Math.min(32766, Math.round(values[n]! * 100)) + 1;
  return out;
}

/** Values from `low` to `high` spread over 1 to SPREAD + 1; 0 where there is no value. */
function spread(values: Float32Array, low: number, high: number): Int16Array {
  const out = new Int16Array(values.length);
  const scaled = SPREAD / Math.max(1e-9, high - low);
  for (let n = 0; n < values.length; n++) {
    const v = values[n]!;
    out[n] = Number.isNaN(v) ? 0 : 1 + Math.round(Math.min(SPREAD, Math.max(0, (v - low) * scaled)));
  }
  return out;
}

const SPREAD = 32000;

let loading: AbortController | null = null;
/** The case whose pictures are held. */
let pictured: string | null = null;

/** Loads the pictures of the open case: coarsest CT first, then everything laid over it, then the finer CT. */
export async function loadImages(list: readonly ImageInfo[]): Promise<void> {
  const id = caseId.peek();
  const image = (name: string): ImageInfo | undefined => list.find((one) => one.name === name);
  const fresh = pictured !== id;
  loading?.abort();
  loading = new AbortController();
  const { signal } = loading;
  if (fresh) batch(() => {
    ct.value = labelImage.value = lesionImage.value = arrivalImage.value = null;
    otherImage.value = ctLevel.value = null;
    otherLesions.value = [];
    fused.value = { ...fused.peek(), name: "" };
  });
  try {
    const info = image("ct");
    if (!info) {
      pictured = null;
      return;
    }
    const finest = Math.min(...info.levels.map((l) => l.level));
    const levels = [...info.levels].sort((a, b) => b.level - a.level);
    const start = levels[0];
    if (fresh && start) {
      const first = await fetched(info, start, signal);
      pictured = id;
      batch(() => {
        ct.value = first;
        ctRange.value = [info.lowest, info.highest];
        ctLevel.value = { shown: start.level, finest };
        ownChoice = !restoreView();
        if (ownChoice) resetView();
      });
    }
    await loadOverlays(image, signal);
    const others = list.filter((one) => one.kind === "lesion" && one.name !== "lesion-1");
    otherLesions.value = await Promise.all(others.map((one) => fetched(one, one.levels[0]!, signal)));
    if (!fresh && ctLevel.value?.shown === finest) return;
    for (const level of levels.filter((one) => one.level < (ctLevel.peek()?.shown ?? Infinity))) {
      const finer = await fetched(info, level, signal);
      batch(() => { ct.value = finer; ctLevel.value = { shown: level.level, finest }; });
    }
  } catch (error) {
    refused(error);
  }
}

async function loadOverlays(image: (name: string) => ImageInfo | undefined, signal: AbortSignal): Promise<void> {
  for (const [name, target] of [["labels", labelImage], ["lesion-1", lesionImage], ["cement_arrival", arrivalImage]] as const) {
    const info = image(name);
    const finest = info && [...info.levels].sort((a, b) => a.level - b.level)[0];
    target.value = info && finest ? await fetched(info, finest, signal) : null;
  }
}

/** Lays another volume (MR, venogram) over the CT; an empty name takes it away. */
export async function fuse(name: string): Promise<void> {
  fused.value = { ...fused.value, name };
  otherImage.value = null;
  const info = images.value.find((one) => one.name === name);
  const finest = info && [...info.levels].sort((a, b) => a.level - b.level)[0];
  if (!info || !finest) return;
  try {
    const image = await fetched(info, finest, new AbortController().signal);
    const float = info.type === "float32";
    // An MRI is shown wherever it has a value; of a cloud, nothing where there is none of it.
    const least = info.kind === "mr" ? 1 : 2;
    otherImage.value = { image, low: float ? least : info.lowest, high: float ? SPREAD + 1 : info.highest };
  } catch (error) {
    refused(error);
  }
}

interface Kept { focus: Vec3; normals: Normals; viewCentre: Vec3; mmPerPixel: number; windowing: { centre_hu: number; width_hu: number }; slab: Slab }

function restoreView(): boolean {
  const kept = remembered<Kept>("view");
  if (!kept?.focus?.every(Number.isFinite) || !kept.normals || !(kept.mmPerPixel > 0)) return false;
  focus.value = kept.focus;
  normals.value = kept.normals;
  viewCentre.value = kept.viewCentre;
  mmPerPixel.value = kept.mmPerPixel;
  windowing.value = kept.windowing;
  slab.value = kept.slab;
  return true;
}

/** Starts the page's own bookkeeping: load pictures when the list changes, remember the view. */
export function startViewer(): void {
  effect(() => void loadImages(images.value));
  effect(() => {
    if (!lesions.value.length || !ct.value || !ownChoice) return;
    ownChoice = false;
    resetView();
  });
  let timer = 0;
  effect(() => {
    const kept: Kept = {
      focus: focus.value, normals: normals.value, viewCentre: viewCentre.value, mmPerPixel: mmPerPixel.value,
      windowing: windowing.value, slab: slab.value,
    };
    if (!ct.value || !caseId.value) return;
    clearTimeout(timer);
    timer = window.setTimeout(() => remember("view", kept), 300);
  });
}
