/** The suitability sheet: facts as found, statements with their bearing, the judgement and, apart from it, an override. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { getJson } from "./api";
import { useEdits } from "./edits";
import { about, base, details, has, readOnly, tried, write } from "./station";
import { Choice, Field, Form, Section, WithReason, Editing } from "./ui";

type Fact = string | number | boolean | null | string[] | { [key: string]: Fact } | Fact[];
interface Facts { revision: number; facts: Record<string, Fact>; override: { reason: string; by: string; when: string } | null }
interface Statement { code: string; topic: string; text: string; bearing: string }
interface Sheet {
  verdict: string; proceeds: boolean; reasons: string[]; questions: string[]; statements: Statement[];
  sins: Record<string, unknown> | null; pain: Record<string, unknown>; alternatives: { option: string; known: string; for_this_patient: string[]; declined: boolean }[]; override: Facts["override"];
}

/** Bearings in the order they are read, each with the sign and class of its severity. */
const BEARINGS: Record<string, [string, string]> = {
  against: ["■", "blocker"], "to be corrected first": ["▲", "warning"], caution: ["!", "caution"], "to be asked": ["?", "caution"],
  "to know": ["i", "info"], for: ["✓", "for"],
};
const ORDER = Object.keys(BEARINGS);

export function SuitabilityStage() {
  const facts = useSignal<Facts | null>(null);
  const sheet = useSignal<Sheet | null>(null);
  const edits = useEdits(facts.value?.facts ?? null);
  const load = (): Promise<boolean> => tried(async () => {
    facts.value = await getJson<Facts>(`${base.value}/facts`);
    if (has("lesion")) sheet.value = await getJson<Sheet>(`${base.value}/suitability`);
  });
  useEffect(() => { void load(); }, [base.value, details.value?.revision]);
  const f = edits.shown;
  const change = (path: string[], value: Fact): void => {
    if (f) edits.set(withValue(f, path, value) as Record<string, Fact>);
  };
  const store = (): Promise<boolean> => tried(async () => {
    const sheetToStore = edits.ready();
    if (!sheetToStore) return;
    await write("PUT", "/facts", { facts: sheetToStore }, {}, facts.value!.revision);
    edits.done(sheetToStore);
    await load();
  });
  return (
    <div class="page two-columns">
      <div>
        <Section title="What is known about the patient" aside={<Editing><div class="row">
          <button class="primary" disabled={!edits.dirty} onClick={() => void store()}>Store</button>
          {edits.dirty && <button onClick={edits.drop}>Drop</button>}</div></Editing>}>
          <p class="quiet">Leave open what is not known: it becomes a question, never a guess.</p>
          <Form>{f && FORM.map(([group, fields]) => (
            <fieldset key={group} class="facts"><legend>{group}</legend>
              {fields.map(([path, label, kind]) => (
                <FactField key={path} label={label} kind={kind} value={factAt(f, path.split("."))} onChange={(v) => change(path.split("."), v)} />
              ))}
            </fieldset>
          ))}
          {f && <PriorTherapies list={(f["prior"] ?? []) as unknown as Prior[]} onChange={(v) => change(["prior"], v)} />}</Form>
        </Section>
      </div>
      <div>{sheet.value ? <Judged sheet={sheet.value} reload={load} /> : <p class="quiet pad">{has("lesion") ? "The sheet is being written …" : "The sheet needs a lesion."}</p>}</div>
    </div>
  );
}

function withValue(fact: Fact, path: string[], value: Fact): Fact {
  if (!path.length) return value;
  const [head, ...rest] = path;
  return { ...(fact as Record<string, Fact>), [head!]: withValue((fact as Record<string, Fact>)[head!] ?? null, rest, value) };
}

type Kind = "yes/no" | "number" | "text" | "words" | { one: string } | { many: string };
/** The sheet's questions in order: where the answer is kept, what is asked, how it is answered. */
const FORM: [string, [string, string, Kind][]][] = [
  ["Patient", [
    ["age_years", "Age, years", "number"], ["sex", "Sex", "text"], ["aetiology", "Why the sacrum is weak", { one: "aetiology" }],
    ["primary_tumour", "Primary tumour", "text"], ["histology_proven", "Proven by histology", "yes/no"], ["goal", "Goal of treatment", "text"]]],
  ["Pain", [
    ["pain.nrs", "Numeric rating, 0 to 10", "number"], ["pain.side", "Side", { one: "side" }], ["pain.sites", "Where", { many: "pain_site" }],
    ["pain.movement", "On loading", { one: "movement" }], ["pain.words", "The patient's words (comma between)", "words"],
    ["pain.radicular", "Runs along a root", "yes/no"], ["pain.local_tenderness", "Tender on pressing the bone", "yes/no"],
    ["other_pain_source", "Another source of the pain", "yes/no"]]],
  ["Neurology before", [
    ["neurology.motor_deficit", "Motor deficit", "yes/no"], ["neurology.sensory_deficit", "Sensory deficit", "yes/no"],
    ["neurology.bowel_or_bladder", "Bowel or bladder", "yes/no"], ["neurology.acute", "Worse over hours or days", "yes/no"],
    ["neurology.neural_involvement_on_imaging", "Neural involvement on imaging", "yes/no"]]],
  ["Blood and infection", [
    ["blood.inr", "INR", "number"], ["blood.platelets_10e9_l", "Platelets, 10⁹/L", "number"], ["blood.anticoagulated", "Anticoagulated", "yes/no"],
    ["blood.local_infection", "Infection at the site", "yes/no"], ["blood.systemic_infection", "Systemic infection", "yes/no"],
    ["cement_allergy", "Allergy to cement", "yes/no"]]],
  ["Spine", [["alignment", "Alignment", { one: "alignment" }], ["collapse", "Collapse", { one: "collapse" }]]],
  ["Decision", [
    ["decision.discussed_with_surgeon", "Discussed with a surgeon", "yes/no"], ["decision.discussed_with_family", "Discussed with the family", "yes/no"],
    ["decision.wishes_procedure", "The patient wishes it", "yes/no"], ["decision.consent_procedure", "Consent to the procedure", "yes/no"],
    ["decision.consent_publication", "Consent to publication", "yes/no"], ["decision.limited_life_expectancy", "Limited life expectancy", "yes/no"],
    ["decision.declined", "Declined", { many: "option" }]]],
];

const factAt = (facts: Fact, path: string[]): Fact => path.reduce<Fact>((f, key) => (f as Record<string, Fact> | null)?.[key] ?? null, facts);

function FactField({ label, kind, value, onChange }: { label: string; kind: Kind; value: Fact; onChange: (value: Fact) => void }) {
  const choices = about.value?.choices ?? {};
  if (kind === "yes/no") {
    const words = value === null ? "" : value ? "yes" : "no";
    return <Choice label={label} value={words} options={["yes", "no"]} empty="not known" onChange={(v) => onChange(v === "" ? null : v === "yes")} />;
  }
  if (kind === "words") {
    return <Field label={label} value={((value ?? []) as string[]).join(", ")} onInput={(v) => onChange(v.split(",").map((one) => one.trim()).filter(Boolean))} />;
  }
  if (kind === "number" || kind === "text") {
    const read = (v: string): Fact => (kind === "text" ? v : v === "" ? null : Number(v));
    return <Field label={label} type={kind} step="any" placeholder="not known" value={value === null ? "" : String(value)} onInput={(v) => onChange(read(v))} />;
  }
  if ("one" in kind) {
    return <Choice label={label} value={value === null ? "" : String(value)} options={choices[kind.one] ?? []} empty="not known" onChange={(v) => onChange(v || null)} />;
  }
  const held = (value ?? []) as string[];
  return (
    <fieldset class="chips"><legend>{label}</legend>
      {(choices[kind.many] ?? []).map((one) => (
        <label key={one}><input type="checkbox" checked={held.includes(one)} onChange={() => onChange(held.includes(one) ? held.filter((v) => v !== one) : [...held, one])} />{one}</label>
      ))}
    </fieldset>
  );
}

interface Prior { [key: string]: Fact; therapy: string; detail: string; nrs_before: number | null; nrs_after: number | null; relief_lost: boolean | null }

function PriorTherapies({ list, onChange }: { list: Prior[]; onChange: (list: Prior[]) => void }) {
  const set = (n: number, key: string, value: Fact): void => onChange(list.map((one, k) => (k === n ? ({ ...one, [key]: value } as Prior) : one)));
  return (
    <fieldset><legend>Tried before</legend>
      {list.map((one, n) => (
        <div class="row wrap" key={n}>
          <Choice label="Therapy" value={one.therapy} options={about.value?.choices["therapy"] ?? []} onChange={(v) => set(n, "therapy", v)} />
          <Field label="Detail" value={one.detail} onInput={(v) => set(n, "detail", v)} />
          <Field label="NRS before" type="number" value={one.nrs_before === null ? "" : String(one.nrs_before)} onInput={(v) => set(n, "nrs_before", v === "" ? null : Number(v))} />
          <Field label="after" type="number" value={one.nrs_after === null ? "" : String(one.nrs_after)} onInput={(v) => set(n, "nrs_after", v === "" ? null : Number(v))} />
          <button aria-label={`Take out ${one.therapy}`} onClick={() => onChange(list.filter((_, k) => k !== n))}>✕</button>
        </div>
      ))}
      <button onClick={() => onChange([...list, { therapy: about.value?.choices["therapy"]?.[0] ?? "", detail: "", nrs_before: null, nrs_after: null, relief_lost: null }])}>Add</button>
    </fieldset>
  );
}

function Judged({ sheet, reload }: { sheet: Sheet; reload: () => Promise<boolean> }) {
  const by = useSignal("");
  const sorted = [...sheet.statements].sort((a, b) => ORDER.indexOf(a.bearing) - ORDER.indexOf(b.bearing));
  const override = (value: unknown): void => void tried(async () => { await write("PUT", "/override", value); await reload(); });
  return (
    <>
      <Section title="Judgement">
        <p class={`judgement ${sheet.verdict === "judged suitable" ? "good" : sheet.verdict === "judged unsuitable" ? "bad" : ""}`} role="status">{sheet.verdict}</p>
        {sheet.reasons.filter((one) => !sheet.questions.includes(one)).map((one) => <p key={one}>{one}</p>)}
        {sheet.questions.length > 0 && sheet.reasons.every((one) => sheet.questions.includes(one)) && <p>{sheet.questions.length} questions are open.</p>}
        {sheet.override && <p class="warning"><strong>Overridden</strong> by <span dir="auto">{sheet.override.by}</span> on {sheet.override.when}: <span dir="auto">{sheet.override.reason}</span>{" "}
          <Editing><button class="link" onClick={() => override(null)}>withdraw</button></Editing></p>}
        {!readOnly.value && !sheet.override && sheet.verdict !== "judged suitable" && (
          <>
            <Field label="Who decides" value={by.value} onInput={(v) => { by.value = v; }} />
            <WithReason words="Record an override" label="Reason (stays beside the judgement)" disabled={!by.value.trim()}
              onDone={(reason) => override({ reason, by: by.value.trim(), when: new Date().toISOString().slice(0, 10) })} />
          </>
        )}
      </Section>
      {sheet.questions.length > 0 && <Section title="To be asked or measured"><ul class="plain">{sheet.questions.map((one) => <li key={one}>{one}</li>)}</ul></Section>}
      <Section title="Statements">
        <ul class="findings">{sorted.filter((one) => one.bearing !== "to be asked").map((one, n) => {
          const [sign, kind] = BEARINGS[one.bearing] ?? ["i", "info"];
          return <li key={n} class={kind}><span class="sign" aria-label={one.bearing}>{sign}</span><span>{one.text}</span></li>;
        })}</ul>
      </Section>
      <Section title="Alternatives">
        {sheet.alternatives.map((one) => (
          <details key={one.option}><summary>{one.option}{one.declined ? " (declined)" : ""}</summary>
            <p>{one.known}</p>{one.for_this_patient.map((words) => <p key={words}>{words}</p>)}</details>
        ))}
      </Section>
    </>
  );
}
