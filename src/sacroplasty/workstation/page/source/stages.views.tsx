/** Views: a virtual C-arm about the prone patient. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { getJson } from "./api";
import { draft, selectedPlan } from "./path-edit";
import { OverlaySwitches, Radiograph, type Shot } from "./radiograph";
import { about, base, details, has, readOnly, tried } from "./station";
import type { ShotInfo, ViewInfo } from "./types";
import { Choice, Empty, number, RunButton, Section, Slider, Editing } from "./ui";
import * as viewer from "./viewer";

export const views = signal<ViewInfo[]>([]);
export const arm = signal({ lao_deg: 0, cra_deg: 0, carm: "mobile", patient_position: "HFP", bone_white: false });
const shown = signal<ShotInfo | null>(null);

/** Reads the stored views of the open case whenever its revision changes. */
export function useViews(): void {
  useEffect(() => {
    const at = base.value;
    views.value = [];
    if (has("views")) void tried(async () => {
      const found = (await getJson<{ views: ViewInfo[] }>(`${at}/views`)).views;
      if (base.value === at) views.value = found;
    });
  }, [base.value, details.value?.revision]);
}

/** What the needle of the moment adds to a request for a radiograph. */
export function needleOf(): Partial<Shot> {
  if (draft.value) return { entry: draft.value.entry_mm, target: draft.value.target_mm, gauge: draft.value.gauge };
  return selectedPlan.value ? { plan: selectedPlan.value.rank } : {};
}

/** The server renders no view nearer to the body axis. */
const LIMITS = { lao: 180, cra: 85 };

export function ViewsPicture() {
  const { lao_deg, cra_deg, carm, patient_position, bone_white } = arm.value;
  if (readOnly.value) return <div class="shots one"><StoredView one={views.value.find(standsAt) ?? views.value[0]} pane="Stored view" /></div>;
  return (
    <div class="one-shot">
      <Radiograph shot={{ lao_deg, cra_deg, carm, patient_position, bone_white, size: 256, ...needleOf() }} words="Virtual C-arm" onShot={(info) => { shown.value = info; }} />
      <ArmDrawing />
    </div>
  );
}

/** A view as its picture lies in the case, letters, angles and notice in its pixels. */
export function StoredView({ one, pane }: { one: ViewInfo | undefined; pane: string }) {
  return (
    <figure class="pane radiograph" data-pane={pane} data-angles={one?.angles_label ?? ""}>
      <div class="shot">{one && <img src={one.url} alt={`Simulated radiograph, ${one.angles_label}`} draggable={false} />}</div>
      {!one && <p class="quiet">No picture of this view is stored.</p>}
      <figcaption>{one ? `${one.name} · as stored` : pane}</figcaption>
    </figure>
  );
}

/** The first four stored pictures beside each other. */
export function StoredViews() {
  if (!views.value.length) return <Empty words="No view is stored, and this server computes none." />;
  return <div class="shots">{views.value.slice(0, 4).map((one) => <StoredView key={one.number} one={one} pane={one.name} />)}</div>;
}

/** The C-arm stands as in a stored view. */
const standsAt = (one: ViewInfo): boolean => Math.abs(one.lao_deg - arm.value.lao_deg) < 0.5 && Math.abs(one.cra_deg - arm.value.cra_deg) < 0.5;

/** Which side of the patient is on the viewer's left, seen from the foot of the table, and what is at its head end. */
const LYING: Record<string, [string, string, string, string]> = {
  HFP: ["L", "R", "H", "F"], HFS: ["R", "L", "H", "F"], FFP: ["R", "L", "F", "H"], FFS: ["L", "R", "F", "H"],
};

/** Where the detector stands in the room, from the table's foot and from its side; console angles know no patient. */
function ArmDrawing() {
  const sides = LYING[arm.value.patient_position];
  if (!sides) return <div class="arm-drawing" />;
  const one = (label: string, angle: number, left: string, right: string) => {
    const a = (angle * Math.PI) / 180;
    const end = (r: number): [number, number] => [60 + r * Math.sin(a), 54 - r * Math.cos(a)];
    const [dx, dy] = end(40);
    const [sx, sy] = end(-40);
    return (
      <figure>
        <svg viewBox="0 0 120 108" role="img" aria-label={`${label}: ${angle.toFixed(0)} degrees`}>
          <ellipse cx="60" cy="54" rx="26" ry="12" class="patient" /><line x1="26" x2="94" y1="68" y2="68" class="table" />
          <line x1={sx} y1={sy} x2={dx} y2={dy} class="beam" />
          <circle cx={sx} cy={sy} r="4" class="source" />
          <line x1={dx - 12 * Math.cos(a)} y1={dy - 12 * Math.sin(a)} x2={dx + 12 * Math.cos(a)} y2={dy + 12 * Math.sin(a)} class="detector" />
          <text x="4" y="58">{left}</text><text x="116" y="58" text-anchor="end">{right}</text>
        </svg>
        <figcaption>{label}</figcaption>
      </figure>
    );
  };
  return (
    <div class="arm-drawing">
      {one("from the foot of the table", arm.value.lao_deg, sides[0], sides[1])}
      {one("from the side", -arm.value.cra_deg, sides[2], sides[3])}
      <p class="quiet small">Letters are the patient's. White: detector, dot: source. Console angles count as if the patient lay supine, head first.</p>
    </div>
  );
}

export function ViewsStage() {
  const set = (change: Partial<typeof arm.value>): void => { arm.value = { ...arm.value, ...change }; };
  const entryView = (): void => void tried(async () => {
    const path = viewer.path.value;
    if (!path) return;
    const words = (p: readonly number[]): string => p.map((n) => n.toFixed(2)).join(",");
    const answer = await getJson<ViewInfo | { view: ViewInfo }>(`${base.value}/views/entry?entry=${words(path.entry_mm)}&target=${words(path.target_mm)}`);
    const view = "view" in answer ? answer.view : answer;
    set({ lao_deg: view.lao_deg, cra_deg: view.cra_deg });
  });
  const info = shown.value;
  return (
    <>
      <Editing><Section title="C-arm" aside={<span class="angles">{info?.angles_label ?? ""}</span>}>
        <Slider label={arm.value.lao_deg >= 0 ? "LAO" : "RAO"} value={Math.round(arm.value.lao_deg)} low={-LIMITS.lao} high={LIMITS.lao} step={1} unit="°" words={`${Math.abs(arm.value.lao_deg).toFixed(0)}° ${arm.value.lao_deg >= 0 ? "LAO" : "RAO"}`} onInput={(lao_deg) => set({ lao_deg })} />
        <Slider label={arm.value.cra_deg >= 0 ? "CRA" : "CAU"} value={Math.round(arm.value.cra_deg)} low={-LIMITS.cra} high={LIMITS.cra} step={1} unit="°" words={`${Math.abs(arm.value.cra_deg).toFixed(0)}° ${arm.value.cra_deg >= 0 ? "CRA" : "CAU"}`} onInput={(cra_deg) => set({ cra_deg })} />
        <p>{info?.tilt_words}</p>
        {info && <p class={info.reach.possible ? "quiet" : "warning"} role="status">
          {info.reach.possible ? `Within reach; gap to the patient ${number(info.reach.gap_mm, 0, "mm")}` : `Out of reach: ${info.reach.reason}`}</p>}
      </Section></Editing>
      <Section title="Standard views">
        <div class="row wrap">
          {views.value.map((one) => (
            <button key={one.number} title={`${one.purpose} · ${one.angles_label}`} aria-pressed={standsAt(one)}
              onClick={() => set({ lao_deg: one.lao_deg, cra_deg: one.cra_deg })}>{one.name}</button>
          ))}
          <Editing><button disabled={!viewer.path.value} onClick={entryView}>Bull's-eye</button>
            <button onClick={() => set({ lao_deg: 0, cra_deg: 0 })}>0 / 0</button></Editing>
        </div>
        {views.value.map((one) => <p key={one.number} class="view-line"><strong>{one.name}</strong> {one.angles_label}<br /><span class="quiet">{one.purpose}{(one.visibility ?? []).some((v) => v.seen !== "not seen") && ` · seen: ${(one.visibility ?? []).filter((v) => v.seen !== "not seen").map((v) => v.structure + (v.seen === "faint" ? " (faint)" : "")).join(", ")}`}</span></p>)}
        {!has("views") && <RunButton name="views" words="Choose the views" needs={["plan"]} primary />}
      </Section>
      <Editing><Section title="Machine and picture">
        <div class="row">
          <Choice label="C-arm" value={arm.value.carm} options={about.value?.carms ?? []} onChange={(carm) => set({ carm })} />
          <Choice label="Position" value={arm.value.patient_position} options={(about.value?.patient_positions ?? []).map((p) => p.code)} onChange={(patient_position) => set({ patient_position })} />
        </div>
        <label class="check"><input type="checkbox" checked={arm.value.bone_white} onChange={() => set({ bone_white: !arm.value.bone_white })} /><span>Bone white</span></label>
        <OverlaySwitches />
      </Section></Editing>
    </>
  );
}
