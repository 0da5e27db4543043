/** A simulated radiograph from the server: the newest pose wins, an old picture is never left standing under a new label. */

import { signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ask, getJson, newestOnly } from "./api";
import { ACCENT } from "./colours";
import type { Vec3 } from "./geometry";
import { base } from "./station";
import type { Overlay, ShotInfo } from "./types";

export interface Shot {
  lao_deg: number; cra_deg: number; size?: number; carm?: string; patient_position?: string; isocentre?: Vec3; plan?: number;
  entry?: Vec3; target?: Vec3; gauge?: number; depth_mm?: number; stylet?: boolean; cement_ml?: number; contrast?: boolean; bone_white?: boolean;
}

/** Which overlays are drawn on every radiograph. */
export const overlayKinds = signal<Record<string, boolean>>({
  foramen: true, canal: false, "ventral cortex": true, needle: false, root: false,
});
export const OVERLAY_COLOURS: Record<string, string> = {
  foramen: "#e69f00", canal: "#f0e442", "ventral cortex": "#56b4e9", needle: ACCENT, lesion: "#ff7a2e", root: "#9fd356",
};
/** Milliseconds from asking for the last radiograph to having it, for the measurements. */
export const lastRadiograph = { milliseconds: 0 };

export function query(shot: Shot): string {
  const parts: string[] = [];
  for (const [key, value] of Object.entries(shot)) {
    if (value === undefined || value === null) continue;
    const words = Array.isArray(value) ? value.map((n: number) => n.toFixed(2)).join(",") : String(value);
    parts.push(`${key}=${encodeURIComponent(words)}`);
  }
  return parts.join("&");
}

export function Radiograph({ shot, words, overlays = true, onShot }: {
  shot: Shot; words: string; overlays?: boolean; onShot?: (info: ShotInfo) => void;
}) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const held = useSignal<{ picture: ImageBitmap; info: ShotInfo } | null>(null);
  const failure = useSignal<string | null>(null);
  const behind = useSignal(false);
  const alive = useRef(true);
  const fetchNewest = useRef(newestOnly(async (asked: string, address: string) => {
    const began = performance.now();
    try {
      // A picture and its geometry are shown together or not at all.
      const [picture, info] = await Promise.all([
        ask(`${address}/radiograph.png?${asked}&marks=false`).then((a) => a.blob()).then(createImageBitmap),
        getJson<ShotInfo>(`${address}/radiograph.json?${asked}`)]);
      if (!alive.current) return;
      held.value = { picture, info };
      failure.value = null;
      onShot?.(info);
      lastRadiograph.milliseconds = performance.now() - began;
    } catch (error) {
      if (!alive.current) return;
      held.value = null;
      failure.value = error instanceof Error ? error.message : String(error);
    } finally {
      behind.value = false;
    }
  }));
  const asked = query({ size: 256, ...shot });
  const draw = (): void => {
    const c = canvas.current;
    if (!c || !held.value) return;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const side = Math.max(64, Math.round(Math.min(c.clientWidth, c.clientHeight) * ratio));
    c.width = c.height = side;
    burnt(c, held.value.picture, held.value.info, overlays ? overlayKinds.value : {}, ratio);
  };
  useEffect(() => {
    behind.value = true;
    fetchNewest.current(asked, base.value);
  }, [asked, base.value]);
  useEffect(() => {
    const watch = new ResizeObserver(draw);
    if (canvas.current) watch.observe(canvas.current);
    return () => { alive.current = false; watch.disconnect(); };
  }, []);
  useEffect(draw, [held.value, overlayKinds.value, overlays]);
  const info = held.value?.info;
  return (
    <figure class={`pane radiograph ${behind.value ? "behind" : ""}`} data-pane={words} data-milliseconds={lastRadiograph.milliseconds.toFixed(0)}
      data-angles={info?.angles_label ?? ""}>
      <div class="shot"><canvas ref={canvas} role="img" class={held.value ? "" : "blank"} aria-label={`Simulated radiograph, ${info?.angles_label ?? words}`} /></div>
      {!held.value && <p class="quiet">{failure.value ?? "Waiting for the radiograph …"}</p>}
      <figcaption>{words}{info && !info.reach.possible ? <strong class="blocker"> · out of reach: {info.reach.reason}</strong> : null}</figcaption>
    </figure>
  );
}

const MARK = "#ffffa0";
const BAR_MM = 50;

/** Picture, outlines, side letters, angles, scale and notice in one set of pixels. */
function burnt(c: HTMLCanvasElement, picture: ImageBitmap, info: ShotInfo, kinds: Record<string, boolean>, ratio: number): void {
  const context = c.getContext("2d");
  if (!context) return;
  const side = c.width;
  const scale = side / info.size;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, side, side);
  for (const one of info.overlays) {
    if (!kinds[one.kind]) continue;
    context.strokeStyle = OVERLAY_COLOURS[one.kind] ?? "#cccccc";
    context.lineWidth = 1.5 * ratio;
    context.setLineDash(one.state === "inferred" ? [4 * ratio, 3 * ratio] : []);
    context.beginPath();
    for (const p of one.points) if (p?.every(Number.isFinite)) context.lineTo((p[0] + 0.5) * scale, (p[1] + 0.5) * scale);
    context.stroke();
  }
  context.setLineDash([]);
  const put = (words: string, x: number, y: number, align: CanvasTextAlign, size: number): void => {
    context.font = `600 ${size * ratio}px system-ui, "Noto Sans", sans-serif`;
    context.textAlign = align;
    context.textBaseline = "middle";
    context.lineWidth = 3.5 * ratio;
    context.lineJoin = "round";
    context.strokeStyle = "#000000";
    context.strokeText(words, x, y);
    context.fillStyle = MARK;
    context.fillText(words, x, y);
  };
  const pad = 9 * ratio;
  const { left, right, up, down } = info.letters;
  put(left, pad, side / 2, "left", 16);
  put(right, side - pad, side / 2, "right", 16);
  put(up, side / 2, pad + 2 * ratio, "center", 16);
  put(down, side / 2, side - pad - 2 * ratio, "center", 16);
  // Where the picture is small the patient's position goes onto a line of its own.
  const [angles, lying] = info.angles_label.split(" (");
  const oneLine = side > 460 * ratio;
  put(oneLine ? info.angles_label : angles ?? "", pad, pad + (oneLine ? 2 : 20) * ratio, "left", 12);
  if (!oneLine && lying) put(lying.replace(")", ""), pad, pad + 35 * ratio, "left", 10);
  put(info.notice.replace(" - ", " · "), pad, side - pad - (oneLine ? 0 : 22 * ratio), "left", oneLine ? 11 : 9);
  const bar = (BAR_MM / info.pixel_mm_at_isocentre) * scale;
  context.fillStyle = MARK;
  context.fillRect(side - pad - bar, side - pad, bar, 2 * ratio);
  put(`${BAR_MM} mm`, side - pad - bar / 2, side - pad - 9 * ratio, "center", 10);
}

export function Outline({ one }: { one: Overlay }) {
  const points = one.points.filter((p): p is [number, number] => p !== null && p.every(Number.isFinite)).map((p) => p.map((n) => n.toFixed(1)).join(",")).join(" ");
  return (
    <polyline points={points} fill="none" stroke={OVERLAY_COLOURS[one.kind] ?? "#ccc"} stroke-width="1.2" vector-effect="non-scaling-stroke"
      stroke-dasharray={one.state === "inferred" ? "4 3" : undefined}><title>{one.name}</title></polyline>
  );
}

export function OverlaySwitches() {
  return (
    <fieldset class="switches">
      <legend>Outlines on the radiographs</legend>
      {Object.keys(overlayKinds.value).map((kind) => (
        <label key={kind}>
          <input type="checkbox" checked={overlayKinds.value[kind]} onChange={() => { overlayKinds.value = { ...overlayKinds.value, [kind]: !overlayKinds.value[kind] }; }} />
          <svg class="key" viewBox="0 0 16 4" aria-hidden="true"><line x1="0" x2="16" y1="2" y2="2" stroke={OVERLAY_COLOURS[kind]} stroke-width="3" /></svg>
          {kind}
        </label>
      ))}
    </fieldset>
  );
}
