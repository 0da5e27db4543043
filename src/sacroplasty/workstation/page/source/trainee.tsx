/** Trainee mode: steer a needle by radiographs alone, with as few of them as needed, and be scored. */

import { effect, signal, useSignal } from "@preact/signals";
import { send } from "./api";
import { add, along, norm, scale, sub, unit, type Vec3 } from "./geometry";
import { selectedPlan } from "./path-edit";
import { Radiograph } from "./radiograph";
import { base, caseId, details, remember, remembered, tried } from "./station";
import { number, percent, Section, Slider } from "./ui";

interface Part { name: string; measured: number | null; unit: string; share: number | null; weight: number }
interface Score { overall_percent: number | null; overall_sentence: string; parts: Part[]; sentences: string[] }
type Pose = { lao_deg: number; cra_deg: number };
/** Where the needle is now, where it was in each picture, when it began (ms since 1970, so that a reload loses nothing). */
interface Exercise {
  approach: string; gauge: number; entry_mm: Vec3; target_mm: Vec3; began: number;
  shots: (Pose & { entry_mm: Vec3; target_mm: Vec3 })[]; score: Score | null;
}

export const exercise = signal<Exercise | null>(null);

function keep(next: Exercise | null): void {
  exercise.value = next;
  remember("exercise", next);
}

/** Brings back an exercise that a reload interrupted; one of another case is never shown. */
export function startTrainee(): void {
  effect(() => {
    void caseId.value;
    const kept = details.value && details.value.id === caseId.value ? remembered<Exercise>("exercise") : null;
    exercise.value = kept?.entry_mm?.every(Number.isFinite) && kept.target_mm?.every(Number.isFinite) && Array.isArray(kept.shots) ? kept : null;
  });
}

/** How far the needle stands off its plan at the start, mm, per axis and end. */
const ASTRAY_MM = 12;
const astray = (): Vec3 => [0, 0, 0].map(() => (2 * Math.random() - 1) * ASTRAY_MM) as unknown as Vec3;

function begin(): void {
  const plan = selectedPlan.value;
  const needle = plan?.needles[0];
  if (!plan || !needle) return;
  const { entry_mm, target_mm } = needle.trajectory;
  keep({
    approach: plan.approach, gauge: needle.needle.gauge_number,
    entry_mm: add(entry_mm, astray()), target_mm: add(target_mm, astray()), began: Date.now(), shots: [], score: null,
  });
}

export function TraineePicture() {
  const shots = exercise.value!.shots;
  const gauge = exercise.value!.gauge;
  if (!shots.length) return <p class="quiet pad">Take a picture to see the needle. It stands off its plan; nothing else shows where.</p>;
  const picture = (n: number, words: string) => {
    const one = shots[n]!;
    return <Radiograph key={n} words={words} overlays={false} shot={{ lao_deg: one.lao_deg, cra_deg: one.cra_deg, entry: one.entry_mm, target: one.target_mm, gauge }} />;
  };
  return (
    <div class="shots">
      {picture(shots.length - 1, `Picture ${shots.length}, the last`)}
      {shots.length > 1 && picture(shots.length - 2, `Picture ${shots.length - 1}, the one before`)}
    </div>
  );
}

const STEPS: [string, Vec3][] = [
  ["right", [-1, 0, 0]], ["left", [1, 0, 0]], ["feet", [0, 0, -1]], ["head", [0, 0, 1]], ["front", [0, -1, 0]], ["back", [0, 1, 0]],
];

function Steering({ held }: { held: Exercise }) {
  const end = useSignal<"entry" | "target">("target");
  const step_mm = useSignal(3);
  const move = (direction: Vec3): void => {
    const key = `${end.value}_mm` as const;
    keep({ ...held, [key]: along(held[key], direction, step_mm.value) });
  };
  const deeper = (sign: number): void => {
    const path = sub(held.target_mm, held.entry_mm);
    if (norm(path) + sign * step_mm.value > 10) keep({ ...held, target_mm: add(held.target_mm, scale(unit(path), sign * step_mm.value)) });
  };
  return (
    <fieldset class="steering">
      <legend>Move the needle, in the patient's directions</legend>
      <div class="row wrap">
        <div class="segmented" role="group" aria-label="Which end moves">
          <button aria-pressed={end.value === "entry"} onClick={() => { end.value = "entry"; }}>skin entry</button>
          <button aria-pressed={end.value === "target"} onClick={() => { end.value = "target"; }}>tip</button>
        </div>
        <div class="segmented" role="group" aria-label="By how much">
          {[1, 3, 10].map((mm) => <button key={mm} aria-pressed={step_mm.value === mm} onClick={() => { step_mm.value = mm; }}>{mm} mm</button>)}
        </div>
      </div>
      <div class="row wrap">
        {STEPS.map(([words, direction]) => <button key={words} onClick={() => move(direction)}>{words}</button>)}
        <button onClick={() => deeper(1)}>advance</button><button onClick={() => deeper(-1)}>withdraw</button>
      </div>
    </fieldset>
  );
}

export function TraineePanel() {
  const lao = useSignal(0);
  const cra = useSignal(0);
  const held = exercise.value;
  if (!held) {
    return (
      <Section title="Trainee mode">
        <p class="quiet">The needle stands off its plan by an amount that is not told, and outlines are hidden. Steer it by pictures alone; aim, clearance, pictures, time and dose make the score.</p>
        <button disabled={!selectedPlan.value?.needles.length} onClick={begin}>Begin</button>
      </Section>
    );
  }
  const finish = (): void => void tried(async () => {
    const at = base.value;
    const { approach, entry_mm, target_mm, gauge, shots, began } = held;
    const score = await send<Score>("POST", `${at}/rehearsal/score`, {
      approach, entry_mm, target_mm, gauge, snap: true, seconds: Math.min(36000, (Date.now() - began) / 1000),
      shots: shots.map(({ lao_deg, cra_deg }) => ({ lao_deg, cra_deg })),
    });
    if (base.value === at) keep({ ...held, score });
  });
  const shoot = (): void => keep({ ...held, score: null, shots: [...held.shots, { lao_deg: lao.value, cra_deg: cra.value, entry_mm: held.entry_mm, target_mm: held.target_mm }] });
  return (
    <Section title="Trainee mode">
      <Slider label="LAO +" value={lao.value} low={-90} high={90} step={1} unit="°" onInput={(v) => { lao.value = v; }} />
      <Slider label="CRA +" value={cra.value} low={-45} high={45} step={1} unit="°" onInput={(v) => { cra.value = v; }} />
      {!held.score && <Steering held={held} />}
      <div class="row wrap">
        {!held.score && <button class="primary" onClick={shoot}>Take a picture ({held.shots.length})</button>}
        {!held.score && <button disabled={!held.shots.length} onClick={finish}>Finish and score</button>}
        <button onClick={() => keep(null)}>{held.score ? "Close" : "Stop"}</button>
        {held.score && <button onClick={begin}>Once more</button>}
      </div>
      {held.score && <Result score={held.score} />}
    </Section>
  );
}

function Result({ score }: { score: Score }) {
  return (
    <div role="status" class="stack" data-score={score.overall_percent ?? ""}>
      <div class="verdict wide"><div><span>score</span><strong>{number(score.overall_percent, 0, "%")}</strong></div></div>
      <p>{score.overall_sentence}</p>
      <table class="list"><thead><tr><th>Part</th><th>Measured</th><th>Earned</th><th>Weight</th></tr></thead><tbody>
        {score.parts.map((one) => (
          <tr key={one.name}><th scope="row">{one.name}</th><td>{number(one.measured, one.unit === "1" || one.unit === "s" ? 0 : 1, one.unit === "1" ? "" : one.unit)}</td>
            <td>{percent(one.share)}</td><td>{one.weight}</td></tr>
        ))}
      </tbody></table>
      <ul class="plain">{score.sentences.map((one) => <li key={one}>{one}</li>)}</ul>
      <p class="quiet">The dose is a proxy from a published rate and the tissue along each beam; weights and marks are choices of the program.</p>
    </div>
  );
}
