/** Anatomy: what was found and how sure, corrections by landmark and brush. Lesion: click, sphere or brush. */

import { effect, signal, useSignal } from "@preact/signals";
import type { Vec3 } from "./geometry";
import { inverse, norm, point, sub } from "./geometry";
import { isKnown } from "./marks";
import { image3d, type Image3D } from "./reslice";
import { anatomy, caseId, has, images, lesions, notice, runningJob, tried, write } from "./station";
import type { Lesion } from "./types";
import { Choice, Field, Findings, Measures, number, percent, placed, RunButton, Section, Slider, WithReason, Editing } from "./ui";
import * as viewer from "./viewer";

const SURE = 0.5;

export function AnatomyStage() {
  const a = anatomy.value;
  if (!a) {
    return (
      <Section title="Anatomy">
        <p class="quiet">Sacrum, foramina, canal, hiatus, joints and skin are not segmented yet.</p>
        <RunButton name="segment" words="Segment" needs={["images"]} primary />
      </Section>
    );
  }
  // Each foramen has its own line in the table below.
  const confidences = Object.entries(a.confidences ?? {}).filter(([name]) => !/foramen|landmark/.test(name));
  return (
    <>
      <Section title="Found" aside={<RunButton name="segment" words="Segment again" needs={["images"]} />}>
        {a.source && <p class="quiet">From {a.source}</p>}
        <ul class="bars">
          {confidences.map(([name, share]) => (
            <li key={name}><span>{placed(name)}</span><meter min={0} max={1} low={SURE} value={share}>{share}</meter>
              <span class={share < SURE ? "warning" : ""}>{percent(share)}</span></li>
          ))}
        </ul>
      </Section>
      <Editing><Corrections /></Editing>
      <Section title="Foramina">
        <table class="list"><thead><tr><th>Foramen</th><th>State</th><th>±mm</th><th>Sure</th></tr></thead><tbody>
          {a.foramina.map((one) => (
            <tr key={one.name} class={isKnown(one.state) ? "" : "off"}>
              <td><button class="link" disabled={!isKnown(one.state)} onClick={() => viewer.goTo(one.centre_mm)}>{one.level} {one.face.slice(0, 4)}. {one.side}</button></td>
              <td>{one.state}</td><td>{isKnown(one.state) ? number(one.uncertainty_mm) : "–"}</td><td>{isKnown(one.state) ? percent(one.confidence) : "–"}</td>
            </tr>
          ))}
        </tbody></table>
      </Section>
      <Section title="Landmarks">
        <table class="list"><tbody>
          {a.hiatus && isKnown(a.hiatus.state) && <tr><td><button class="link" onClick={() => viewer.goTo(a.hiatus!.apex_mm)}>hiatus apex ({a.hiatus.apex_level})</button></td><td>{a.hiatus.state}</td></tr>}
          {Object.values(a.landmarks).map((one) => (
            <tr key={one.name}><td><button class="link" disabled={!isKnown(one.state)} onClick={() => viewer.goTo(one.position_mm)}>{placed(one.name)}</button></td>
              <td>{one.state}</td><td>±{number(one.uncertainty_mm)}</td></tr>
          ))}
        </tbody></table>
      </Section>
      <Section title="Measures"><Measures values={a.measures} /></Section>
      <Section title="Remarks"><Findings list={a.findings} /></Section>
    </>
  );
}

/** Moved places that wait to be sent: foramen or landmark name to place. */
const moved = signal<Record<string, Vec3>>({});

function place(name: string, where: Vec3): void {
  moved.value = { ...moved.value, [name]: where };
  viewer.pins.value = Object.entries(moved.value).map(([key, at]) => ({ name: placed(key), place: at }));
}

function dropMoves(): void {
  moved.value = {};
  viewer.pins.value = [];
  viewer.tool.value = null;
}

/** Places that wait and a mask under the brush never follow into another case. */
export function startCorrections(): void {
  effect(() => {
    void caseId.value;
    dropMoves();
    viewer.brushed.value = null;
  });
}

async function sendMoves(reason: string): Promise<void> {
  const a = anatomy.value!;
  const foramina = a.foramina.filter((one) => moved.value[one.name])
    .map((one) => ({ level: one.level, side: one.side, face: one.face, centre_mm: moved.value[one.name] }));
  const landmarks = Object.fromEntries(Object.entries(moved.value).filter(([name]) => a.landmarks[name]));
  const body: Record<string, unknown> = { foramina, landmarks, reason };
  if (moved.value["hiatus apex"]) body["hiatus_apex_mm"] = moved.value["hiatus apex"];
  await write("PATCH", "/anatomy", body);
  dropMoves();
}

function Corrections() {
  const which = useSignal("");
  const structure = useSignal("sacrum");
  const a = anatomy.value!;
  const names = [...a.foramina.map((one) => one.name), "hiatus apex", ...Object.keys(a.landmarks)];
  const structures = Object.values(images.value.find((one) => one.name === "labels")?.names ?? {});
  const pick = (name: string): void => {
    which.value = name;
    const known = a.foramina.find((one) => one.name === name)?.centre_mm ?? a.landmarks[name]?.position_mm ?? (name === "hiatus apex" ? a.hiatus?.apex_mm : undefined);
    if (known) viewer.goTo(known);
    viewer.tool.value = name ? {
      name: "place", hint: `Click where ${name} is`,
      act: (at, phase) => { if (phase !== "up") place(name, at); },
    } : null;
  };
  return (
    <Section title="Correct">
      <Choice label="Move a place" value={which.value} options={names} empty="choose, then click in a slice" onChange={pick} />
      {Object.keys(moved.value).length > 0 && (
        <div class="row"><WithReason words={`Store ${Object.keys(moved.value).length} moved`} label="Why" onDone={(reason) => void tried(() => sendMoves(reason))} />
          <button onClick={dropMoves}>Drop</button></div>
      )}
      <Choice label="Repaint a structure" value={structure.value} options={structures} onChange={(v) => { structure.value = v; }} />
      <Brush start={() => startFromLabels(structure.value)} send={(body) => write("PUT", `/labels/${structure.value}`, body, { "Content-Type": "application/octet-stream" })} words={`Store ${placed(structure.value)}`} />
    </Section>
  );
}

function startFromLabels(structure: string): Image3D | null {
  const labels = viewer.labelImage.value;
  const names = images.value.find((one) => one.name === "labels")?.names ?? {};
  const label = Number(Object.entries(names).find(([, name]) => name === structure)?.[0] ?? -1);
  if (!labels) return null;
  const mask = new Uint8Array(labels.array.length);
  for (let p = 0; p < mask.length; p++) mask[p] = labels.array[p] === label ? 1 : 0;
  return image3d(mask, labels.shape, labels.patientFromVoxel);
}

/** Paints a ball of the brush's radius into the mask; erases with `value` 0. */
export function paintBall(mask: Image3D, centre: Vec3, radius_mm: number, value: 0 | 1): void {
  const c = point(mask.voxelFromPatient, centre);
  const reach = mask.spacing_mm.map((s) => Math.ceil(radius_mm / s) + 1);
  const [ni, nj, nk] = mask.shape;
  for (let k = Math.max(0, Math.floor(c[2] - reach[2]!)); k <= Math.min(nk - 1, Math.ceil(c[2] + reach[2]!)); k++) {
    for (let j = Math.max(0, Math.floor(c[1] - reach[1]!)); j <= Math.min(nj - 1, Math.ceil(c[1] + reach[1]!)); j++) {
      for (let i = Math.max(0, Math.floor(c[0] - reach[0]!)); i <= Math.min(ni - 1, Math.ceil(c[0] + reach[0]!)); i++) {
        if (norm(sub(point(mask.patientFromVoxel, [i, j, k]), centre)) <= radius_mm) mask.array[i + ni * (j + nj * k)] = value;
      }
    }
  }
}

async function squeezed(mask: Image3D): Promise<Blob> {
  const packed = new Blob([mask.array as unknown as BlobPart]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Response(packed).blob();
}

function Brush({ start, send, words }: { start: () => Image3D | null; send: (body: Blob) => Promise<unknown>; words: string }) {
  const radius = useSignal(4);
  const erase = useSignal(false);
  const before = useSignal<Image3D | null>(null);
  const active = viewer.tool.value?.name === "brush" && viewer.brushed.value !== null;
  const begin = (): void => {
    const image = start();
    if (!image) return;
    before.value = { ...image, array: image.array.slice() };
    viewer.brushed.value = { image, stamp: 0 };
    viewer.tool.value = {
      name: "brush", hint: "Paint; hold Alt to erase",
      act: (at, phase, _plane, alt) => {
        const held = viewer.brushed.value;
        if (!held || phase === "up") return;
        paintBall(held.image, at, radius.value, erase.value !== alt ? 0 : 1);
        viewer.brushed.value = { image: held.image, stamp: held.stamp + 1 };
      },
    };
  };
  const stop = (): void => { viewer.brushed.value = null; viewer.tool.value = null; };
  const store = async (): Promise<void> => {
    // What another window painted meanwhile is not painted over unseen.
    const now = start();
    const meanwhile = !now || now.array.length !== before.value!.array.length || now.array.some((v, n) => v !== before.value!.array[n]);
    if (meanwhile) {
      before.value = now;
      notice.value = { kind: "conflict", text: "It was changed in another window meanwhile. Nothing was overwritten; store once more to replace it by what you painted." };
      return;
    }
    await send(await squeezed(viewer.brushed.value!.image));
    stop();
  };
  if (!active) return <button disabled={!viewer.labelImage.value} onClick={begin}>Brush …</button>;
  return (
    <div class="stack">
      <Slider label="Radius" value={radius.value} low={1} high={15} step={1} unit="mm" onInput={(v) => { radius.value = v; }} />
      <label class="check"><input type="checkbox" checked={erase.value} onChange={() => { erase.value = !erase.value; }} /><span>Erase</span></label>
      <div class="row">
        <button class="primary" onClick={() => void tried(store)}>{words}</button>
        <button onClick={stop}>Drop</button>
      </div>
    </div>
  );
}

/** What a new lesion does to those that the case has. */
type Among = "alone" | "further" | "treated";
const AMONG: [Among, string][] = [["treated", "Instead of the treated one"], ["further", "As a further one"]];

function lesionMask(among: Among): Image3D | null {
  const labels = viewer.labelImage.value;
  const old = among === "further" ? null : viewer.lesionImage.value;
  if (!labels) return null;
  const array = old && old.array.length === labels.array.length ? Uint8Array.from(old.array) : new Uint8Array(labels.array.length);
  return { ...labels, array, voxelFromPatient: inverse(labels.patientFromVoxel) };
}

/** The levels of a lesion with their shares. */
const levelsOf = (one: Lesion): string => Object.entries(one.levels).map(([level, share]) => `${level} ${percent(share)}`).join(", ");

/** Every lesion in one line, which of them is treated, and which go. */
function LesionList() {
  const all = lesions.value;
  const busy = !!runningJob.value;
  if (all.length < 2) return null;
  return (
    <Section title={`${all.length} lesions`}>
      <table class="list lesions"><tbody>
        {all.map((one, n) => (
          <tr key={one.image}>
            <td><button class="link" onClick={() => viewer.goTo(one.centre_mm)}>{n + 1}. {levelsOf(one)}</button></td>
            <td>{number(one.volume_ml, 1, "mL")}</td>
            <td>{n === 0 ? <strong>treated</strong> : <Editing><button disabled={busy} aria-label={`Treat lesion ${n + 1}`} onClick={() => void tried(() => write("POST", `/lesions/${n + 1}/treat`))}>Treat</button></Editing>}</td>
            <td><Editing><button disabled={busy} aria-label={`Take out lesion ${n + 1}`} onClick={() => void tried(() => write("DELETE", `/lesions/${n + 1}`))}>✕</button></Editing></td>
          </tr>
        ))}
      </tbody></table>
      <p class="quiet">Plans and cement are for the treated one; the others are drawn as outlines. Another choice forgets what was planned.</p>
    </Section>
  );
}

function ShowLesion() {
  const radius = useSignal("10");
  const chosen = useSignal<Among>("treated");
  const clicking = viewer.tool.value?.name === "lesion";
  const some = lesions.value.length > 0;
  // The only lesion is replaced as the first one is shown: there is nobody beside it.
  const among: Among = some && (chosen.value === "further" || lesions.value.length > 1) ? chosen.value : "alone";
  const click = (): void => {
    viewer.tool.value = clicking ? null : {
      name: "lesion", hint: "Click inside the lesion",
      act: (at, phase) => {
        if (phase !== "down") return;
        viewer.focus.value = at;
        viewer.tool.value = null;
        void tried(() => write("POST", "/lesion", { click_mm: at, among }));
      },
    };
  };
  const sphere = (): void => void tried(() => write("POST", "/lesion", { centre_mm: viewer.focus.value, radius_mm: Number(radius.value), among }));
  const ready = has("segment") && !runningJob.value;
  return (
    <Section title={some ? "Show another lesion" : "Show the lesion"}>
      {some && <div class="segmented" role="group" aria-label="What a new lesion does">
        {AMONG.map(([key, words]) => <button key={key} aria-pressed={chosen.value === key} onClick={() => { chosen.value = key; viewer.brushed.value = null; viewer.tool.value = null; }}>{words}</button>)}
      </div>}
      <div class="row">
        <button class={clicking ? "primary" : ""} aria-pressed={clicking} disabled={!ready} onClick={click}>{clicking ? "Click inside it …" : "By a click"}</button>
        {(!some || chosen.value === "treated") && <RunButton name="lesion" words={some ? "Search anew" : "Search"} needs={["segment"]} />}
      </div>
      <div class="row"><Field label="Sphere at the crosshair, radius mm" type="number" min="1" max="60" step="1" value={radius.value} onInput={(v) => { radius.value = v; }} />
        <button disabled={!ready} onClick={sphere}>Take sphere</button></div>
      <Brush start={() => lesionMask(among)} send={(body) => write("PUT", among === "alone" ? "/lesion/mask" : `/lesion/mask?among=${among}`, body, { "Content-Type": "application/octet-stream" })} words="Store the lesion" />
      <p class="quiet">Plans, views, cement and report made before are forgotten{some ? "; a search takes the place of all lesions" : ""}.</p>
    </Section>
  );
}

export function LesionStage() {
  return (
    <>
      <Editing><ShowLesion /></Editing>
      <LesionList />
      {lesions.value.map((one, n) => (
        <Section key={one.image} title={`Lesion ${n + 1}${n === 0 && lesions.value.length > 1 ? " (treated)" : ""}`} aside={<button class="link" onClick={() => viewer.goTo(one.centre_mm)}>show</button>}>
          <p><strong>{number(one.volume_ml, 1, "mL")}</strong> · {one.kind} · {levelsOf(one)}{one.synthetic ? " · synthetic" : ""}</p>
          <table class="list"><thead><tr><th>Wall</th><th>Integrity</th><th>Open mm²</th></tr></thead><tbody>
            {one.walls.map((wall) => (
              <tr key={wall.name} class={/breach|destroy|open/.test(wall.integrity) ? "warning" : ""}>
                <td>{wall.where_mm ? <button class="link" onClick={() => viewer.goTo(wall.where_mm)}>{placed(wall.name)}</button> : placed(wall.name)}</td>
                <td>{wall.integrity}</td><td>{number(wall.breach_area_mm2, 0)}</td>
              </tr>
            ))}
          </tbody></table>
          <Measures values={one.measures} />
          <Findings list={one.findings} />
        </Section>
      ))}
      {lesions.value.length === 0 && <p class="quiet pad">No lesion yet.</p>}
    </>
  );
}
