/** Import: cases, demo patients, files, folders, archives, and what the gate said. */

import { useSignal } from "@preact/signals";
import { getJson, send } from "./api";
import { about, caseId, cases, details, ended, go, take, tried, write } from "./station";
import type { Job } from "./types";
import { Choice, Drop, Field, Section, uploaded, Editing } from "./ui";

interface Inspection {
  verdict: string; code: string; message: string; modality: string; stacks: string[]; shape: number[]; spacing_mm: number[];
  remarks: { code: string; verdict: string; message: string }[];
}

const VERDICTS: Record<string, string> = { accept: "geometry accepted", warn: "accepted with remarks", reject: "refused" };

export function ImportStage() {
  return (
    <div class="page two-columns">
      <div><CaseList />{details.value && <SourceSheet />}</div>
      <Editing><div><NewCase /><DemoCases /></div></Editing>
    </div>
  );
}

function CaseList() {
  return (
    <Section title="Cases">
      {cases.value.length === 0 && <p class="quiet">No case yet. Import a CT, or make a digital patient of the two papers.</p>}
      <ul class="cases">
        {cases.value.map((one) => (
          <li key={one.id}>
            <button class={one.id === caseId.value ? "chosen" : ""} aria-current={one.id === caseId.value} onClick={() => go("anatomy", one.id)}>
              <strong dir="auto">{one.name}</strong>
              <span class="quiet">{one.decision || (one.stages ?? []).filter((s) => s !== "images").join(", ") || "CT only"}</span>
              <span class="tags">{one.simulated && <span class="tag">simulated</span>}
                {one.verdict && <span class={`tag ${one.verdict}`}>{VERDICTS[one.verdict] ?? one.verdict}</span>}
                {one.running_job && <span class="tag busy">working</span>}</span>
            </button>
          </li>
        ))}
      </ul>
    </Section>
  );
}

function SourceSheet() {
  const source = details.value?.source ?? {};
  const remarks = source.remarks ?? [];
  const facts = Object.entries(source).filter(([key, value]) => key !== "remarks" && key !== "acknowledged" && value !== null && value !== "" && typeof value !== "object");
  return (
    <Section title="Where the open case's CT comes from">
      {facts.length === 0 && <p class="quiet">Nothing was noted about the source.</p>}
      <table class="measures"><tbody>
        {facts.map(([key, value]) => <tr key={key}><th scope="row">{key.replaceAll("_", " ")}</th><td dir="auto">{String(value)}</td></tr>)}
      </tbody></table>
      <ul class="findings">
        {remarks.map((one) => (
          <li key={one.code} class={one.acknowledged ? "info" : "caution"}>
            <span class="sign">{one.acknowledged ? "i" : "!"}</span><span>{one.message}{one.acknowledged ? " (read and accepted)" : ""}</span>
          </li>
        ))}
      </ul>
      <Drop words="Add an MRI: it is laid on the CT, and the anatomy is found anew" work={async (files) => write("POST", "/mr", { upload: await uploaded(files) })} />
    </Section>
  );
}

function NewCase() {
  const way = useSignal("files");
  const id = useSignal("");
  const name = useSignal("");
  const ways = ["files", ...((about.value?.folders.length ?? 0) ? ["folder"] : []), ...((about.value?.archives.length ?? 0) ? ["archive"] : [])];
  const imported = async (source: Record<string, unknown>, acknowledge: string[], options: Record<string, unknown>): Promise<void> => {
    const job = await send<Job>("POST", "/api/imports", { id: id.value, name: name.value || id.value, acknowledge, ...source, ...options });
    take(job);
    const done = await ended(job.id);
    if (done.state === "done") go("anatomy", id.value);
  };
  const From = { files: FromFiles, folder: FromFolder, archive: FromArchive }[way.value] ?? FromFiles;
  return (
    <Section title="New case">
      <div class="row">
        <Field label="Folder name (letters, digits, . _ -)" value={id.value} onInput={(v) => { id.value = v.trim(); }} placeholder="patient-007" />
        <Field label="Name shown" value={name.value} onInput={(v) => { name.value = v; }} placeholder="any script" />
      </div>
      {ways.length > 1 && <Choice label="From" value={way.value} options={ways} onChange={(v) => { way.value = v; }} />}
      <From key={way.value} ready={!!id.value} onImport={imported} />
    </Section>
  );
}

type OnImport = (source: Record<string, unknown>, acknowledge: string[], options: Record<string, unknown>) => Promise<void>;
interface Way { ready: boolean; onImport: OnImport }
/** What the gate was asked about, and what it said; the newest question alone counts. */
interface Asked { source: Record<string, unknown>; found: Inspection }

/** Asks the gate by a job and waits for its word. */
function useGate(): [Asked | null, string, (ask: () => Promise<Job>, source: Record<string, unknown>, words: string) => Promise<void>, (words: string) => void] {
  const asked = useSignal<Asked | null>(null);
  const waiting = useSignal("");
  const ask = async (begin: () => Promise<Job>, source: Record<string, unknown>, words: string): Promise<void> => {
    asked.value = null;
    waiting.value = words;
    try {
      const job = await begin();
      take(job);
      const done = await ended(job.id);
      const result = done.result as { inspection?: Inspection; upload?: string } | null;
      if (done.state === "done" && result?.inspection) asked.value = { source: result.upload ? { upload: result.upload } : source, found: result.inspection };
    } finally {
      waiting.value = "";
    }
  };
  return [asked.value, waiting.value, ask, (words) => { asked.value = null; waiting.value = words; }];
}

function Judged({ asked, waiting, ready, onImport }: Way & { asked: Asked | null; waiting: string }) {
  return (
    <>
      {waiting && <p role="status">{waiting}</p>}
      {asked && <Gate found={asked.found} ready={ready} onImport={(acknowledge, options) => onImport(asked.source, acknowledge, options)} />}
    </>
  );
}

function FromFiles({ ready, onImport }: Way) {
  const [asked, waiting, ask, say] = useGate();
  const sent = (files: FileList): void => void tried(async () => {
    try {
      const upload = await uploaded(files, (n) => say(`Sending file ${n} of ${files.length}`));
      await ask(() => send<Job>("POST", `/api/uploads/${upload}/inspect`, undefined), { upload }, "Inspecting the geometry …");
    } catch (error) {
      say("");
      throw error;
    }
  });
  const chosen = (event: { currentTarget: HTMLInputElement }): void => {
    const { files } = event.currentTarget;
    if (files?.length) sent(files);
  };
  // A whole folder can be chosen where the browser knows how; the attribute is not in the types.
  const whole = { webkitdirectory: true };
  return (
    <>
      <label class="drop" onDragOver={(e) => e.preventDefault()} onDrop={(e) => { e.preventDefault(); if (e.dataTransfer?.files.length) sent(e.dataTransfer.files); }}>
        <input type="file" multiple onChange={chosen} />
        <span>Choose or drop a DICOM series, .zip, .nii.gz or .nrrd. It stays on this machine.</span>
      </label>
      <label class="drop small"><input type="file" {...whole} onChange={chosen} /><span>Choose a whole folder of DICOM files</span></label>
      <Judged asked={asked} waiting={waiting} ready={ready} onImport={onImport} />
    </>
  );
}

function Gate({ found, ready, onImport }: {
  found: Inspection; ready: boolean; onImport: (acknowledge: string[], options: Record<string, unknown>) => Promise<void>;
}) {
  const read = useSignal<string[]>([]);
  const series = useSignal("");
  const resample = useSignal(false);
  const rejected = found.verdict === "reject";
  return (
    <div class={`gate ${found.verdict}`} role="status">
      <h3>The gate: {VERDICTS[found.verdict] ?? found.verdict}</h3>
      <p>{found.message}</p>
      {found.shape && <p class="quiet">{found.modality} · {found.shape.join(" × ")} voxels · {found.spacing_mm?.map((s) => s.toFixed(2)).join(" × ")} mm</p>}
      {(found.remarks ?? []).map((one) => (
        <label key={one.code} class="check">
          <input type="checkbox" checked={read.value.includes(one.code)} onChange={() => {
            read.value = read.value.includes(one.code) ? read.value.filter((c) => c !== one.code) : [...read.value, one.code];
          }} />
          <span>I have read this and accept it: {one.message}</span>
        </label>
      ))}
      {(found.stacks ?? []).length > 1 && <Choice label="Series" value={series.value} options={found.stacks} empty="the program's choice" onChange={(v) => { series.value = v; }} />}
      {rejected && <label class="check"><input type="checkbox" checked={resample.value} onChange={() => { resample.value = !resample.value; }} />
        <span>Resample uneven or tilted slices; this is recorded with the case</span></label>}
      <button class="primary" disabled={!ready || (rejected && !resample.value)} title={ready ? "" : "Give the folder name first"}
        onClick={() => void tried(() => onImport(read.value, { series: series.value || null, resample_irregular: resample.value, resample_tilted: resample.value }))}>
        Make the case</button>
    </div>
  );
}

interface Entry { name: string; path: string; folder: boolean }

function FromFolder({ ready, onImport }: Way) {
  const folder = useSignal(about.value?.folders[0] ?? "");
  const path = useSignal("");
  const entries = useSignal<Entry[] | null>(null);
  const [asked, waiting, ask, say] = useGate();
  const at = (): string => `/api/folders/${encodeURIComponent(folder.value)}`;
  const list = (): Promise<boolean> => tried(async () => {
    say("");
    const answer = await getJson<{ entries: Entry[] }>(`${at()}?path=${encodeURIComponent(path.value)}`);
    entries.value = answer.entries;
  });
  const enter = (one: Entry): void => {
    path.value = one.path;
    if (one.folder) void list();
    else inspect();
  };
  const inspect = (): void => void tried(() => ask(() => send<Job>("POST", `${at()}/inspect`, { path: path.value }), { folder: folder.value, path: path.value }, "Inspecting the geometry …"));
  return (
    <>
      <Choice label="Folder" value={folder.value} options={about.value?.folders ?? []} onChange={(v) => { folder.value = v; path.value = ""; void list(); }} />
      <div class="row"><Field label="Path in it" value={path.value} onInput={(v) => { path.value = v; say(""); }} /><button onClick={() => void list()}>List</button>
        <button onClick={inspect}>Inspect</button></div>
      {entries.value && (
        <ul class="entries">
          {path.value.includes("/") || entries.value.some((one) => one.path !== one.name)
            ? <li><button class="link" onClick={() => { path.value = path.value.split("/").slice(0, -1).join("/"); void list(); }}>one level up</button></li> : null}
          {entries.value.map((one) => <li key={one.path}><button class="link" dir="auto" onClick={() => enter(one)}>{one.name}{one.folder ? "/" : ""}</button></li>)}
        </ul>
      )}
      <Judged asked={asked} waiting={waiting} ready={ready} onImport={onImport} />
    </>
  );
}

interface Series { patient_id: string; study_uid: string; series_uid: string; modality: string; description: string; images: number }

function FromArchive({ ready, onImport }: Way) {
  const archive = useSignal(about.value?.archives[0] ?? "");
  const patient = useSignal("");
  const found = useSignal<Series[] | null>(null);
  const [asked, waiting, ask, say] = useGate();
  const at = (): string => `/api/archives/${encodeURIComponent(archive.value)}`;
  const find = (): void => void tried(async () => {
    found.value = null;
    say("");
    found.value = (await send<{ series: Series[] }>("POST", `${at()}/find`, { patient_id: patient.value })).series;
  });
  const fetched = (one: Series): void => void tried(() => ask(() => send<Job>("POST", `${at()}/fetch`, {
    patient_id: one.patient_id, study_uid: one.study_uid, series_uid: one.series_uid, images: one.images,
  }), {}, "Fetching the series and inspecting its geometry …"));
  return (
    <>
      <div class="row">
        <Choice label="Archive" value={archive.value} options={about.value?.archives ?? []} onChange={(v) => { archive.value = v; }} />
        <Field label="Patient ID" value={patient.value} onInput={(v) => { patient.value = v; }} />
        <button disabled={!patient.value} onClick={find}>Find</button>
      </div>
      {found.value?.length === 0 && <p class="quiet">The archive has no series of this patient.</p>}
      <ul class="entries">
        {(found.value ?? []).map((one) => (
          <li key={one.series_uid}><button disabled={!!waiting} onClick={() => fetched(one)}><span dir="auto">{one.modality} · {one.images} images · {one.description || "no description"}</span></button></li>
        ))}
      </ul>
      <Judged asked={asked} waiting={waiting} ready={ready} onImport={onImport} />
    </>
  );
}

const DEMO_WORDS: Record<string, string> = {
  "zhang-1": "Man, 62 y: mixed metastasis of S1, trans-sacroiliac", "zhang-2": "Woman, 38 y: lytic S1 with destroyed margin",
  yeo: "S3 invaded by rectal cancer, interpedicular",
};

function DemoCases() {
  return (
    <Section title="Digital patients of the two papers">
      <p class="quiet">Phantoms with known truth; every stage is run. Takes minutes on two cores.</p>
      <ul class="entries">
        {(about.value?.demo_cases ?? []).map((name) => (
          <li key={name}>
            <button disabled={cases.value.some((one) => one.id === name)} onClick={() => void tried(async () => take(await send<Job>("POST", "/api/demo", { name, id: name })))}>
              {name}</button> <span class="quiet">{DEMO_WORDS[name] ?? ""}</span>
          </li>
        ))}
      </ul>
    </Section>
  );
}
