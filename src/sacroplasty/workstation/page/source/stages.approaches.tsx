/** Approaches side by side with reasons; a path under edit with live clearance, breach probability and crossings. */

import { signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { send } from "./api";
import { colourOf, css } from "./colours";
import { along, unit, sub, type Vec3 } from "./geometry";
import { draft, draftFrom, dropDraft, edit, judged, judgeTime, selectedPlan, selectedRank, shownPlan, storeDraft } from "./path-edit";
import { about, base, plans, readOnly, tried, write } from "./station";
import type { NeedlePlan, Plan } from "./types";
import { Choice, Findings, Measures, number, percent, placed, probability, RunButton, Section, WithReason, Editing } from "./ui";
import * as viewer from "./viewer";

export function ApproachesStage() {
  useEffect(() => { if (!readOnly.value) void send("POST", `${base.value}/warm`, {}).catch(() => undefined); }, [base.value]);
  if (!plans.value.length) {
    return <Section title="Approaches"><p class="quiet">No approach is planned yet.</p>
      <RunButton name="plan" words="Plan all approaches" needs={["segment", "lesion"]} primary /></Section>;
  }
  const plan = shownPlan.value;
  return (
    <>
      <Section title="Approaches" aside={<div class="row">
        <button onClick={() => { comparing.value = true; }}>Compare</button><RunButton name="plan" words="Plan again" needs={["segment", "lesion"]} /></div>}>
        <ol class="approaches">{plans.value.map((one) => <ApproachCard key={one.rank} plan={one} />)}</ol>
      </Section>
      <Comparison />
      <Editing><Editor /></Editing>
      {plan && <Judgement plan={plan} />}
    </>
  );
}

const SHOWN_REASONS = 3;

function ApproachCard({ plan }: { plan: Plan }) {
  const chosen = selectedPlan.value?.rank === plan.rank && !draft.value;
  const all = useSignal(false);
  const nearest = nearestClearance(plan);
  return (
    <li class={`${chosen ? "chosen" : ""} ${plan.feasible ? "" : "infeasible"}`}>
      <button aria-pressed={chosen} onClick={() => {
        dropDraft();
        selectedRank.value = plan.rank;
        const t = plan.needles[0]?.trajectory;
        if (t) viewer.goTo(t.target_mm);
      }}>
        <strong>{plan.feasible ? `${plan.rank}.` : "✕"} {placed(plan.approach)}</strong>
        <span class="quiet">{plan.side === "midline" ? "midline" : `patient's ${plan.side}`} · {plan.target_level}</span>
        <span class="figures">
          <span>{nearest ? <>≥ {number(nearest.distance_mm, 1, "mm")} <em>{placed(nearest.structure)}</em></> : "–"}</span>
          <span>breach {probability(plan.measures["breach_probability"])}</span>
        </span>
      </button>
      {chosen && plan.reasons.slice(0, all.value ? undefined : SHOWN_REASONS).map((reason) => <p key={reason} class="reason-text">{reason}</p>)}
      {chosen && plan.reasons.length > SHOWN_REASONS && <button class="link more" aria-expanded={all.value} onClick={() => { all.value = !all.value; }}>
        {all.value ? "fewer" : `all ${plan.reasons.length} reasons`}</button>}
      {!chosen && plan.reasons[0] && <p class="reason-text first">{plan.reasons[0]}</p>}
      {chosen && plan.rank !== 1 && plan.feasible && (
        <WithReason words="Choose this approach" label="Why" onDone={(reason) => void tried(() => write("POST", "/choice", { rank: plan.rank, reason }))} />
      )}
    </li>
  );
}

function nearestClearance(plan: Plan): NeedlePlan["clearances"][number] | undefined {
  const all = plan.needles.flatMap((one) => one.clearances);
  return all.length ? all.reduce((a, b) => (b.distance_mm - b.required_mm < a.distance_mm - a.required_mm ? b : a)) : undefined;
}

export const comparing = signal(false);

/** How far the needle may turn before a breach gets too likely. */
const tolerance = (plan: Plan): string => (typeof plan.measures["tolerance_cone_deg"] === "number" ? `±${number(plan.measures["tolerance_cone_deg"], 1, "°")}` : "–");

/** Rows of the comparison: what is asked, and its answer for one plan. */
const COMPARED: [string, (plan: Plan) => string][] = [
  ["feasible", (p) => (p.feasible ? "yes" : "no")],
  ["side, level", (p) => `${p.side}, ${p.target_level}`],
  ["breach probability", (p) => probability(p.measures["breach_probability"])],
  ["smallest clearance", (p) => { const c = nearestClearance(p); return c ? `${number(c.distance_mm, 1, "mm")} ${placed(c.structure)}` : "–"; }],
  ["skin to target", (p) => number(p.needles[0]?.derived?.length_mm, 0, "mm")],
  ["needles", (p) => String(p.needles.length || "–")],
  ["tolerance cone", (p) => tolerance(p)],
  ["cement", (p) => number(p.needles.flatMap((n) => n.injections).reduce((sum, i) => sum + i.volume_ml, 0) || null, 1, "mL")],
];

/** All approaches in columns, with every reason. */
export function Comparison() {
  if (!comparing.value) return null;
  const close = (): void => { comparing.value = false; };
  return (
    <div class="veil" onClick={close}>
      <div class="dialog broad" role="dialog" aria-modal="true" aria-label="Approaches side by side" onClick={(e) => e.stopPropagation()}>
        <header><h2>Approaches side by side</h2><button autofocus onClick={close}>Close</button></header>
        <div class="scroll">
          <table class="compare">
            <thead><tr><td />{plans.value.map((one) => <th key={one.rank} scope="col" class={one.feasible ? "" : "warning"}>{one.feasible ? `${one.rank}. ` : "✕ "}{placed(one.approach)}</th>)}</tr></thead>
            <tbody>
              {COMPARED.map(([words, answer]) => <tr key={words}><th scope="row">{words}</th>{plans.value.map((one) => <td key={one.rank}>{answer(one)}</td>)}</tr>)}
              <tr><th scope="row">reasons</th>{plans.value.map((one) => <td key={one.rank}>{one.reasons.map((reason) => <p key={reason}>{reason}</p>)}</td>)}</tr>
            </tbody>
          </table>
        </div>
      </div>
    </div>
  );
}

/** Step of one press of a nudge button, mm. */
const NUDGE_MM = 1;
const NUDGES: [string, Vec3][] = [["R", [-1, 0, 0]], ["L", [1, 0, 0]], ["A", [0, -1, 0]], ["P", [0, 1, 0]], ["H", [0, 0, 1]], ["F", [0, 0, -1]]];

function Editor() {
  const end = useSignal<"entry" | "target">("target");
  const plan = selectedPlan.value;
  const d = draft.value ?? (plan && draftFrom(plan));
  if (!d) return null;
  const move = (by: Vec3): void => edit({ ...d, [`${end.value}_mm`]: along(d[`${end.value}_mm`], by, NUDGE_MM) });
  const hereTo = (): void => edit({ ...d, [`${end.value}_mm`]: viewer.focus.value });
  return (
    <Section title={draft.value ? "Your path" : "Try a path of your own"} aside={judgeTime.value && draft.value
      ? <span class="quiet" data-judge={judgeTime.value.whole.toFixed(0)}>{judgeTime.value.whole.toFixed(0)} ms</span> : null}>
      <p class="quiet">Drag the square (entry) or the circle (target) in any slice, or nudge it here. Nothing is stored until you say so.</p>
      <div class="row wrap">
        <div class="segmented" role="group" aria-label="End to move">
          {(["entry", "target"] as const).map((one) => <button key={one} aria-pressed={end.value === one} onClick={() => { end.value = one; viewer.goTo(d[`${one}_mm`]); }}>{one}</button>)}
        </div>
        <div class="segmented" role="group" aria-label={`Move the ${end.value} by 1 mm`}>
          {NUDGES.map(([letter, by]) => <button key={letter} aria-label={`1 mm towards ${letter}`} onClick={() => move(by)}>{letter}</button>)}
        </div>
        <button onClick={hereTo}>to crosshair</button>
      </div>
      <div class="row wrap">
        <Choice label="Approach" value={d.approach} options={(about.value?.approaches ?? []).map((a) => a.name)} onChange={(approach) => edit({ ...d, approach })} />
        <Choice label="Gauge" value={String(d.gauge)} options={(about.value?.needles ?? []).map((n) => String(n.gauge_number))} onChange={(g) => edit({ ...d, gauge: Number(g), length_mm: null })} />
        <Choice label="Guidance" value={d.guidance} options={about.value?.guidance ?? []} onChange={(guidance) => edit({ ...d, guidance })} />
      </div>
      <div class="row wrap">
        <button onClick={() => edit(d, true)}>Entry onto the skin</button>
        <button onClick={() => viewer.alignWith(d.entry_mm, d.target_mm)}>Slices along the needle</button>
        {viewer.isOblique.value && <button onClick={viewer.straighten}>Straight slices</button>}
      </div>
      {draft.value && (
        <div class="row wrap">
          <WithReason words="Make it the plan" label="Why this path" disabled={!judged.value} onDone={(reason) => void tried(() => storeDraft(reason))} />
          <button onClick={dropDraft}>Drop my path</button>
        </div>
      )}
    </Section>
  );
}

function Judgement({ plan }: { plan: Plan }) {
  const needle = plan.needles[0];
  if (!needle) return null;
  const d = needle.derived;
  return (
    <>
      <Section title={plan.feasible ? "Judgement: feasible" : "Judgement: not feasible"}>
        <div class={`verdict ${plan.feasible ? "good" : "bad"}`} aria-live="polite" data-feasible={String(plan.feasible)}>
          <div><span>breach probability</span><strong>{probability(plan.measures["breach_probability"])}</strong></div>
          <div><span>smallest clearance</span><strong>{number(nearestClearance(plan)?.distance_mm, 1, "mm")}</strong></div>
          <div><span>depth</span><strong>{number(d?.length_mm, 0, "mm")}</strong></div>
          <div><span>tolerance cone</span><strong>{tolerance(plan)}</strong></div>
        </div>
        {draft.value && plan.reasons.map((reason) => <p key={reason} class="reason-text">{reason}</p>)}
      </Section>
      <Section title="Way through"><Crossings needle={needle} /></Section>
      <Section title="Clearance, lower bounds">
        <table class="list"><thead><tr><th>Structure</th><th>mm</th><th>needs</th><th>breach</th></tr></thead><tbody>
          {[...needle.clearances].sort((a, b) => a.distance_mm - a.required_mm - (b.distance_mm - b.required_mm)).map((one) => (
            <tr key={one.structure} class={one.distance_mm < one.required_mm ? "warning" : ""}>
              <td><button class="link" onClick={() => viewer.goTo(one.where_mm)}>{placed(one.structure)}</button></td>
              <td>{number(one.distance_mm)}</td><td>{number(one.required_mm)}</td>
              <td title={one.breach_probability_upper === null ? "" : `at most ${percent(one.breach_probability_upper, 1)} (95 %)`}>{probability(one.breach_probability)}</td>
            </tr>
          ))}
        </tbody></table>
      </Section>
      <Section title="Needle">
        <div class="needle-sheet">
          <BevelClock azimuth={needle.bevel_azimuth_deg} words={d?.bevel_clock ?? null} />
          <table class="measures"><tbody>
            <tr><th scope="row">needle</th><td>{needle.needle.gauge_number} G, {number(needle.needle.length_mm, 0, "mm")}</td></tr>
            <tr><th scope="row">towards the head</th><td>{number(d?.cephalad_deg, 1, "°")}</td></tr>
            <tr><th scope="row">towards the patient's left</th><td>{number(d?.leftward_deg, 1, "°")}</td></tr>
            {needle.injections.map((one) => <tr key={one.order}><th scope="row">deposit {one.order}</th><td>{number(one.volume_ml, 1, "mL")} at {number(one.tip_depth_mm, 0, "mm")}, {one.cement}</td></tr>)}
          </tbody></table>
        </div>
      </Section>
      <Section title="Remarks"><Findings list={plan.findings} /></Section>
      <Section title="Measures"><Measures values={plan.measures} /></Section>
    </>
  );
}

/** Where the bevel faces, seen from the hub: 12 o'clock is as far towards the head as the shaft allows. */
export function BevelClock({ azimuth, words }: { azimuth: number | null; words: string | number | null }) {
  if (azimuth === null) return <p class="quiet">Tip without bevel</p>;
  const turn = (azimuth * Math.PI) / 180;
  const tip = (r: number, by = 0): string => `${(50 + r * Math.sin(turn + by)).toFixed(1)},${(50 - r * Math.cos(turn + by)).toFixed(1)}`;
  const spoken = words === null ? `${azimuth.toFixed(0)}°` : typeof words === "number" ? `${words} o'clock` : words;
  return (
    <figure class="clock">
      <svg viewBox="0 0 100 100" role="img" aria-label={`Bevel faces ${spoken}, seen from the hub`}>
        <circle cx="50" cy="50" r="46" />
        {Array.from({ length: 12 }, (_, n) => {
          const a = (n * Math.PI) / 6;
          const r = n % 3 ? 42 : 38;
          return <line key={n} x1={50 + r * Math.sin(a)} y1={50 - r * Math.cos(a)} x2={50 + 46 * Math.sin(a)} y2={50 - 46 * Math.cos(a)} />;
        })}
        <text x="50" y="20" text-anchor="middle">H</text>
        <polygon points={`${tip(34)} ${tip(12, 2.2)} ${tip(12, -2.2)}`} />
      </svg>
      <figcaption>Bevel: {spoken}<br /><span class="quiet">seen from the hub</span></figcaption>
    </figure>
  );
}

/** The structures along the needle, to scale, from skin to tip. */
export function Crossings({ needle }: { needle: NeedlePlan }) {
  const { entry_mm, target_mm } = needle.trajectory;
  const length = Math.hypot(...sub(target_mm, entry_mm));
  const shaft = unit(sub(target_mm, entry_mm));
  const sorted = [...needle.crossings].sort((a, b) => a.start_depth_mm - b.start_depth_mm);
  return (
    <div class="crossings">
      <svg viewBox="0 0 340 34" role="img" aria-label={sorted.map((c) => `${placed(c.structure)} from ${c.start_depth_mm.toFixed(0)} to ${c.end_depth_mm.toFixed(0)} mm`).join(", ")}>
        <rect x="0" y="6" width="340" height="14" class="soft" />
        {sorted.map((one, n) => (
          <rect key={n} x={(340 * one.start_depth_mm) / length} width={Math.max(1, (340 * (one.end_depth_mm - one.start_depth_mm)) / length)} y="6" height="14"
            fill={css(colourOf(one.structure, "bone"))} stroke={one.permitted ? "none" : "#ff7a2e"} stroke-width="2"
            onClick={() => viewer.goTo(along(entry_mm, shaft, one.start_depth_mm))}><title>{`${placed(one.structure)} ${one.start_depth_mm.toFixed(1)}–${one.end_depth_mm.toFixed(1)} mm`}</title></rect>
        ))}
        <text x="0" y="32">skin 0</text><text x="340" y="32" text-anchor="end">tip {length.toFixed(0)} mm</text>
      </svg>
      <ol>
        {sorted.map((one, n) => (
          <li key={n} class={one.permitted ? "" : "warning"}>
            <button class="link" onClick={() => viewer.goTo(along(entry_mm, shaft, one.start_depth_mm))}>
              <svg class="key" viewBox="0 0 10 10" aria-hidden="true"><rect width="10" height="10" fill={css(colourOf(one.structure, "bone"))} /></svg>
              {placed(one.structure)}</button>
            <span>{one.start_depth_mm.toFixed(1)}–{one.end_depth_mm.toFixed(1)} mm{one.permitted ? "" : ", not permitted"}</span>
          </li>
        ))}
      </ol>
    </div>
  );
}
