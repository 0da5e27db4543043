/** Rehearsal: what each view should show at each depth, or the trainee's own exercise. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { getJson } from "./api";
import { selectedPlan } from "./path-edit";
import { OverlaySwitches, Radiograph } from "./radiograph";
import { base, details, has, readOnly, tried } from "./station";
import { StoredViews } from "./stages.views";
import { exercise, TraineePanel, TraineePicture } from "./trainee";
import type { ViewInfo } from "./types";
import { number, placed, Section, Editing } from "./ui";

interface Checkpoint { name: string; depth_mm: number; tip_mm: number[]; shows: string[]; breach: string; action: string }
interface Rehearsal { checkpoints: Checkpoint[]; views: ViewInfo[]; dose: { placement_s: number; cement_s: number; air_kerma_mgy: number; sentence: string } }

const rehearsal = signal<Rehearsal | null>(null);
const step = signal(0);
export function RehearsalPicture() {
  const r = rehearsal.value;
  if (readOnly.value) return <StoredViews />;
  if (exercise.value) return <TraineePicture />;
  if (!r) return <p class="quiet pad">Plan an approach first; the rehearsal follows its needle.</p>;
  const stop = r.checkpoints[step.value];
  return (
    <div class="shots">
      {r.views.slice(0, 4).map((one) => (
        <Radiograph key={one.name} words={one.name} shot={{ lao_deg: one.lao_deg, cra_deg: one.cra_deg, isocentre: one.isocentre_mm, carm: one.carm,
          plan: selectedPlan.value?.rank ?? 1, ...(stop ? { depth_mm: stop.depth_mm } : {}) }} />
      ))}
    </div>
  );
}

export function RehearsalStage() {
  useEffect(() => {
    const at = base.value;
    rehearsal.value = null;
    step.value = 0;
    if (has("plan")) void tried(async () => {
      const found = await getJson<Rehearsal>(`${at}/rehearsal?plan=${selectedPlan.value?.rank ?? 1}`);
      if (base.value === at) rehearsal.value = found;
    });
  }, [base.value, details.value?.revision, selectedPlan.value?.rank]);
  const r = rehearsal.value;
  const stop = r?.checkpoints[step.value];
  // The steps would tell the trainee what the pictures should.
  if (exercise.value && !readOnly.value) return <TraineePanel />;
  return (
    <>
      <Section title="Step by step">
        {!r && <p class="quiet">No plan to rehearse yet.</p>}
        {r && (
          <ol class="steps">
            {r.checkpoints.map((one, n) => (
              <li key={n} class={n === step.value ? "chosen" : ""}><button aria-current={n === step.value} onClick={() => { step.value = n; }}>
                <span>{n + 1}</span><strong>{placed(one.name)}</strong><em>{number(one.depth_mm, 0, "mm")}</em></button></li>
            ))}
          </ol>
        )}
        {r && <div class="row"><button disabled={step.value === 0} onClick={() => { step.value -= 1; }}>Back</button>
          <button class="primary" disabled={step.value >= r.checkpoints.length - 1} onClick={() => { step.value += 1; }}>Advance</button></div>}
      </Section>
      {stop && <Section title={`At ${placed(stop.name)}`}>
        <dl class="shows">{stop.shows.map((one) => {
          const [view, words] = one.includes(": ") ? [one.slice(0, one.indexOf(": ")), one.slice(one.indexOf(": ") + 2)] : ["", one];
          return <div key={one}><dt>{view}</dt><dd>{words}</dd></div>;
        })}</dl>
        {stop.action && <p><strong>Do:</strong> {stop.action}</p>}
        {stop.breach && <p class="warning"><strong>A breach would look like:</strong> {stop.breach}</p>}
      </Section>}
      {r && <Section title="Dose, estimated"><p class="quiet">{r.dose.sentence}</p></Section>}
      <Editing><TraineePanel /><Section title="Outlines"><OverlaySwitches /></Section></Editing>
      {readOnly.value && <p class="quiet pad">The pictures are the stored ones, with the needle at its target.</p>}
    </>
  );
}
