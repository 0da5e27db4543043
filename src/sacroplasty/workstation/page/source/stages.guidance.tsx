/** Guidance: two or more shots, registered; a click on the tip gives its place with its uncertainty and what to do. */

import { effect, signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { getJson, send } from "./api";
import { Outline, overlayKinds, OverlaySwitches } from "./radiograph";
import { anatomy, base, caseId, details, ended, has, readOnly, take, tried } from "./station";
import type { Deviation, Job, Session } from "./types";
import { Choice, Drop, Empty, number, Section, spelled, uploaded, Editing } from "./ui";
import { isKnown } from "./marks";
import * as viewer from "./viewer";

const sessions = signal<Session[]>([]);
const open = signal<string | null>(null);
type Click = [number, number];
const tips = signal<Record<number, { tip?: Click; shaft?: Click }>>({});
/** What the next click marks: tip, shaft, or a landmark by name. */
const picking = signal("tip");
const landmarkClicks = signal<Record<string, Record<number, Click>>>({});
const truth = signal<Record<string, unknown> | null>(null);

/** The session that was chosen, else the newest: the server lists it first. */
const now = (): Session | null => sessions.value.find((one) => one.id === open.value) ?? sessions.value[0] ?? null;

/** Marks belong to the shots of one session; they never follow into another. */
function fresh(): void {
  tips.value = {};
  landmarkClicks.value = {};
  truth.value = null;
  open.value = null;
  picking.value = "tip";
}

/** Nothing of one patient's shots is left when another case is opened. */
export function startGuidance(): void {
  effect(() => {
    void caseId.value;
    sessions.value = [];
    fresh();
  });
}

async function reload(): Promise<void> {
  const at = base.value;
  const found = (await getJson<{ sessions: Session[] }>(`${at}/guidance`)).sessions;
  if (base.value === at) sessions.value = found;
}

async function followed(job: Job): Promise<void> {
  take(job);
  await ended(job.id);
  await reload();
}

export function GuidancePicture() {
  const session = now();
  if (!session?.shots.length) return <Empty words="Load two radiographs with geometry, or simulate two shots, to find the needle's tip." />;
  return <div class="shots">{session.shots.map((shot) => <GuidanceShot key={`${session.id}${shot.n}`} session={session} n={shot.n} />)}</div>;
}

function GuidanceShot({ session, n }: { session: Session; n: number }) {
  const shot = session.shots.find((one) => one.n === n)!;
  const index = session.shots.indexOf(shot);
  const clicked = tips.value[n];
  const drawing = session.overlays?.[index] ?? [];
  const mark = (event: MouseEvent & { currentTarget: SVGSVGElement }): void => {
    // The drawing's own coordinates are the shot's pixels, whatever its shape on the screen.
    const screen = event.currentTarget.getScreenCTM();
    if (!screen) return;
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(screen.inverse());
    if (at.x < 0 || at.y < 0 || at.x > shot.size - 1 || at.y > shot.rows - 1) return;
    if (readOnly.value) return;
    put(picking.value, [at.x, at.y]);
    next();
  };
  const put = (kind: string, at: Click): void => {
    if (kind === "tip" || kind === "shaft") tips.value = { ...tips.value, [n]: { ...clicked, [kind]: at } };
    else landmarkClicks.value = { ...landmarkClicks.value, [kind]: { ...landmarkClicks.value[kind], [n]: at } };
  };
  /** After the tip comes the shaft; a landmark stays in hand for the other shots. */
  const next = (): void => {
    if (picking.value === "tip") picking.value = "shaft";
    else if (picking.value === "shaft") picking.value = "tip";
  };
  const key = (event: KeyboardEvent): void => {
    const by: Record<string, Click> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const d = by[event.key];
    if ((!d && event.key !== "Enter") || readOnly.value) return;
    event.preventDefault();
    if (!d) {
      next();
      return;
    }
    const kind = picking.value;
    const held = kind === "tip" || kind === "shaft" ? clicked?.[kind] : landmarkClicks.value[kind]?.[n];
    const from = held ?? [shot.size / 2, shot.rows / 2];
    const scale = event.shiftKey ? 10 : 1;
    const inside = (v: number, count: number): number => Math.min(count - 1, Math.max(0, v));
    put(kind, [inside(from[0] + d[0] * scale, shot.size), inside(from[1] + d[1] * scale, shot.rows)]);
  };
  return (
    <figure class="pane radiograph" data-pane={`shot ${n}`}>
      <div class="shot">
        <img src={shot.url} alt={`Shot ${n}, ${shot.angles_label}`} draggable={false} />
        <svg viewBox={`-0.5 -0.5 ${shot.size} ${shot.rows}`} class="picking" onClick={mark} onKeyDown={key} tabindex={0} role="application"
          aria-label={`Shot ${n}, ${shot.angles_label}. Click the needle's tip, then a point on its shaft; arrow keys move the mark, with Shift by ten pixels, Enter takes the next one.`}>
          {drawing.filter((one) => overlayKinds.value[one.kind] ?? true).map((one) => <Outline key={one.name + one.kind} one={one} />)}
          {clicked?.tip && <g class="mark"><circle cx={clicked.tip[0]} cy={clicked.tip[1]} r="4" /><text x={clicked.tip[0] + 6} y={clicked.tip[1] - 4}>tip</text></g>}
          {clicked?.shaft && <g class="mark"><rect x={clicked.shaft[0] - 3} y={clicked.shaft[1] - 3} width="6" height="6" /><text x={clicked.shaft[0] + 6} y={clicked.shaft[1] - 4}>shaft</text></g>}
          {Object.entries(landmarkClicks.value).map(([name, by]) => by[n] && (
            <g key={name} class="mark"><path d={`M${by[n]![0] - 4} ${by[n]![1]}h8M${by[n]![0]} ${by[n]![1] - 4}v8`} /><text x={by[n]![0] + 6} y={by[n]![1] - 4}>{name}</text></g>
          ))}
        </svg>
      </div>
      <figcaption>Shot {n} · {shot.angles_label}</figcaption>
    </figure>
  );
}

export function GuidanceStage() {
  useEffect(() => {
    if (has("segment")) void tried(reload);
  }, [base.value, details.value?.revision]);
  const session = now();
  const answer = session?.answers?.at(-1);
  return (
    <>
      <Start />
      {session && <Register session={session} />}
      {session && <Editing><Tip session={session} /></Editing>}
      {answer && <Answer one={answer} />}
      {!readOnly.value && session?.simulated && session.answers.length > 0 && (
        <Section title="The simulated truth">
          <button onClick={() => void tried(async () => { truth.value = await send("POST", `${base.value}/guidance/${session.id}/reveal`, {}); })}>Reveal</button>
          {truth.value && <table class="measures"><tbody>{[...Object.entries(truth.value).filter(([key]) => key !== "answers"), ...truthLines(truth.value)].map(([key, value]) => (
            <tr key={key}><th scope="row">{spelled(key)[0]}</th><td>{Array.isArray(value) ? value.map((v) => (typeof v === "number" ? v.toFixed(1) : String(v))).join(", ") : typeof value === "number" ? value.toFixed(2) : String(value)}</td></tr>))}</tbody></table>}
        </Section>
      )}
      <Section title="Outlines"><OverlaySwitches /></Section>
    </>
  );
}

/** How far each answer was off, in words of its own. */
function truthLines(told: Record<string, unknown>): [string, string][] {
  const answers = (told["answers"] ?? []) as { error_mm: number; radius_95_mm: number; held: boolean }[];
  return answers.map((one, n): [string, string] => [`answer ${n + 1}`,
    `${one.error_mm.toFixed(1)} mm off; the 95 % ellipsoid ${one.held ? "held the tip" : "did not hold the tip"}`]);
}

/** A session in words: its number in the order of time, what kind, when. */
const titleOf = (one: Session, n: number, all: readonly Session[]): string =>
  `${all.length - n} · ${one.simulated ? "simulated" : "real shots"} · ${new Date(one.at).toLocaleString([], { dateStyle: "short", timeStyle: "short", hourCycle: "h23" })}`;

function Start() {
  const depth = useSignal("");
  const titles = sessions.value.map(titleOf);
  return (
    <Section title="Shots">
      {sessions.value.length > 1 && <Choice label="Session" value={titles[sessions.value.indexOf(now()!)] ?? ""} options={titles} onChange={(title) => { fresh(); open.value = sessions.value[titles.indexOf(title)]?.id ?? null; }} />}
      <Drop words={`Real shots: two or more DICOM XA/RF files with geometry. The isocentre is taken at the crosshair, now ${viewer.focus.value.map((v) => v.toFixed(0)).join(", ")} mm.`} work={async (files) => {
        fresh();
        await followed(await send<Job>("POST", `${base.value}/guidance/real`, { upload: await uploaded(files), isocentre_mm: viewer.focus.value }));
      }} />
      <Editing><div class="row">
        <label class="field"><span>Needle depth mm</span><input type="number" min="10" max="400" placeholder="80 % of the way" value={depth.value} onInput={(e) => { depth.value = e.currentTarget.value; }} /></label>
        <button disabled={!has("plan")} onClick={() => void tried(async () => {
          fresh();
          const seed = sessions.value.length + 1;
          await followed(await send<Job>("POST", `${base.value}/guidance`, { views: [{ lao_deg: 0, cra_deg: 0, name: "AP" }, { lao_deg: 90, cra_deg: 0, name: "lateral" }], seed, depth_mm: depth.value ? Number(depth.value) : null }));
        })}>Simulate two shots</button>
      </div>
      <p class="quiet">Simulated shots show a patient and a needle that are off by an amount not told until the end.</p></Editing>
      {readOnly.value && !sessions.value.length && <p class="quiet">No shots are stored.</p>}
    </Section>
  );
}

const WORDS: Record<Session["state"], string> = { shot: "not registered", registering: "registering …", registered: "registered", refused: "registration refused", void: "the CT was changed: take new shots" };

function Register({ session }: { session: Session }) {
  const name = useSignal("");
  const a = anatomy.value;
  const known: [string, readonly number[]][] = a ? [
    ...a.foramina.filter((one) => isKnown(one.state)).map((one): [string, readonly number[]] => [one.name, one.centre_mm]),
    ...Object.values(a.landmarks).filter((one) => isKnown(one.state)).map((one): [string, readonly number[]] => [one.name, one.position_mm])] : [];
  const marked = Object.keys(landmarkClicks.value);
  const register = (): void => void tried(async () => {
    const landmarks = marked.map((one) => ({
      name: one, position_mm: known.find(([key]) => key === one)?.[1],
      clicks: session.shots.map((shot) => landmarkClicks.value[one]?.[shot.n] ?? null),
    }));
    await followed(await send<Job>("POST", `${base.value}/guidance/${session.id}/register`, { landmarks, calibrated: true }));
  });
  const r = session.registration;
  return (
    <Section title="Registration" aside={<span class={session.state === "registered" ? "good" : session.state === "refused" ? "blocker" : "quiet"}>{WORDS[session.state]}</span>}>
      {r && <p class={r.accepted ? "" : "blocker"}>{r.sentence}</p>}
      <Editing><Choice label="Mark a landmark (helps where the start is far off)" value={name.value} options={known.map(([key]) => key)} empty="none"
        onChange={(v) => { name.value = v; picking.value = v || "tip"; }} />
      {marked.length > 0 && <p class="quiet">Marked: {marked.map((one) => `${one} (${Object.keys(landmarkClicks.value[one] ?? {}).length})`).join(", ")}</p>}
      <button class={session.state === "shot" ? "primary" : ""} disabled={session.state === "registering"} onClick={register}>Register to the CT</button></Editing>
    </Section>
  );
}

function Tip({ session }: { session: Session }) {
  const ready = session.shots.every((shot) => tips.value[shot.n]?.tip && tips.value[shot.n]?.shaft);
  const measure = (): void => void tried(async () => {
    const clicks = session.shots.map((shot) => ({ shot: shot.n, tip: tips.value[shot.n]!.tip, shaft: tips.value[shot.n]!.shaft }));
    await send("POST", `${base.value}/guidance/${session.id}/tip`, { clicks, plan: 1 });
    await reload();
  });
  return (
    <Section title="Needle tip">
      <div class="row">
        <div class="segmented" role="group" aria-label="What the next click marks">
          {(["tip", "shaft"] as const).map((one) => <button key={one} aria-pressed={picking.value === one} onClick={() => { picking.value = one; }}>{one}</button>)}
        </div>
        <button class="primary" disabled={!ready || session.state !== "registered"} title={ready ? "" : "Mark tip and shaft in every shot"} onClick={measure}>Measure</button>
        <button onClick={() => { tips.value = {}; }}>Clear</button>
      </div>
      <p class="quiet">Click the tip, then a point far up the shaft, in each shot.</p>
    </Section>
  );
}

function Answer({ one }: { one: Deviation }) {
  const inside = typeof one.inside_lesion === "boolean" ? (one.inside_lesion ? "yes" : "no") : `${(one.inside_lesion * 100).toFixed(0)} %`;
  return (
    <Section title="Where the tip is">
      <p class={`advice ${one.advice}`} role="status"><strong>{one.advice}</strong></p>
      <p>{one.sentence}</p>
      <table class="measures"><tbody>
        <tr><th scope="row">off the planned line</th><td>{number(one.lateral_mm, 1, "mm")}</td></tr>
        <tr><th scope="row">still to go</th><td>{number(one.remaining_mm, 1, "mm")}</td></tr>
        <tr><th scope="row">angle to the plan</th><td>{number(one.angle_deg, 1, "°")}</td></tr>
        <tr><th scope="row">95 % of the time within</th><td>{number(one.radius_95_mm, 1, "mm")}</td></tr>
        <tr><th scope="row">95 % ellipsoid</th><td>{one.ellipsoid.axes_mm.map((v) => v.toFixed(1)).join(" × ")} mm</td></tr>
        <tr><th scope="row">inside the lesion</th><td>{inside}</td></tr>
        <tr><th scope="row">clearance, at least</th><td>{number(one.clearance_bound_mm, 1, "mm")}</td></tr>
        <tr><th scope="row">clicks disagree by</th><td>{number(one.misfit_pixels, 1, "px")}</td></tr>
      </tbody></table>
    </Section>
  );
}
