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
  foramen: true, canal: false, "ventral cortex": true, needle: false, lesion: true, root: false,
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

export function Radiograph({ shot, words, overlays = true, onPick, onShot }: {
  shot: Shot; words: string; overlays?: boolean; onPick?: (column: number, row: number) => void; onShot?: (info: ShotInfo) => void;
}) {
  const image = useSignal<string | null>(null);
  const info = useSignal<ShotInfo | null>(null);
  const failure = useSignal<string | null>(null);
  const behind = useSignal(false);
  const alive = useRef(true);
  const fetchNewest = useRef(newestOnly(async (asked: string, address: string) => {
    const began = performance.now();
    try {
      const [picture, facts] = await Promise.all([
        ask(`${address}/radiograph.png?${asked}`).then((a) => a.blob()), getJson<ShotInfo>(`${address}/radiograph.json?${asked}`)]);
      if (!alive.current) return;
      const old = image.value;
      image.value = URL.createObjectURL(picture);
      if (old) URL.revokeObjectURL(old);
      info.value = facts;
      failure.value = null;
      onShot?.(facts);
      lastRadiograph.milliseconds = performance.now() - began;
    } catch (error) {
      if (!alive.current) return;
      image.value = info.value = null;
      failure.value = error instanceof Error ? error.message : String(error);
    } finally {
      behind.value = false;
    }
  }));
  const asked = query({ size: 256, ...shot });
  useEffect(() => {
    behind.value = true;
    fetchNewest.current(asked, base.value);
  }, [asked, base.value]);
  useEffect(() => () => { alive.current = false; if (image.value) URL.revokeObjectURL(image.value); }, []);
  const size = info.value?.size ?? shot.size ?? 256;
  return (
    <figure class={`pane radiograph ${behind.value ? "behind" : ""}`} data-pane={words} data-milliseconds={lastRadiograph.milliseconds.toFixed(0)}>
      {image.value && (
        <div class="shot">
          <img src={image.value} alt={`Simulated radiograph, ${info.value?.angles_label ?? words}`} draggable={false} />
          <svg viewBox={`-0.5 -0.5 ${size} ${size}`} aria-hidden="true"
            onClick={(event) => {
              const box = event.currentTarget.getBoundingClientRect();
              onPick?.(((event.clientX - box.left) / box.width) * size - 0.5, ((event.clientY - box.top) / box.height) * size - 0.5);
            }}>
            {overlays && info.value?.overlays.filter((one) => overlayKinds.value[one.kind]).map((one) => <Outline key={one.name + one.kind} one={one} />)}
          </svg>
        </div>
      )}
      {!image.value && <p class="quiet">{failure.value ?? "Waiting for the radiograph …"}</p>}
      <figcaption>{words}{info.value && !info.value.reach.possible ? <strong class="blocker"> · out of reach: {info.value.reach.reason}</strong> : null}</figcaption>
    </figure>
  );
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
