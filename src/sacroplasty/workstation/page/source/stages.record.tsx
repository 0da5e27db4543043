/** Report, procedure record with its timed checklist, follow-up with chart, cohort. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { getJson, send } from "./api";
import { Chart, Legend, type Series } from "./chart";
import { useEdits } from "./edits";
import { about, base, caseId, details, ended, go, has, readOnly, take, tried, write } from "./station";
import type { Job, Step } from "./types";
import { Choice, Drop, Empty, Field, Form, number, percent, placed, RunButton, Section, uploaded, Editing } from "./ui";

export function ReportStage() {
  const made = useSignal<string[]>([]);
  const archive = useSignal("");
  const formats = ["slicer", "dicom"];
  const exported = (format: string): void => void tried(async () => {
    const job = await send<Job>("POST", `${base.value}/export`, { formats: [format] });
    take(job);
    const done = await ended(job.id);
    const file = done.result?.["file"];
    if (typeof file === "string") made.value = [file, ...made.value.filter((one) => one !== file)];
  });
  return (
    <div class="report">
      <aside>
        <Section title="Report">
          <RunButton name="report" words={has("report") ? "Write again" : "Write the report"} needs={["plan"]} primary={!has("report")} />
          {has("report") && <p><a class="button" href={`${base.value}/report.pdf`} target="_blank" rel="noopener">PDF</a> <a class="button" href={`${base.value}/report.html`} target="_blank" rel="noopener">New tab</a></p>}
          {details.value?.stale.includes("report") && <p class="warning">Made from an older plan: write it again.</p>}
        </Section>
        <Editing><Section title="Export">
          <div class="row wrap">{formats.map((one) => <button key={one} disabled={!has("plan")} onClick={() => exported(one)}>{one === "slicer" ? "3D Slicer scene" : "DICOM SEG and SR"}</button>)}</div>
          <ul class="plain">{made.value.map((file) => <li key={file}><a href={`${base.value}/exports/${encodeURIComponent(file)}`} download>{file}</a></li>)}</ul>
        </Section></Editing>
        {!readOnly.value && (about.value?.archives.length ?? 0) > 0 && (
          <Section title="Send">
            <Choice label="Archive" value={archive.value} options={about.value!.archives} empty="choose" onChange={(v) => { archive.value = v; }} />
            <button disabled={!archive.value} onClick={() => void tried(async () => take(await send<Job>("POST", `${base.value}/send`, { archive: archive.value })))}>Send to PACS</button>
          </Section>
        )}
        <Citations />
      </aside>
      {has("report")
        ? <iframe title="Report" sandbox="" src={`${base.value}/report.html?revision=${details.value?.revision ?? 0}`} />
        : <Empty words="No report yet. It needs a plan." />}
    </div>
  );
}

function Citations() {
  const lines = useSignal<string[] | null>(null);
  return (
    <Section title="Sources">
      {lines.value ? <ul class="plain small">{lines.value.map((one) => <li key={one}>{one}</li>)}</ul>
        : <button onClick={() => void tried(async () => { lines.value = (await getJson<{ lines: string[] }>(`${base.value}/citations`)).lines; })}>Where every number comes from</button>}
    </Section>
  );
}

interface Procedure { revision: number; steps: Step[]; details: Record<string, unknown>; warnings: string[]; missing: string[]; closed_at: string | null }

type Kind = "text" | "number" | "yes/no" | readonly string[];
/** The registry's columns, what they are called, and how they are answered. */
const DETAILS: [string, string, Kind][] = [
  ["approach", "Approach", "text"],
  ["guidance", "Guidance", ["fluoroscopy", "CT", "CT and fluoroscopy", "CT-fluoroscopy suite", "cone-beam CT", "navigation"]],
  ["position", "Position", ["prone", "lateral", "supine"]], ["antibiotic", "Antibiotic", "text"], ["antibiotic_dose_g", "Dose, g", "number"],
  ["antibiotic_days_after", "Continued, days", "number"], ["skin_preparation", "Skin preparation", "text"], ["prepared_region", "Prepared region", "text"],
  ["anaesthesia", "Anaesthesia", "text"], ["incision_site", "Incision", "text"], ["mallet_used", "Mallet used", "yes/no"], ["venogram", "Venogram", "text"],
  ["tip_adjusted_after_venogram", "Tip adjusted after it", "yes/no"], ["filling", "Filling", "text"], ["fluoroscopy_minutes", "Fluoroscopy, minutes", "number"],
  ["air_kerma_mgy", "Air kerma, mGy", "number"], ["technical_success", "Technical success", "yes/no"], ["neurological_check", "Neurology after", "text"],
  ["leak_modality", "Leaks judged on", "text"], ["leak_verdict", "Leaks", "text"], ["days_in_hospital", "Days in hospital", "number"],
];

const clock = (iso: string): string => new Date(iso).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

export function ProcedureStage() {
  const p = useSignal<Procedure | null>(null);
  const notes = useSignal<Record<string, string>>({});
  const edits = useEdits(p.value?.details ?? null);
  const asked = useRef(0);
  // Answers may overtake one another: only the one asked for last, after every write, is shown.
  const load = (): Promise<boolean> => tried(async () => {
    const turn = ++asked.current;
    const found = await getJson<Procedure>(`${base.value}/procedure`);
    if (turn === asked.current) p.value = found;
  });
  useEffect(() => { void load(); }, [base.value, details.value?.revision]);
  const act = (method: string, path: string, body?: unknown): void => void tried(async () => { await write(method, `/procedure${path}`, body); await load(); });
  const one = p.value;
  if (!one) return <div class="page"><p class="quiet">The record is loading.</p></div>;
  const done = new Set(one.steps.filter((step) => step.done_at).map((step) => step.key));
  const d = edits.shown ?? one.details;
  const store = (): Promise<boolean> => tried(async () => {
    const record = edits.ready();
    if (!record) return;
    await write("PUT", "/procedure/details", record, {}, one.revision);
    edits.done(record);
    await load();
  });
  return (
    <div class="page two-columns">
      <Section title="Checklist" aside={one.closed_at ? <span class="tag">closed {one.closed_at.slice(0, 10)}</span> : null}>
        {one.warnings.map((words) => <p key={words} class="warning" role="alert">▲ {words}</p>)}
        <ol class="checklist">
          {one.steps.map((step) => {
            const waits = step.after.filter((key) => !done.has(key));
            return (
              <li key={step.key} class={step.done_at ? "done" : waits.length ? "waiting" : ""}>
                <button class="tick" aria-pressed={!!step.done_at} disabled={!!one.closed_at || readOnly.value} aria-label={`${step.words}${step.done_at ? `, done at ${clock(step.done_at)}` : ""}`}
                  onClick={() => (step.done_at ? act("DELETE", `/steps/${step.key}`) : act("POST", `/steps/${step.key}`, { at: null, note: notes.value[step.key] ?? "" }))}>{step.done_at ? "✓" : ""}</button>
                <div><strong>{step.words}</strong>{step.required && !step.done_at && <span class="tag">required</span>}
                  {step.done_at && <span class="quiet"> {clock(step.done_at)}{step.minutes_after_antibiotic !== null && step.key === "incision" && ` · ${step.minutes_after_antibiotic.toFixed(0)} min after the antibiotic`}</span>}
                  {step.note && <p dir="auto">{step.note}</p>}
                  {!step.done_at && waits.length > 0 && <p class="quiet">after: {waits.map((key) => one.steps.find((other) => other.key === key)?.words ?? key).join(", ")}</p>}
                </div>
                {!step.done_at && !readOnly.value && <input aria-label={`Note for ${step.words}`} placeholder="note" value={notes.value[step.key] ?? ""} onInput={(e) => { notes.value = { ...notes.value, [step.key]: e.currentTarget.value }; }} />}
              </li>
            );
          })}
        </ol>
      </Section>
      <div>
        <Section title="Details" aside={<Editing><div class="row"><button class="primary" disabled={!edits.dirty} onClick={() => void store()}>Store</button>{edits.dirty && <button onClick={edits.drop}>Drop</button>}</div></Editing>}>
          <Form><div class="facts">
            {DETAILS.map(([key, words, kind]) => (
              <Answer key={key} label={words} kind={key === "approach" ? (about.value?.approaches ?? []).map((a) => a.name) : kind} value={d[key]}
                onChange={(v) => edits.set({ ...d, [key]: v })} />
            ))}
          </div>
          <Deposits value={(d["deposits"] as Record<string, unknown>[] | undefined) ?? []} onChange={(deposits) => edits.set({ ...d, deposits })} /></Form>
        </Section>
        <Editing><Section title="Close">
          <p class="quiet">Closing writes the record to the registry. It can be read afterwards, not changed.</p>
          {one.missing.length > 0 && !one.closed_at && <p>Not ticked yet: {one.missing.join(", ")}</p>}
          <button disabled={!!one.closed_at || edits.dirty} onClick={() => act("POST", "/close", {})}>Close the record</button>
        </Section></Editing>
      </div>
    </div>
  );
}

/** One answer that may stay open. */
function Answer({ label, kind, value, onChange }: { label: string; kind: Kind; value: unknown; onChange: (value: unknown) => void }) {
  const words = value === null || value === undefined ? "" : typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
  const read = (v: string): unknown => (v === "" ? null : kind === "number" ? Number(v) : kind === "yes/no" ? v === "yes" : v);
  if (kind === "text" || kind === "number") {
    return <Field label={label} type={kind} step="any" placeholder="not recorded" value={words} onInput={(v) => onChange(read(v))} />;
  }
  return <Choice label={label} value={words} options={kind === "yes/no" ? ["yes", "no"] : kind} empty="not recorded" onChange={(v) => onChange(read(v))} />;
}

const DEPOSIT: [string, string, "text" | "number"][] = [
  ["level", "Level", "text"], ["side", "Side", "text"], ["needle_gauge", "Gauge", "number"], ["cement", "Cement", "text"], ["cement_lot", "Lot", "text"], ["volume_ml", "mL (open if unknown)", "number"],
];

function Deposits({ value, onChange }: { value: Record<string, unknown>[]; onChange: (value: Record<string, unknown>[]) => void }) {
  return (
    <fieldset><legend>Deposits</legend>
      {value.map((one, n) => (
        <div class="row wrap" key={n}>
          {DEPOSIT.map(([key, words, type]) => {
            const options = about.value?.choices[key];
            const now = one[key] === null || one[key] === undefined ? "" : String(one[key]);
            const set = (v: string): void => onChange(value.map((other, k) => (k === n ? { ...one, [key]: v === "" ? null : type === "number" ? Number(v) : v } : other)));
            return options ? <Choice key={key} label={words} value={now} options={options} empty="–" onChange={set} /> : <Field key={key} label={words} type={type} step="any" value={now} onInput={set} />;
          })}
          <button aria-label="Take out this deposit" onClick={() => onChange(value.filter((_, k) => k !== n))}>✕</button>
        </div>
      ))}
      <button onClick={() => onChange([...value, { level: "S1", side: null, needle_gauge: 13, cement: null, cement_lot: null, volume_ml: null }])}>Add a deposit</button>
    </fieldset>
  );
}

interface FollowUp {
  template: string;
  procedure_on: string | null;
  schedule: { name: string; day: number; window_days: number; contact: string; due_on: string | null; state: string }[];
  pain: { order: number; day: number | null; nrs: number | null; words: string; after: string }[];
  contacts: Record<string, unknown>[]; events: Record<string, unknown>[];
  changes: { intervention: string; before: number; after: number; points: number; response: string | boolean }[];
  chart: { series: { name: string; unit: string; points: [number, number][] }[]; marks: { day: number; words: string }[] };
}

const CHART_COLOURS = ["#4cc2c4", "#e69f00", "#cc79a7", "#9fd356"];

export function FollowUpStage() {
  const f = useSignal<FollowUp | null>(null);
  const load = (): Promise<boolean> => tried(async () => { f.value = await getJson<FollowUp>(`${base.value}/follow-up`); });
  useEffect(() => { void load(); }, [base.value, details.value?.revision]);
  const add = (kind: string, body: unknown): Promise<boolean> => tried(async () => { await write("POST", `/follow-up/${kind}`, body); await load(); });
  const one = f.value;
  if (!one) return <div class="page"><p class="quiet">The follow-up is loading.</p></div>;
  const byUnit = new Map<string, Series[]>();
  one.chart.series.filter((s) => s.points.length > 0).forEach((s, n) => byUnit.set(s.unit, [...(byUnit.get(s.unit) ?? []), { name: s.name, points: s.points, colour: CHART_COLOURS[n % 4]!, dots: true }]));
  return (
    <div class="page two-columns">
      <div>
        <Section title="Course">
          {[...byUnit].map(([unit, series]) => (
            <div key={unit}><Chart series={series} x="days after the procedure" y={unit} height={170} low={0} {...(unit.includes("10") ? { high: 10 } : {})} at={0} /><Legend series={series} /></div>
          ))}
          {byUnit.size === 0 && <p class="quiet">No score yet.</p>}
          <ul class="plain">{one.chart.marks.map((m) => <li key={m.words}>day {m.day}: {m.words}</li>)}</ul>
          {one.changes.map((c) => <p key={c.intervention}><strong>{placed(c.intervention)}</strong>: pain {number(c.before, 0)} → {number(c.after, 0)}{typeof c.response === "string" ? `, ${c.response}` : ""}</p>)}
        </Section>
        <Section title="Pain as told">
          <table class="list"><thead><tr><th>Day</th><th>NRS</th><th>In words</th><th>After</th></tr></thead><tbody>
            {one.pain.map((p, n) => <tr key={n}><td>{p.day ?? "–"}</td><td>{p.nrs ?? "–"}</td><td dir="auto">{p.words}</td><td>{placed(p.after ?? "")}</td></tr>)}</tbody></table>
        </Section>
        <LaterCt />
        <Events list={one.events} add={add} />
      </div>
      <div>
        <Section title="Appointments">
          <Editing><Due one={one} reload={load} /></Editing>
          <table class="list"><thead><tr><th>When</th><th>Due</th><th>How</th><th>State</th></tr></thead><tbody>
            {one.schedule.map((s) => <tr key={s.name} class={s.state === "overdue" ? "warning" : ""}><td>{placed(s.name)} (day {s.day})</td><td>{s.due_on ?? "–"}</td><td>{s.contact}</td><td>{s.state}</td></tr>)}</tbody></table>
        </Section>
        <Editing><PainEntry add={add} /><ContactEntry add={add} /></Editing>
      </div>
    </div>
  );
}

interface Look { name: string; stale: boolean; sentences: string[] }

/** A CT after the procedure, laid on the plan: where the cement is and what it leaked to. */
function LaterCt() {
  const looks = useSignal<Look[]>([]);
  useEffect(() => { void tried(async () => { looks.value = (await getJson<{ looks: Look[] }>(`${base.value}/later-ct`)).looks; }); }, [base.value, details.value?.revision]);
  return (
    <Section title="CT after the procedure">
      {looks.value.map((one) => (
        <div key={one.name} class="stack"><strong>{one.name}</strong>{one.stale && <p class="warning">Made against an older plan: compare again.</p>}
          <ul class="plain">{one.sentences.map((words) => <li key={words}>{words}</li>)}</ul></div>
      ))}
      <Drop words="Compare a later CT with the plan" work={async (files) => write("POST", "/later-ct", { upload: await uploaded(files), name: `ct-${looks.value.length + 1}` })} />
    </Section>
  );
}

function Due({ one, reload }: { one: FollowUp; reload: () => Promise<boolean> }) {
  const on = useSignal(one.procedure_on ?? "");
  const schedule = useSignal(one.template);
  return (
    <div class="row wrap">
      <Field label="Day of the procedure" type="date" value={on.value} onInput={(v) => { on.value = v; }} />
      <Choice label="Schedule" value={schedule.value} options={Object.keys(about.value?.schedules ?? {})} onChange={(v) => { schedule.value = v; }} />
      <button disabled={!on.value} onClick={() => void tried(async () => { await write("PUT", "/follow-up", { procedure_on: on.value, schedule: schedule.value }); await reload(); })}>Set</button>
    </div>
  );
}

type Add = (kind: string, body: unknown) => Promise<boolean>;

/** Words for the numbers 0, 1, 2 … of a graded answer. */
interface Ranked { ranks: readonly string[] }

/** A form of plain fields that sends what was filled in and empties itself. */
function Entry({ title, words, fields, send: sent }: {
  title: string; words: string; fields: [string, string, Kind | Ranked][]; send: (body: Record<string, unknown>) => Promise<boolean>;
}) {
  const held = useSignal<Record<string, string>>({});
  const body = (): Record<string, unknown> => Object.fromEntries(fields.filter(([key]) => held.value[key]).map(([key, , kind]) => {
    const v = held.value[key]!;
    if (typeof kind === "object" && "ranks" in kind) return [key, kind.ranks.indexOf(v)];
    return [key, kind === "number" ? Number(v) : kind === "yes/no" ? v === "yes" : v];
  }));
  const set = (key: string, v: string): void => { held.value = { ...held.value, [key]: v }; };
  // What is typed while an entry is on its way belongs to the next one; a refused entry comes back.
  const submit = (event: Event): void => {
    event.preventDefault();
    const filled = held.value;
    const entry = body();
    held.value = {};
    void sent(entry).then((well) => { if (!well) held.value = { ...filled, ...held.value }; });
  };
  return (
    <Section title={title}>
      <form class="facts" onSubmit={submit}>
        {fields.map(([key, label, kind]) => (kind === "text" || kind === "number"
          ? <Field key={key} label={label} type={kind} step="any" value={held.value[key] ?? ""} onInput={(v) => set(key, v)} />
          : <Choice key={key} label={label} value={held.value[key] ?? ""} options={kind === "yes/no" ? ["yes", "no"] : "ranks" in kind ? kind.ranks : kind} empty="–" onChange={(v) => set(key, v)} />))}
        <button class="primary">{words}</button>
      </form>
    </Section>
  );
}

function PainEntry({ add }: { add: Add }) {
  // What a score came after is told by its day where nobody says it: nothing after the procedure counts as baseline.
  const told = (body: Record<string, unknown>): Record<string, unknown> => (body["after"] ? body : { ...body, after: Number(body["day"] ?? 0) > 0 ? "sacroplasty" : "baseline" });
  const entered = (body: Record<string, unknown>): Promise<boolean> => tried(async () => {
    if (body["day"] === undefined && !body["after"]) throw new Error("Say on which day it was, or what it came after: a score without either would count as baseline.");
  }).then((well) => well && add("pain", told(body)));
  return <Entry title="Pain" words="Add" send={entered} fields={[
    ["day", "Day after the procedure", "number"], ["nrs", "NRS 0 to 10 (open if only words)", "number"], ["words", "The patient's words", "text"], ["after", "After (left open: by the day)", "text"], ["on_walking", "On walking", "yes/no"]]} />;
}

function ContactEntry({ add }: { add: Add }) {
  return <Entry title="Contact" words="Add" send={(body) => add("contacts", body)} fields={[
    ["name", "Appointment", Object.values(about.value?.schedules ?? {}).flat().map((one) => one.name).filter((name, n, all) => all.indexOf(name) === n)], ["day", "Day", "number"], ["mode", "How", ["telephone", "visit"]], ["ambulation", "Walks", "text"],
    ["pain_on_walking", "Pain on walking", "text"], ["tenderness", "Tenderness", "text"], ["opioid_mg_per_day", "Opioid, mg morphine per day", "number"],
    ["odi", "ODI, %", "number"], ["kps", "Karnofsky", "number"], ["ecog", "ECOG", "number"], ["satisfaction", "Satisfaction", "text"], ["words", "Notes", "text"]]} />;
}

interface Grade { scheme: string; year: number; grade: string }

function Events({ list, add }: { list: Record<string, unknown>[]; add: Add }) {
  return (
    <>
      <Section title="Adverse events">
        {list.length === 0 && <p class="quiet">None recorded.</p>}
        <ul class="plain">{list.map((one, n) => (
          <li key={n}><strong dir="auto">{String(one["name"])}</strong>, day {String(one["days_after"] ?? "–")}{one["symptomatic"] ? ", symptomatic" : ""}
            {((one["grades"] ?? []) as Grade[]).map((g) => ` · ${g.scheme} ${g.year}: ${g.grade}`).join("")}</li>))}</ul>
      </Section>
      <Editing><Entry title="New event" words="Add" send={(body) => add("events", body)} fields={[
        ["name", "What happened", "text"], ["therapy", "What was needed", { ranks: ["none", "observation", "minor therapy", "major therapy", "urgent"] }],
        ["sequelae", "What stays", { ranks: ["nothing", "mild", "severe", "death"] }], ["extra_hospital_hours", "Extra hours in hospital", "number"],
        ["days_after", "Days after", "number"], ["symptomatic", "Symptomatic", "yes/no"]]} /></Editing>
    </>
  );
}

interface Cohort { rows: Record<string, unknown>[]; figures: Record<string, unknown> }

const COLUMNS: [string, string][] = [
  ["pseudonym", "Patient"], ["age_years", "Age"], ["sex", "Sex"], ["cause", "Cause"], ["levels", "Levels"], ["approach", "Approach"], ["volume_ml", "mL"],
  ["nrs_before", "NRS before"], ["nrs_after", "after"], ["response", "Response"], ["leak_verdict", "Leak"], ["days_followed", "Days"],
];

const shown = (value: unknown): string => value === null || value === undefined || value === "" ? "–" : Array.isArray(value) ? value.join(", ") : String(value);

export function CohortStage() {
  const c = useSignal<Cohort | null>(null);
  const by = useSignal("pseudonym");
  useEffect(() => { void tried(async () => { c.value = await getJson<Cohort>("/api/cohort"); }); }, [caseId.value]);
  if (!c.value) return <div class="page"><p class="quiet">The cohort is loading.</p></div>;
  const rows = [...c.value.rows].sort((a, b) => shown(a[by.value]).localeCompare(shown(b[by.value]), undefined, { numeric: true }));
  return (
    <div class="page">
      <Section title="Cohort" aside={<a class="button" href="/api/cohort.csv" download>CSV</a>}>
        <div class="verdict wide">
          {Object.entries(c.value.figures).map(([key, value]) => <div key={key}><span>{placed(key)}</span><strong>{figure(value)}</strong></div>)}
        </div>
        <div class="scroll">
          <table class="list wide"><thead><tr>{COLUMNS.map(([key, words]) => (
            <th key={key} aria-sort={by.value === key ? "ascending" : "none"}><button class="link" onClick={() => { by.value = key; }}>{words}</button></th>))}</tr></thead>
            <tbody>{rows.map((row, n) => (
              <tr key={n}>{COLUMNS.map(([key]) => (
                <td key={key} dir="auto">{key === "pseudonym" && row["case"] ? <button class="link" onClick={() => go("follow-up", String(row["case"]))}>{shown(row[key])}</button> : shown(row[key])}
                  {key === "pseudonym" && row["example"] ? <span class="tag">example</span> : null}</td>))}</tr>))}</tbody></table>
        </div>
        {rows.length === 0 && <p class="quiet">No closed procedure yet.</p>}
      </Section>
    </div>
  );
}

/** A count, a mean, or a share with its interval. */
function figure(value: unknown): string {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : value.toFixed(1);
  if (typeof value === "object") {
    const v = value as { value?: number; low?: number; high?: number; n?: number };
    if (v.value === undefined || v.value === null) return "–";
    const interval = v.low !== undefined && v.low !== null ? ` (${percent(v.low)}–${percent(v.high)})` : "";
    return `${percent(v.value)}${interval}${v.n !== undefined ? `, n ${v.n}` : ""}`;
  }
  return String(value);
}
