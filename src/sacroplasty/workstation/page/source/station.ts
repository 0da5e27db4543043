/** The state of the page: which case, which stage, what is loaded, what is running. Reload brings it back. */

import { batch, computed, effect, signal } from "@preact/signals";
import { getJson, Refused, send } from "./api";
import type { About, Anatomy, CaseDetails, Cement, ImageInfo, Job, Lesion, Plan, Summary, SurfaceInfo } from "./types";

export const STAGES = [
  ["import", "Import"], ["anatomy", "Anatomy"], ["lesion", "Lesion"], ["suitability", "Suitability"],
  ["approaches", "Approaches"], ["views", "Views"], ["rehearsal", "Rehearsal"], ["guidance", "Guidance"],
  ["cement", "Cement"], ["report", "Report"], ["procedure", "Procedure"], ["follow-up", "Follow-up"], ["cohort", "Cohort"],
] as const;
export type StageKey = (typeof STAGES)[number][0];

export const about = signal<About | null>(null);
export const cases = signal<Summary[]>([]);
export const caseId = signal<string | null>(null);
export const stage = signal<StageKey>("import");
export const details = signal<CaseDetails | null>(null);
export const jobs = signal<Job[]>([]);
export const anatomy = signal<Anatomy | null>(null);
export const lesions = signal<Lesion[]>([]);
export const plans = signal<Plan[]>([]);
export const cement = signal<Cement | null>(null);
export const images = signal<ImageInfo[]>([]);
export const surfaces = signal<SurfaceInfo[]>([]);
/** A message that stays until it is put away. */
export const notice = signal<{ kind: "refused" | "conflict" | "said"; text: string } | null>(null);
export const connected = signal(true);
/** The server only shows cases: the page offers nothing that it would refuse. */
export const readOnly = computed(() => about.value?.read_only ?? false);

export const base = computed(() => `/api/cases/${encodeURIComponent(caseId.value ?? "")}`);
export const revision = computed(() => details.value?.revision ?? 0);
export const has = (name: string): boolean => details.value?.stages.includes(name) ?? false;
export const runningJob = computed(() =>
  jobs.value.find((job) => job.case === caseId.value && (job.state === "running" || job.state === "queued")) ?? null);

/** Shows a refusal; a conflict also brings the newest state of the case. */
export function refused(error: unknown): void {
  if (error instanceof DOMException && error.name === "AbortError") return;
  if (error instanceof Refused && error.status === 409) {
    notice.value = { kind: "conflict", text: `${error.message} The newest state is shown now; nothing was overwritten.` };
    void openCase(caseId.value);
    return;
  }
  notice.value = { kind: "refused", text: error instanceof Error ? error.message : String(error) };
}

/** Runs an action and shows its refusal; tells whether it went through. */
export async function tried(action: () => Promise<unknown>): Promise<boolean> {
  try {
    await action();
    return true;
  } catch (error) {
    refused(error);
    return false;
  }
}

const listed = async <T>(path: string, key: string): Promise<T[]> => (await getJson<Record<string, T[]>>(path))[key] ?? [];

export async function loadCases(): Promise<void> {
  cases.value = await listed<Summary>("/api/cases", "cases");
}

export async function loadJobs(): Promise<void> {
  jobs.value = await listed<Job>("/api/jobs", "jobs");
}

function forget(): void {
  batch(() => {
    details.value = anatomy.value = cement.value = null;
    lesions.value = [];
    plans.value = [];
    images.value = [];
    surfaces.value = [];
  });
}

let asked = 0;
let shown = 0;

/** Loads what the case holds; parts that are not made yet stay empty. An answer that a later question overtook is
 * dropped: its old revision would make the next write a conflict with nobody. */
export async function openCase(id: string | null): Promise<void> {
  const turn = ++asked;
  if (id !== details.value?.id) forget();
  if (!id) return;
  const at = `/api/cases/${encodeURIComponent(id)}`;
  try {
    const found = await getJson<CaseDetails>(at);
    if (caseId.value !== id || turn < shown) return;
    shown = turn;
    details.value = found;
    const keep = (work: () => void): void => {
      if (caseId.value === id && turn === shown) batch(work);
    };
    const made = (name: string): boolean => found.stages.includes(name);
    // The CT is described first: the list of all pictures may take long when a case is opened for the first time.
    const described = (async () => {
      if (images.value.length === 0 && made("images")) {
        const first = await getJson<ImageInfo>(`${at}/images/ct`);
        keep(() => (images.value = [first]));
      }
      const all = await listed<ImageInfo>(`${at}/images`, "images");
      keep(() => (images.value = all));
    })();
    const parts: Promise<unknown>[] = [described];
    const load = (name: string, work: () => Promise<unknown>, empty: () => void): void => {
      if (made(name)) parts.push(work());
      else empty();
    };
    load("segment", async () => {
      const [a, s] = await Promise.all([getJson<Anatomy>(`${at}/anatomy`), listed<SurfaceInfo>(`${at}/surfaces`, "surfaces")]);
      keep(() => { anatomy.value = a; surfaces.value = s; });
    }, () => { anatomy.value = null; surfaces.value = []; });
    load("lesion", async () => {
      const v = await listed<Lesion>(`${at}/lesions`, "lesions");
      keep(() => (lesions.value = v));
    }, () => (lesions.value = []));
    load("plan", async () => {
      const v = await listed<Plan>(`${at}/plans`, "plans");
      keep(() => (plans.value = v));
    }, () => (plans.value = []));
    load("cement", async () => {
      const v = await getJson<Cement>(`${at}/cement`);
      keep(() => (cement.value = v));
    }, () => (cement.value = null));
    for (const part of await Promise.allSettled(parts)) if (part.status === "rejected") refused(part.reason);
  } catch (error) {
    if (error instanceof Refused && error.status === 404) location.hash = "#/import";
    refused(error);
  }
}

/** A write on the open case: carries the revision it was made on, then follows its job or takes over what it changed. */
export async function write<T extends { revision?: number; id?: string; state?: string }>(
  method: string, path: string, body?: unknown, headers: Record<string, string> = {}, at: number = revision.value,
): Promise<T> {
  const answer = await send<T>(method, `${base.value}${path}`, body, at, headers);
  if (answer.state && answer.id) take(answer as unknown as Job);
  // The write may have made later stages void: revision and stages change together.
  else await openCase(caseId.value);
  return answer;
}

/** Puts a job's newest state into the list; a case whose job ended is loaded again. */
export function take(job: Job): void {
  const before = jobs.value.find((one) => one.id === job.id);
  jobs.value = [job, ...jobs.value.filter((one) => one.id !== job.id)].sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
  const ended = !["queued", "running"].includes(job.state);
  if (ended && before && before.state !== job.state) {
    if (job.state === "interrupted") notice.value = { kind: "refused", text: `${job.title}: the worker stopped before the end. It can be resumed under Jobs.` };
    if (job.state === "failed" && job.error) notice.value = { kind: "refused", text: `${job.title}: ${job.error.sentence}` };
    void tried(loadCases);
    if (job.case && job.case === caseId.value) void openCase(job.case);
  }
}

/** Resolves with the job once it has ended. */
export function ended(id: string): Promise<Job> {
  return new Promise((resolve) => {
    const stop = effect(() => {
      const job = jobs.value.find((one) => one.id === id);
      if (!job || job.state === "queued" || job.state === "running") return;
      queueMicrotask(() => { stop(); resolve(job); });
    });
  });
}

export const cancelJob = (id: string): Promise<boolean> => tried(async () => take(await send<Job>("POST", `/api/jobs/${id}/cancel`, {})));
export const resumeJob = (id: string): Promise<boolean> => tried(async () => take(await send<Job>("POST", `/api/jobs/${id}/resume`, {})));

/** Listens to the server's events; where they break off, the page polls until they are back. */
export function listen(): void {
  const source = new EventSource("/api/events");
  source.addEventListener("job", (event) => take(JSON.parse((event as MessageEvent<string>).data) as Job));
  source.addEventListener("case", (event) => {
    const told = JSON.parse((event as MessageEvent<string>).data) as { case: string; revision: number };
    void tried(loadCases);
    if (told.case === caseId.value && told.revision > revision.value) void openCase(told.case);
  });
  source.onopen = () => (connected.value = true);
  source.onerror = () => (connected.value = false);
  setInterval(() => {
    const waiting = jobs.value.some((job) => job.state === "queued" || job.state === "running");
    if (waiting || !connected.value) void pollJobs();
  }, 2000);
}

async function pollJobs(): Promise<void> {
  try {
    for (const job of await listed<Job>("/api/jobs", "jobs")) {
      const known = jobs.value.find((one) => one.id === job.id);
      if (!known || known.state !== job.state || known.fraction !== job.fraction) take(job);
    }
    connected.value = true;
  } catch {
    connected.value = false;
  }
}

/** The address holds case and stage, so that reload, bookmark and the back button work. */
export const address = (id: string | null, key: StageKey): string => (id ? `#/case/${encodeURIComponent(id)}/${key}` : `#/${key}`);

export function go(key: StageKey, id: string | null = caseId.value): void {
  location.hash = address(id, key);
}

export function readAddress(): void {
  const parts = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const [id, key] = parts[0] === "case" ? [parts[1] ?? null, parts[2]] : [null, parts[0]];
  const known = STAGES.find(([name]) => name === key)?.[0] ?? "import";
  batch(() => {
    stage.value = known;
    if (id !== caseId.value) {
      caseId.value = id;
      void openCase(id);
    }
  });
}

/** A value kept in the browser per case; a broken or foreign entry counts as none. */
export function remembered<T>(name: string): T | null {
  try {
    return JSON.parse(localStorage.getItem(`sacroplasty:${caseId.value}:${name}`) ?? "null") as T | null;
  } catch {
    return null;
  }
}

export function remember(name: string, value: unknown): void {
  localStorage.setItem(`sacroplasty:${caseId.value}:${name}`, JSON.stringify(value));
}
