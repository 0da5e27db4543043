/** One slice: a canvas with everything burnt in, moved by mouse, touch, wheel and keyboard. */

import { batch, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { add, along, scale, type Vec3 } from "./geometry";
import { annotate, crosshair, drawAnatomy, drawPath, drawPins, handleDistance, lineDirection, moved, pixelOf, type Frame } from "./marks";
import { Easel, type Scene } from "./paint";
import { normal, patientPoint, valueAt, type Plane } from "./reslice";
import { about, anatomy, cement, details, images, stage } from "./station";
import * as viewer from "./viewer";
import { PANES, type PaneName } from "./viewer";

type Grip =
  | { kind: "focus" | "pan" | "window" | "tool"; last: [number, number]; erase: boolean }
  | { kind: "rotate"; last: [number, number]; angle: number; erase: boolean }
  | { kind: "path"; end: "entry" | "target"; last: [number, number]; erase: boolean };

const TITLES: Record<PaneName, string> = { axial: "Axial", sagittal: "Sagittal", coronal: "Coronal" };

function scene(): Scene | null {
  const ct = viewer.ct.value;
  if (!ct) return null;
  const shown = viewer.layers.value;
  const other = viewer.otherImage.value;
  return {
    ct,
    labels: shown["labels"] ? viewer.labelImage.value : null,
    names: images.value.find((one) => one.name === "labels")?.names ?? {},
    lesion: shown["lesion"] ? viewer.lesionImage.value : null,
    otherLesions: shown["lesion"] ? viewer.otherLesions.value : [],
    brush: viewer.brushed.value?.image ?? null,
    arrival: shown["cement"] && cement.value && stage.value === "cement" ? viewer.arrivalImage.value : null,
    injected_ml: viewer.injected_ml.value,
    other: other ? { ...other, share: viewer.fused.value.share } : null,
    window: viewer.windowing.value,
    slab: viewer.slab.value,
  };
}

function caption(name: PaneName, focus: Vec3): string[] {
  const axis = { axial: 2, sagittal: 0, coronal: 1 }[name];
  const w = viewer.windowing.value;
  const s = viewer.slab.value;
  const lines = [`${["x", "y", "z"][axis]} ${focus[axis]!.toFixed(1)} mm · C ${w.centre_hu} W ${w.width_hu}`];
  if (viewer.isOblique.value) lines.push("oblique");
  if (s.thickness_mm > 0) lines.push(`slab ${s.thickness_mm} mm, ${s.mode}`);
  // A simulated cloud on a real patient's slice says so in the pixels.
  if (stage.value === "cement" && viewer.layers.value["cement"] && viewer.arrivalImage.value) lines.push("simulated cement");
  const over = viewer.otherImage.value ? viewer.fused.value.name : "";
  if (over) lines.push(over === "venogram" ? "simulated contrast laid over" : `${over === "mr" ? "MRI" : over} laid over, registered`);
  const level = viewer.ctLevel.value;
  if (level && level.shown > level.finest) lines.push(`coarse (1/${2 ** level.shown}), finer is loading`);
  return lines;
}

export function SlicePane({ name }: { name: PaneName }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const easel = useRef<Easel | null>(null);
  const grip = useRef<Grip | null>(null);
  const frame = useRef(0);
  const touches = useRef(new Map<number, [number, number]>());

  const geometry = (): Omit<Frame, "context"> | null => {
    const c = canvas.current;
    if (!c || !c.width) return null;
    const ratio = c.width / Math.max(1, c.clientWidth);
    const plane = viewer.planeOf(name, viewer.normals.value, viewer.focus.value, viewer.viewCentre.value);
    return { plane, width: c.width, height: c.height, mmPerPixel: viewer.mmPerPixel.value / ratio, ratio };
  };

  const draw = (): void => {
    frame.current = 0;
    const c = canvas.current;
    const now = scene();
    const g = geometry();
    const context = c?.getContext("2d");
    if (!c || !g || !context) return;
    const began = performance.now();
    if (!now) {
      context.clearRect(0, 0, c.width, c.height);
      return;
    }
    if (easel.current?.width !== c.width || easel.current.height !== c.height) easel.current = new Easel(c.width, c.height);
    easel.current.paint(now, g.plane, g.mmPerPixel);
    context.putImageData(easel.current.data, 0, 0);
    const f: Frame = { ...g, context };
    const shown = viewer.layers.value;
    if (anatomy.value) drawAnatomy(f, anatomy.value, !!shown["foramina"], !!shown["roots"], now.slab.thickness_mm);
    if (shown["crosshair"]) crosshair(f, name, viewer.normals.value, viewer.focus.value, viewer.tool.value !== null);
    if (shown["needle"]) for (const one of viewer.otherPaths.value) drawPath(f, one, now.slab.thickness_mm);
    if (viewer.path.value && shown["needle"]) drawPath(f, viewer.path.value, now.slab.thickness_mm);
    drawPins(f, viewer.pins.value);
    const words = caption(name, viewer.focus.value);
    annotate(f, TITLES[name], words, details.value?.simulated ?? false);
    c.dataset["caption"] = words.join("; ");
    c.dataset["milliseconds"] = (performance.now() - began).toFixed(1);
  };

  const schedule = (): void => {
    if (!frame.current) frame.current = requestAnimationFrame(draw);
  };

  useSignalEffect(() => {
    scene();
    void [viewer.normals.value, viewer.focus.value, viewer.viewCentre.value, viewer.mmPerPixel.value, viewer.path.value,
      viewer.otherPaths.value, viewer.pins.value, viewer.tool.value, viewer.ctLevel.value, anatomy.value, details.value, viewer.layers.value,
      viewer.brushed.value];
    schedule();
  });

  useEffect(() => {
    const c = canvas.current!;
    const watch = new ResizeObserver(() => {
      const ratio = Math.min(2, window.devicePixelRatio || 1);
      c.width = Math.max(1, Math.round(c.clientWidth * ratio));
      c.height = Math.max(1, Math.round(c.clientHeight * ratio));
      schedule();
    });
    watch.observe(c);
    const wheel = (event: WheelEvent): void => {
      event.preventDefault();
      if (event.ctrlKey || event.metaKey) zoom(event.deltaY > 0 ? 1.12 : 1 / 1.12);
      else scroll(event.deltaY > 0 ? 1 : -1);
    };
    c.addEventListener("wheel", wheel, { passive: false });
    return () => { watch.disconnect(); c.removeEventListener("wheel", wheel); cancelAnimationFrame(frame.current); };
  }, []);

  const scroll = (steps: number): void => {
    const g = geometry();
    const image = viewer.ct.value;
    if (!g || !image) return;
    const step = Math.max(0.5, name === "axial" ? image.spacing_mm[2]! : image.spacing_mm[0]!);
    viewer.focus.value = along(viewer.focus.value, normal(g.plane), steps * step * (name === "coronal" ? 1 : -1));
  };

  const zoom = (factor: number): void => {
    viewer.mmPerPixel.value = Math.min(3, Math.max(0.05, viewer.mmPerPixel.value * factor));
  };

  const at = (event: PointerEvent): [number, number] => {
    const c = canvas.current!;
    const box = c.getBoundingClientRect();
    const ratio = c.width / Math.max(1, c.clientWidth);
    return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
  };

  const placeAt = ([x, y]: [number, number]): { place: Vec3; plane: Plane } | null => {
    const g = geometry();
    return g && { place: patientPoint(g.plane, x, y, g.width, g.height, g.mmPerPixel), plane: g.plane };
  };

  const gripFor = (event: PointerEvent): Grip => {
    const p = at(event);
    const g = geometry()!;
    const erase = event.altKey;
    if (event.button === 2 || event.ctrlKey) return { kind: "window", last: p, erase };
    if (event.button === 1 || event.shiftKey) return { kind: "pan", last: p, erase };
    const near = (q: readonly number[], reach: number): boolean => Math.hypot(q[0]! - p[0], q[1]! - p[1]) <= reach * g.ratio;
    const path = viewer.path.value;
    const reach = event.pointerType === "touch" ? 22 : 11;
    if (path?.editable && viewer.onPathMoved.value && !viewer.tool.value) {
      if (near(pixelOf(g, path.target_mm), reach)) return { kind: "path", end: "target", last: p, erase };
      if (near(pixelOf(g, path.entry_mm), reach)) return { kind: "path", end: "entry", last: p, erase };
    }
    if (viewer.tool.value) return { kind: "tool", last: p, erase };
    const centre = pixelOf(g, viewer.focus.value);
    const d = handleDistance(g);
    for (const other of PANES) {
      if (other === name) continue;
      const [dx, dy] = lineDirection(g.plane, viewer.normals.value[other]);
      for (const s of [-1, 1]) {
        if (near([centre[0] + s * dx * d, centre[1] + s * dy * d], reach)) {
          return { kind: "rotate", last: p, angle: Math.atan2(p[1] - centre[1], p[0] - centre[0]), erase };
        }
      }
    }
    return { kind: "focus", last: p, erase };
  };

  const down = (event: PointerEvent): void => {
    if (!viewer.ct.value) return;
    const c = canvas.current!;
    c.focus();
    c.setPointerCapture(event.pointerId);
    touches.current.set(event.pointerId, at(event));
    if (touches.current.size > 1) {
      grip.current = null;
      return;
    }
    grip.current = gripFor(event);
    if (grip.current.kind === "focus") apply(event, "down");
    if (grip.current.kind === "tool") apply(event, "down");
  };

  const move = (event: PointerEvent): void => {
    if (!touches.current.has(event.pointerId)) return;
    if (touches.current.size === 2) pinch(event);
    else if (grip.current) apply(event, "move");
    touches.current.set(event.pointerId, at(event));
  };

  const up = (event: PointerEvent): void => {
    touches.current.delete(event.pointerId);
    if (grip.current?.kind === "tool") apply(event, "up");
    grip.current = null;
  };

  const pinch = (event: PointerEvent): void => {
    const other = [...touches.current].find(([id]) => id !== event.pointerId)![1];
    const before = touches.current.get(event.pointerId)!;
    const now = at(event);
    const span = (p: [number, number]): number => Math.max(1, Math.hypot(p[0] - other[0], p[1] - other[1]));
    zoom(span(before) / span(now));
  };

  const apply = (event: PointerEvent, phase: "down" | "move" | "up"): void => {
    const held = grip.current!;
    const p = at(event);
    const g = geometry();
    if (!g) return;
    const [dx, dy] = [p[0] - held.last[0], p[1] - held.last[1]];
    if (held.kind === "focus") viewer.focus.value = placeAt(p)!.place;
    else if (held.kind === "pan") viewer.viewCentre.value = add(viewer.viewCentre.value, scale(moved(g.plane, dx, dy, g.mmPerPixel), -1));
    else if (held.kind === "window") {
      const w = viewer.windowing.value;
      viewer.windowing.value = {
        centre_hu: Math.round(w.centre_hu + (dy / g.ratio) * 2), width_hu: Math.max(10, Math.round(w.width_hu + (dx / g.ratio) * 4)),
      };
    } else if (held.kind === "rotate") {
      const centre = pixelOf(g, viewer.focus.value);
      const angle = Math.atan2(p[1] - centre[1], p[0] - centre[0]);
      viewer.normals.value = viewer.rotated(viewer.normals.value, name, angle - held.angle);
      held.angle = angle;
    } else if (held.kind === "path") {
      const path = viewer.path.value;
      if (path) viewer.onPathMoved.value?.(held.end, add(path[`${held.end}_mm`], moved(g.plane, dx, dy, g.mmPerPixel)));
    } else viewer.tool.value?.act(placeAt(p)!.place, phase, g.plane, held.erase);
    held.last = p;
  };

  const key = (event: KeyboardEvent): void => {
    const g = geometry();
    if (!g || event.altKey || event.ctrlKey || event.metaKey) return;
    const step = event.shiftKey ? 10 : 1;
    const shift = (x: number, y: number): void => {
      viewer.focus.value = add(viewer.focus.value, moved(g.plane, x, y, 1));
    };
    const turn = (degrees: number): void => {
      viewer.normals.value = viewer.rotated(viewer.normals.value, name, (degrees * Math.PI) / 180);
    };
    const actions: Record<string, () => void> = {
      ArrowLeft: () => shift(-step, 0), ArrowRight: () => shift(step, 0), ArrowUp: () => shift(0, -step), ArrowDown: () => shift(0, step),
      PageUp: () => scroll(-step), PageDown: () => scroll(step), "+": () => zoom(1 / 1.15), "=": () => zoom(1 / 1.15), "-": () => zoom(1.15),
      "[": () => turn(-2), "]": () => turn(2), "0": () => viewer.resetView(),
      Enter: () => { viewer.tool.value?.act(viewer.focus.value, "down", g.plane, false); viewer.tool.value?.act(viewer.focus.value, "up", g.plane, false); },
      f: () => (viewer.maximised.value = viewer.maximised.value === name ? null : name),
    };
    const preset = about.value?.window_presets[Number(event.key) - 1];
    const action = actions[event.key] ?? (preset ? () => batch(() => { viewer.windowing.value = { centre_hu: preset.centre_hu, width_hu: preset.width_hu }; }) : null);
    if (!action) return;
    event.preventDefault();
    action();
  };

  return (
    <figure class="pane" data-pane={name}>
      <canvas
        ref={canvas} tabIndex={0} role="application" class={viewer.tool.value ? "picking" : ""}
        aria-label={`${TITLES[name]} slice. Arrow keys move the crosshair, page keys scroll, plus and minus zoom, brackets rotate the lines, F enlarges.`}
        onPointerDown={down} onPointerMove={move} onPointerUp={up} onPointerCancel={up} onKeyDown={key}
        onContextMenu={(event) => event.preventDefault()}
        onDblClick={() => (viewer.maximised.value = viewer.maximised.value === name ? null : name)}
      />
      <PaneButton name={name} />
    </figure>
  );
}

export function PaneButton({ name }: { name: string }) {
  const large = viewer.maximised.value === name;
  return (
    <button class="enlarge" aria-label={large ? "Back to all panes" : `Enlarge ${name}`} aria-pressed={large}
      onClick={() => (viewer.maximised.value = large ? null : name)}>{large ? "⤡" : "⤢"}</button>
  );
}

/** CT number under the crosshair, for the toolbar. */
export const huAtFocus = (): string => {
  const image = viewer.ct.value;
  const value = image && valueAt(image, viewer.focus.value);
  return value === null ? "outside" : `${value} HU`;
};
