/** One slice as pixels: windowed grey values, then another volume, labels, lesion, cement and brush over them. */

import { colourOf, COLOURS } from "./colours";
import type { Vec3 } from "./geometry";
import { labelsOn, NO_DATA, resliced, type Image3D, type Plane, type Slab } from "./reslice";

export interface Scene {
  readonly ct: Image3D;
  readonly labels: Image3D | null;
  readonly names: Readonly<Record<string, string>>;
  readonly lesion: Image3D | null;
  /** Lesions that are not treated: outlines alone. */
  readonly otherLesions: readonly Image3D[];
  readonly brush: Image3D | null;
  readonly arrival: Image3D | null;
  readonly injected_ml: number;
  readonly other: { image: Image3D; low: number; high: number; share: number } | null;
  readonly window: { centre_hu: number; width_hu: number };
  readonly slab: Slab;
}

/** Buffers of one pane, made anew when its size changes. */
export class Easel {
  readonly pixels: Uint32Array;
  readonly data: ImageData;
  private readonly grey: Int16Array;
  private readonly second: Int16Array;
  private readonly labels: Uint8Array;

  constructor(readonly width: number, readonly height: number) {
    this.data = new ImageData(width, height);
    this.pixels = new Uint32Array(this.data.data.buffer);
    this.grey = new Int16Array(width * height);
    this.second = new Int16Array(width * height);
    this.labels = new Uint8Array(width * height);
  }

  paint(scene: Scene, plane: Plane, mmPerPixel: number): void {
    const { width, height } = this;
    resliced(scene.ct, plane, width, height, mmPerPixel, scene.slab, this.grey);
    const table = greyTable(scene.window);
    for (let p = 0; p < this.grey.length; p++) this.pixels[p] = table[this.grey[p]! - NO_DATA]!;
    this.hatchOutside();
    if (scene.other) this.mixOther(scene.other, plane, mmPerPixel);
    if (scene.labels) {
      labelsOn(scene.labels, plane, width, height, mmPerPixel, this.labels);
      this.layLabels(labelColours(scene.names), 0.07, 0.8);
    }
    for (const one of scene.otherLesions) this.layMask(one, plane, mmPerPixel, COLOURS["lesion"]!, 0);
    if (scene.lesion) this.layMask(scene.lesion, plane, mmPerPixel, COLOURS["lesion"]!, 0.2);
    if (scene.arrival) this.layCement(scene.arrival, scene.injected_ml, plane, mmPerPixel);
    if (scene.brush) this.layMask(scene.brush, plane, mmPerPixel, [76, 194, 196], 0.4);
  }

  /** Where there is no image there is a pattern, so that it is not taken for air. */
  private hatchOutside(): void {
    const { width } = this;
    for (let p = 0; p < this.grey.length; p++) {
      if (this.grey[p] !== NO_DATA) continue;
      const x = p % width;
      const y = (p / width) | 0;
      this.pixels[p] = (x + y) % 12 === 0 ? 0xff2c2620 : 0xff1a1613;
    }
  }

  private mixOther(other: NonNullable<Scene["other"]>, plane: Plane, mmPerPixel: number): void {
    resliced(other.image, plane, this.width, this.height, mmPerPixel, { thickness_mm: 0, mode: "mean" }, this.second);
    const span = Math.max(1, other.high - other.low);
    for (let p = 0; p < this.second.length; p++) {
      const value = this.second[p]!;
      if (value === NO_DATA || value < other.low) continue;
      const t = Math.min(1, (value - other.low) / span);
      // Black to orange to white: apart from the grey of the CT.
      this.pixels[p] = mixed(this.pixels[p]!, [Math.min(255, t * 400), Math.min(255, t * 230), Math.max(0, t * 300 - 110)], other.share);
    }
  }

  private layLabels(colours: readonly (Vec3 | null)[], inside: number, rim: number): void {
    const { width, height, labels } = this;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const p = y * width + x;
        const label = labels[p]!;
        const colour = label ? colours[label] : null;
        if (!colour) continue;
        const edge = (x > 0 && labels[p - 1] !== label) || (x < width - 1 && labels[p + 1] !== label)
          || (y > 0 && labels[p - width] !== label) || (y < height - 1 && labels[p + width] !== label);
        this.pixels[p] = mixed(this.pixels[p]!, colour, edge ? rim : inside);
      }
    }
  }

  private layMask(image: Image3D, plane: Plane, mmPerPixel: number, colour: Vec3, inside: number): void {
    labelsOn(image, plane, this.width, this.height, mmPerPixel, this.labels);
    this.layLabels([null, colour], inside, 1);
  }

  private layCement(image: Image3D, injected_ml: number, plane: Plane, mmPerPixel: number): void {
    labelsOn(image, plane, this.width, this.height, mmPerPixel, this.second);
    const limit = Number.isFinite(injected_ml) ? Math.round(injected_ml * 100) + 1 : 32767;
    for (let p = 0; p < this.second.length; p++) this.labels[p] = this.second[p]! > 0 && this.second[p]! <= limit ? 1 : 0;
    this.layLabels([null, COLOURS["cement"]!], 0.45, 1);
  }
}

function mixed(under: number, over: Vec3, share: number): number {
  const rest = 1 - share;
  const r = (under & 255) * rest + over[0] * share;
  const g = ((under >>> 8) & 255) * rest + over[1] * share;
  const b = ((under >>> 16) & 255) * rest + over[2] * share;
  return (0xff000000 | (b << 16) | (g << 8) | r) >>> 0;
}

let table: Uint32Array | null = null;
let tableFor = "";

function greyTable(window: Scene["window"]): Uint32Array {
  const key = `${window.centre_hu}:${window.width_hu}`;
  if (table && tableFor === key) return table;
  table = new Uint32Array(65536);
  tableFor = key;
  const low = window.centre_hu - window.width_hu / 2;
  for (let v = 0; v < 65536; v++) {
    const g = Math.max(0, Math.min(255, Math.round(((v + NO_DATA - low) / window.width_hu) * 255)));
    table[v] = (0xff000000 | (g << 16) | (g << 8) | g) >>> 0;
  }
  return table;
}

function labelColours(names: Readonly<Record<string, string>>): (Vec3 | null)[] {
  const colours: (Vec3 | null)[] = new Array(256).fill(null);
  for (const [label, name] of Object.entries(names)) colours[Number(label)] = colourOf(name);
  return colours;
}
