/** A needle path under edit: judged by the server on every movement, kept across reloads, stored only on request. */

import { batch, computed, effect, signal } from "@preact/signals";
import { newestOnly, send } from "./api";
import type { Vec3 } from "./geometry";
import { base, caseId, details, plans, readOnly, refused, remember, remembered, stage, write } from "./station";
import type { Plan } from "./types";
import * as viewer from "./viewer";

export interface Draft { approach: string; entry_mm: Vec3; target_mm: Vec3; gauge: number; length_mm: number | null; guidance: string }

export const selectedRank = signal(1);
export const draft = signal<Draft | null>(null);
export const judged = signal<Plan | null>(null);
/** Milliseconds from the drag to the judgement on screen, and the server's own share. */
export const judgeTime = signal<{ whole: number; server: number } | null>(null);

export const selectedPlan = computed<Plan | null>(() => plans.value.find((one) => one.rank === selectedRank.value) ?? plans.value[0] ?? null);
/** What the page shows: the draft's judgement while editing, else the selected plan. */
export const shownPlan = computed<Plan | null>(() => (draft.value ? judged.value : selectedPlan.value));

export function draftFrom(plan: Plan): Draft | null {
  const needle = plan.needles[0];
  return needle ? {
    approach: plan.approach, entry_mm: needle.trajectory.entry_mm, target_mm: needle.trajectory.target_mm,
    gauge: needle.needle.gauge_number, length_mm: needle.needle.length_mm, guidance: "fluoroscopy",
  } : null;
}

const body = (d: Draft, snap: boolean): Record<string, unknown> => ({ ...d, snap });

const judge = newestOnly(async (d: Draft, snap: boolean, at: string) => {
  const began = performance.now();
  try {
    const answer = await send<{ plan: Plan; milliseconds: number }>("POST", `${at}/paths`, body(d, snap));
    if (base.peek() !== at || !draft.peek()) return;
    batch(() => {
      judged.value = answer.plan;
      const entry = answer.plan.needles[0]?.trajectory.entry_mm;
      if (snap && entry && draft.peek() === d) draft.value = { ...d, entry_mm: entry };
      judgeTime.value = { whole: performance.now() - began, server: answer.milliseconds };
    });
  } catch (error) {
    judged.value = null;
    refused(error);
  }
});

export function edit(next: Draft, snap = false): void {
  draft.value = next;
  remember("draft", next);
  judge(next, snap, base.value);
}

export function moveEnd(end: "entry" | "target", place: Vec3): void {
  const now = draft.value ?? (selectedPlan.value && draftFrom(selectedPlan.value));
  if (now) edit({ ...now, [`${end}_mm`]: place });
}

export function dropDraft(): void {
  batch(() => { draft.value = judged.value = null; });
  remember("draft", null);
}

export async function storeDraft(reason: string): Promise<void> {
  const d = draft.value;
  if (!d) return;
  await write("POST", "/plans", { ...body(d, false), reason });
  dropDraft();
  selectedRank.value = 1;
}

/** Wires the path into the slices and brings back a draft that a reload interrupted. */
export function startPathEditing(): void {
  effect(() => {
    void caseId.value;
    batch(() => { draft.value = judged.value = null; selectedRank.value = 1; });
  });
  effect(() => {
    if (!details.value?.stages.includes("plan") || draft.peek() || readOnly.value) return;
    const kept = remembered<Draft>("draft");
    if (kept?.entry_mm?.every(Number.isFinite) && kept.target_mm?.every(Number.isFinite)) edit(kept);
  });
  effect(() => {
    // Cement belongs to the chosen plan; another path beside its cloud would be misread.
    const ofCement = stage.value === "cement";
    const plan = ofCement ? plans.value.find((one) => one.feasible) ?? null : shownPlan.value;
    const d = ofCement ? null : draft.value;
    const needle = plan?.needles[0];
    const ends = d ?? needle?.trajectory;
    const editable = stage.value === "approaches" && !readOnly.value;
    viewer.onPathMoved.value = editable ? moveEnd : null;
    const radius_mm = (needle?.needle.outer_diameter_mm ?? 2.4) / 2;
    const feasible = plan ? plan.feasible : null;
    const entry_mm = plan?.measures["tolerance_entry_mm"];
    const tip_mm = plan?.measures["tolerance_tip_mm"];
    const cone = typeof entry_mm === "number" && typeof tip_mm === "number" ? { cone: { entry_mm, tip_mm } } : {};
    viewer.path.value = ends ? { entry_mm: ends.entry_mm, target_mm: ends.target_mm, radius_mm, feasible, editable, ...cone } : null;
    viewer.otherPaths.value = (plan?.needles ?? []).slice(1).map(({ trajectory }) => ({ ...trajectory, radius_mm, feasible, editable: false }));
  });
}
