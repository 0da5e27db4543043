/** Bones as glass, what matters as solids: foramina, roots, lesion, needle, cement. Drawn without WebGL. */

import { effect, signal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ask } from "./api";
import { colourOf, COLOURS } from "./colours";
import { along, cross, letters, scale, sub, turned, unit, type Vec3 } from "./geometry";
import { barLength, isKnown } from "./marks";
import { axes, canvas3d, drawn, normalsOf, type Camera, type Canvas3D, type Mesh } from "./raster";
import { anatomy, base, cement, details, refused, stage, surfaces } from "./station";
import type { SurfaceInfo } from "./types";
import * as viewer from "./viewer";
import { PaneButton } from "./slice-pane";

const BACKGROUND = 0xff1a1613;
const forward = signal<Vec3>(unit([0.35, -1, -0.25]));
const up = signal<Vec3>([0, 0, 1]);
const size_mm = signal(0.75);
const centre = signal<Vec3>([0, 0, 0]);
const loaded = signal<ReadonlyMap<string, Mesh>>(new Map());
export const cementMesh = signal<Mesh | null>(null);

const DIRECTIONS: [string, Vec3, Vec3][] = [
  ["Behind", [0, -1, 0], [0, 0, 1]], ["Front", [0, 1, 0], [0, 0, 1]], ["Left", [-1, 0, 0], [0, 0, 1]],
  ["Right", [1, 0, 0], [0, 0, 1]], ["Feet", [0, 0, 1], [0, -1, 0]],
];

/** A surface file: "SPMS", version, counts, points, corners; refused where it is anything else. */
export function meshFrom(bytes: ArrayBuffer, colour: Vec3, opacity: number): Mesh {
  const head = new DataView(bytes);
  const magic = String.fromCharCode(...new Uint8Array(bytes, 0, 4));
  const [version, vertices, faces] = [head.getUint32(4, true), head.getUint32(8, true), head.getUint32(12, true)];
  if (magic !== "SPMS" || version !== 1 || bytes.byteLength !== 16 + 12 * (vertices + faces)) {
    throw new Error("A surface came in an unknown form; it is not shown");
  }
  const points = new Float32Array(bytes, 16, 3 * vertices);
  const triangles = new Uint32Array(bytes, 16 + 12 * vertices, 3 * faces);
  return { points, triangles, normals: normalsOf(points, triangles), colour, opacity };
}

const OPACITY: Record<string, number> = { bone: 0.22, joint: 0.3, canal: 0.25, skin: 0.05, vessel: 1, organ: 0.3, lesion: 0.5, cement: 1, metal: 1 };

function colour(info: SurfaceInfo): Vec3 {
  return info.kind === "bone" ? (info.name === "sacrum" ? [170, 205, 230] : COLOURS["bone"]!) : colourOf(info.name, info.kind);
}

effect(() => {
  const list = surfaces.value;
  loaded.value = new Map();
  let wanted = true;
  void (async () => {
    for (const info of list.filter((one) => one.kind !== "cement")) {
      try {
        const mesh = meshFrom(await (await ask(info.url)).arrayBuffer(), colour(info), OPACITY[info.kind] ?? 0.3);
        if (!wanted) return;
        loaded.value = new Map(loaded.value).set(info.name, mesh);
        if (info.name === "sacrum") centre.value = middle(mesh.points);
      } catch (error) {
        refused(error);
      }
    }
  })();
  return () => { wanted = false; };
});

/** The cloud at a volume: asked for where the time slider rests. */
export async function loadCement(injected: number): Promise<void> {
  const info = surfaces.peek().find((one) => one.kind === "cement");
  if (!info) {
    cementMesh.value = null;
    return;
  }
  const query = Number.isFinite(injected) ? `?injected_ml=${injected.toFixed(2)}` : "";
  const bytes = await (await ask(`${base.peek()}/surfaces/cement${query}`)).arrayBuffer();
  cementMesh.value = meshFrom(bytes, COLOURS["cement"]!, 1);
}

function middle(points: Float32Array): Vec3 {
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  for (let n = 0; n < points.length; n++) {
    low[n % 3] = Math.min(low[n % 3]!, points[n]!);
    high[n % 3] = Math.max(high[n % 3]!, points[n]!);
  }
  return [0, 1, 2].map((a) => (low[a]! + high[a]!) / 2) as unknown as Vec3;
}

/** A tube along a line, closed by nothing: thin enough that its ends do not matter. */
export function tube(line: readonly Vec3[], radius: number, colour: Vec3, sides = 8): Mesh {
  const points = new Float32Array(line.length * sides * 3);
  const triangles: number[] = [];
  let side: Vec3 = [1, 0, 0];
  line.forEach((place, n) => {
    const ahead = sub(line[Math.min(n + 1, line.length - 1)]!, line[Math.max(n - 1, 0)]!);
    const axis = Math.hypot(...ahead) > 1e-6 ? unit(ahead) : ([0, 0, 1] as Vec3);
    const raw = cross(axis, cross(Math.abs(axis[0]) < 0.9 ? [1, 0, 0] : [0, 1, 0], axis));
    side = Math.hypot(...raw) > 1e-6 ? unit(raw) : side;
    for (let s = 0; s < sides; s++) {
      const spot = along(place, turned(side, axis, (2 * Math.PI * s) / sides), radius);
      points.set(spot, (n * sides + s) * 3);
      if (n === 0) continue;
      const [a, b] = [(n - 1) * sides + s, (n - 1) * sides + ((s + 1) % sides)];
      triangles.push(a, b, a + sides, b, b + sides, a + sides);
    }
  });
  const corners = Uint32Array.from(triangles);
  return { points, triangles: corners, normals: normalsOf(points, corners), colour, opacity: 1 };
}

/** Colour and radius (mm) of a foramen's rim, and how far the hub stands off the skin. */
const RIM_MM = 0.7;
const HUB_MM = 45;

function lines(): Mesh[] {
  const shown = viewer.layers.value;
  const made: Mesh[] = [];
  const a = anatomy.value;
  if (a && shown["foramina"]) {
    for (const one of a.foramina) if (isKnown(one.state) && one.rim_mm.length > 2) made.push(tube(one.rim_mm, RIM_MM, COLOURS["foramen"]!, 6));
  }
  if (a && shown["roots"]) {
    for (const one of a.roots) if (isKnown(one.state) && one.points_mm.length > 1) made.push(tube(one.points_mm, one.radius_mm, COLOURS["root"]!));
  }
  return made;
}

function needles(): Mesh[] {
  if (!viewer.layers.value["needle"]) return [];
  return [viewer.path.value, ...viewer.otherPaths.value].flatMap((path) => (path ? needle(path) : []));
}

function needle(path: viewer.Path): Mesh[] {
  const shaft = unit(sub(path.target_mm, path.entry_mm));
  const hub = along(path.entry_mm, shaft, -HUB_MM);
  const steel: Vec3 = path.feasible === false ? [255, 157, 92] : [245, 248, 250];
  return [tube([hub, path.entry_mm, path.target_mm], Math.max(1, path.radius_mm), steel), tube([along(hub, shaft, -6), hub], 4, [76, 194, 196])];
}

function bodies(): Mesh[] {
  const shown = viewer.layers.value;
  const list = surfaces.value.filter((one) => (one.kind !== "skin" || shown["skin"]) && (one.kind !== "lesion" || shown["lesion"])
    && (one.kind !== "vessel" || shown["vessel"]));
  const meshes = list.map((one) => loaded.value.get(one.name)).filter((one): one is Mesh => !!one);
  if (cementMesh.value && shown["cement"] && stage.value === "cement") meshes.push(cementMesh.value);
  return meshes;
}

export function ScenePane() {
  const canvas = useRef<HTMLCanvasElement>(null);
  const target = useRef<{ layers: Canvas3D; data: ImageData } | null>(null);
  const frame = useRef(0);
  const last = useRef<[number, number] | null>(null);
  const cached = useRef<{ key: unknown[]; meshes: Mesh[] }>({ key: [], meshes: [] });

  const camera = (c: HTMLCanvasElement): Camera => ({
    centre: centre.value, forward: forward.value, up: up.value, mmPerPixel: (size_mm.value * c.clientWidth) / Math.max(1, c.width) * (420 / Math.max(1, Math.min(c.clientWidth, c.clientHeight))),
  });

  const draw = (): void => {
    frame.current = 0;
    const c = canvas.current;
    const context = c?.getContext("2d");
    if (!c?.width || !context) return;
    const began = performance.now();
    if (target.current?.layers.width !== c.width || target.current.layers.height !== c.height) {
      target.current = { layers: canvas3d(c.width, c.height), data: new ImageData(c.width, c.height) };
    }
    const { layers, data } = target.current;
    const view = camera(c);
    const key = [anatomy.value, viewer.layers.value];
    if (key.some((one, n) => one !== cached.current.key[n])) cached.current = { key, meshes: lines() };
    const meshes = [...bodies(), ...cached.current.meshes, ...needles()];
    drawn(layers, view, meshes, BACKGROUND, new Uint32Array(data.data.buffer));
    context.putImageData(data, 0, 0);
    burnIn(context, c, view);
    c.dataset["milliseconds"] = (performance.now() - began).toFixed(1);
    c.dataset["surfaces"] = String(loaded.value.size);
  };

  useSignalEffect(() => {
    bodies();
    lines();
    void [viewer.path.value, viewer.otherPaths.value, forward.value, up.value, size_mm.value, centre.value, details.value];
    if (!frame.current) frame.current = requestAnimationFrame(draw);
  });

  useEffect(() => {
    const c = canvas.current!;
    const watch = new ResizeObserver(() => {
      c.width = Math.max(1, c.clientWidth);
      c.height = Math.max(1, c.clientHeight);
      if (!frame.current) frame.current = requestAnimationFrame(draw);
    });
    watch.observe(c);
    const wheel = (event: WheelEvent): void => { event.preventDefault(); zoom(event.deltaY > 0 ? 1.1 : 1 / 1.1); };
    c.addEventListener("wheel", wheel, { passive: false });
    return () => { watch.disconnect(); c.removeEventListener("wheel", wheel); cancelAnimationFrame(frame.current); };
  }, []);

  const zoom = (factor: number): void => { size_mm.value = Math.min(3, Math.max(0.1, size_mm.value * factor)); };
  const turn = (dx: number, dy: number): void => {
    const { right, down } = axes({ centre: [0, 0, 0], forward: forward.value, up: up.value, mmPerPixel: 1 });
    const f = turned(turned(forward.value, down, dx * 0.008), right, -dy * 0.008);
    up.value = unit(turned(scale(down, -1), right, -dy * 0.008));
    forward.value = unit(f);
  };
  const key = (event: KeyboardEvent): void => {
    const step = 12;
    const actions: Record<string, () => void> = {
      ArrowLeft: () => turn(-step, 0), ArrowRight: () => turn(step, 0), ArrowUp: () => turn(0, -step), ArrowDown: () => turn(0, step),
      "+": () => zoom(1 / 1.15), "-": () => zoom(1.15), f: () => (viewer.maximised.value = viewer.maximised.value === "scene" ? null : "scene"),
    };
    if (!actions[event.key] || event.ctrlKey || event.altKey) return;
    event.preventDefault();
    actions[event.key]!();
  };

  return (
    <figure class="pane" data-pane="scene">
      <canvas ref={canvas} tabIndex={0} role="application" aria-label="Bones, foramina, roots, lesion, needle and cement in three dimensions. Arrow keys turn, plus and minus zoom."
        onPointerDown={(e) => { last.current = [e.clientX, e.clientY]; canvas.current!.setPointerCapture(e.pointerId); canvas.current!.focus(); }}
        onPointerMove={(e) => { if (last.current) { turn(e.clientX - last.current[0], e.clientY - last.current[1]); last.current = [e.clientX, e.clientY]; } }}
        onPointerUp={() => { last.current = null; }} onPointerCancel={() => { last.current = null; }} onKeyDown={key} />
      <div class="pane-buttons" role="group" aria-label="Seen from">
        {DIRECTIONS.map(([words, f, u]) => (
          <button key={words} onClick={() => { forward.value = f; up.value = u; }}>{words}</button>
        ))}
      </div>
      <PaneButton name="scene" />
    </figure>
  );
}

/** Height under which the buttons would hide the left letter, and where it then stands, pixels. */
const LOW_PANE = 380;
const BESIDE_BUTTONS = 76;

function burnIn(context: CanvasRenderingContext2D, c: HTMLCanvasElement, view: Camera): void {
  const { right, down } = axes(view);
  const put = (words: string, x: number, y: number, align: CanvasTextAlign, font = "600 15px system-ui, sans-serif"): void => {
    context.font = font;
    context.textAlign = align;
    context.textBaseline = "middle";
    context.lineWidth = 3;
    context.strokeStyle = "rgba(0,0,0,0.85)";
    context.strokeText(words, x, y);
    context.fillStyle = "#f3ecb0";
    context.fillText(words, x, y);
  };
  // In a low pane the buttons reach down to the middle of the left edge.
  put(letters(scale(right, -1)), c.height < LOW_PANE ? BESIDE_BUTTONS : 10, c.height / 2, "left");
  put(letters(right), c.width - 10, c.height / 2, "right");
  put(letters(scale(down, -1)), c.width / 2, 13, "center");
  put(letters(down), c.width / 2, c.height - 40, "center");
  put("3D", 10, 13, "left", "600 12px system-ui, sans-serif");
  const bar = barLength(c.width * view.mmPerPixel);
  context.fillRect(c.width - 12 - bar / view.mmPerPixel, c.height - 12, bar / view.mmPerPixel, 2);
  const cloud = stage.value === "cement" && viewer.layers.value["cement"] && cement.value;
  const words = ["not for clinical use", ...(details.value?.simulated ? ["SIMULATED"] : cloud ? ["simulated cement"] : [])].reverse().join(" · ");
  put(words, 10, c.height - 12, "left", "400 10px system-ui, sans-serif");
  put(`${bar} mm`, c.width - 12 - bar / view.mmPerPixel / 2, c.height - 21, "center", "500 11px system-ui, sans-serif");
}
