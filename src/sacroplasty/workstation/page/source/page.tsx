/** The page: top bar, rail of stages, panes, panel, jobs, help. */

import { signal, useSignal } from "@preact/signals";
import { Component, render, type ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { getJson } from "./api";
import { COLOURS, colourOf, css } from "./colours";
import { RehearsalPicture, RehearsalStage } from "./stages.rehearsal";
import { needleOf, StoredView, useViews, views, ViewsPicture, ViewsStage } from "./stages.views";
import { startTrainee } from "./trainee";
import { AnatomyStage, LesionStage, startCorrections } from "./stages.anatomy";
import { ApproachesStage, comparing } from "./stages.approaches";
import { CementStage } from "./stages.cement";
import { GuidancePicture, GuidanceStage, startGuidance } from "./stages.guidance";
import { ImportStage } from "./stages.import";
import { CohortStage, FollowUpStage, ProcedureStage, ReportStage } from "./stages.record";
import { SuitabilityStage } from "./stages.suitability";
import { startPathEditing } from "./path-edit";
import { Radiograph } from "./radiograph";
import { ScenePane } from "./scene-pane";
import { huAtFocus, SlicePane } from "./slice-pane";
import * as station from "./station";
import { about, caseId, details, go, jobs, notice, runningJob, stage, STAGES, type StageKey } from "./station";
import type { About, Job } from "./types";
import * as viewer from "./viewer";

const helpOpen = signal(false);
const jobsOpen = signal(false);

/** Stages with pictures beside the panel; the others take the whole width. */
const PICTURED = new Set<StageKey>(["anatomy", "lesion", "approaches", "views", "rehearsal", "guidance", "cement"]);
const SLICED = new Set<StageKey>(["anatomy", "lesion", "approaches", "cement"]);
/** What tells that a stage is done. */
const DONE: Partial<Record<StageKey, string>> = { import: "images", anatomy: "segment", lesion: "lesion", approaches: "plan", views: "views", cement: "cement", report: "report" };

function TopBar() {
  const d = details.value;
  const job = runningJob.value;
  return (
    <header class="top">
      <button class="brand" onClick={() => go("import", null)} aria-label="All cases"><img src="/assets/mark.svg" alt="" width="20" height="20" /> sacroplasty</button>
      {d && <h1 dir="auto">{d.name}</h1>}
      {station.readOnly.value && <span class="tag" title="This server only shows cases: nothing is changed, computed or sent">read only</span>}
      {d?.simulated && <span class="tag">simulated patient</span>}
      {d?.decision && <span class="quiet decision">{d.decision}</span>}
      <span class="gap" />
      {job && <button class="job" onClick={() => { jobsOpen.value = true; }}><progress max={1} value={job.fraction} /> {job.message || job.title}</button>}
      {!station.connected.value && <span class="blocker">server does not answer</span>}
      <button onClick={() => { jobsOpen.value = !jobsOpen.value; }} aria-expanded={jobsOpen.value}>Jobs</button>
      <button onClick={() => { helpOpen.value = true; }} aria-label="Keyboard help">?</button>
      <strong class="not-clinical">Research software · not for clinical use</strong>
    </header>
  );
}

function Rail() {
  const d = details.value;
  return (
    <nav class="rail" aria-label="Stages">
      <ol>
        {STAGES.map(([key, words], n) => {
          const closed = !d && key !== "import" && key !== "cohort";
          const made = d && DONE[key] && d.stages.includes(DONE[key]!);
          const stale = d?.stale.includes(DONE[key] ?? "") ?? false;
          const state = stale ? "out of date" : made ? "done" : "";
          return (
            <li key={key}>
              <button disabled={closed} title={words} aria-current={stage.value === key ? "step" : undefined} onClick={() => go(key)}>
                <span class={`dot ${stale ? "stale" : made ? "made" : ""}`} aria-hidden="true">{stale ? "!" : n + 1}</span>
                <span class="words">{words}{made && !stale ? " ✓" : ""}</span>{state && <span class="sr">{state}</span>}
              </button>
            </li>
          );
        })}
      </ol>
    </nav>
  );
}

const SLABS = [0, 5, 10, 20, 40];

function Toolbar() {
  const w = viewer.windowing.value;
  const shown = viewer.layers.value;
  const others = station.images.value.filter((one) => !["ct", "labels", "cement_arrival", "cement_fraction"].includes(one.name) && !one.name.startsWith("lesion"));
  const s = viewer.slab.value;
  return (
    <div class="toolbar" role="toolbar" aria-label="Picture">
      <div class="segmented" role="group" aria-label="Window">
        {(about.value?.window_presets ?? []).map((one, n) => (
          <button key={one.name} title={`${one.name}: centre ${one.centre_hu}, width ${one.width_hu} HU (key ${n + 1})`} aria-pressed={w.centre_hu === one.centre_hu && w.width_hu === one.width_hu}
            onClick={() => { viewer.windowing.value = { centre_hu: one.centre_hu, width_hu: one.width_hu }; }}>{one.name}</button>
        ))}
      </div>
      <label>Slab <select aria-label="Slab thickness" value={s.thickness_mm} onChange={(e) => { viewer.slab.value = { ...s, thickness_mm: Number(e.currentTarget.value) }; }}>
        {SLABS.map((mm) => <option key={mm} value={mm}>{mm ? `${mm} mm` : "off"}</option>)}</select></label>
      {s.thickness_mm > 0 && <label><select aria-label="Slab kind" value={s.mode} onChange={(e) => { viewer.slab.value = { ...s, mode: e.currentTarget.value as "mean" | "maximum" }; }}>
        <option value="mean">mean</option><option value="maximum">maximum</option></select></label>}
      <details class="menu">
        <summary>Show</summary>
        <div>{Object.keys(shown).map((key) => (
          <label key={key}><input type="checkbox" checked={shown[key]} onChange={() => { viewer.layers.value = { ...shown, [key]: !shown[key] }; }} />{key}</label>))}
          <Key />
        </div>
      </details>
      {others.length > 0 && <label>Over <select aria-label="Volume laid over the CT" value={viewer.fused.value.name} onChange={(e) => void viewer.fuse(e.currentTarget.value)}>
        <option value="">none</option>{others.map((one) => <option key={one.name} value={one.name}>{one.name}</option>)}</select></label>}
      {viewer.fused.value.name && <input type="range" aria-label="Share of the volume laid over" min={0} max={1} step={0.05} value={viewer.fused.value.share}
        onInput={(e) => { viewer.fused.value = { ...viewer.fused.value, share: Number(e.currentTarget.value) }; }} />}
      {viewer.isOblique.value && <button onClick={viewer.straighten}>Straighten</button>}
      <button onClick={viewer.resetView}>Reset</button>
      <span class="gap" />
      {viewer.tool.value && <span class="hint" role="status">{viewer.tool.value.hint} <button class="link" onClick={() => { viewer.tool.value = null; }}>stop (Esc)</button></span>}
      <output class="quiet" data-hu>{viewer.focus.value.map((v) => v.toFixed(1)).join(", ")} mm · {huAtFocus()}</output>
    </div>
  );
}

/** Which colour is which structure. */
function Key() {
  const info = station.images.value.find((one) => one.name === "labels");
  const present = new Set((info?.present ?? Object.keys(info?.names ?? {})).map(String));
  const names = Object.entries(info?.names ?? {}).filter(([label, name]) => present.has(label) || present.has(name)).map(([, name]) => name);
  return (
    <ul class="legend tall">
      {[...names, "lesion", "foramen", "root", "cement"].map((name) => (
        <li key={name}><svg class="key" viewBox="0 0 10 10" aria-hidden="true"><rect width="10" height="10" fill={css(COLOURS[name] ?? colourOf(name))} /></svg>{name.replaceAll("_", " ")}</li>
      ))}
    </ul>
  );
}

/** The two radiographs that follow a path: from behind and from the side, or as the plan's progress views say. */
function Followers() {
  const named = (word: string) => views.value.find((one) => one.name.toLowerCase().includes(word));
  const front = named("ap") ?? named("front");
  const side = named("lateral");
  const n = needleOf();
  if (station.readOnly.value) return <>{[front, side].map((one, k) => <StoredView key={k} one={one} pane={k ? "Lateral" : "AP"} />)}</>;
  return (
    <>
      <Radiograph words="AP" shot={{ lao_deg: front?.lao_deg ?? 0, cra_deg: front?.cra_deg ?? 0, size: 192, ...n }} />
      <Radiograph words="Lateral" shot={{ lao_deg: side?.lao_deg ?? 90, cra_deg: side?.cra_deg ?? 0, size: 192, ...n }} />
    </>
  );
}

function Pictures() {
  const key = stage.value;
  if (key === "views") return <ViewsPicture />;
  if (key === "rehearsal") return <RehearsalPicture />;
  if (key === "guidance") return <GuidancePicture />;
  const withShots = key === "approaches" && station.plans.value.length > 0;
  const large = viewer.maximised.value;
  const pane = (name: string) => !large || large === name;
  return (
    <div class={`panes ${withShots ? "six" : "four"} ${large ? "large" : ""}`}>
      {pane("axial") && <SlicePane name="axial" />}
      {pane("sagittal") && <SlicePane name="sagittal" />}
      {withShots && !large && <Followers />}
      {pane("coronal") && <SlicePane name="coronal" />}
      {pane("scene") && <ScenePane />}
    </div>
  );
}

const PANELS: Record<StageKey, () => preact.JSX.Element> = {
  import: ImportStage, anatomy: AnatomyStage, lesion: LesionStage, suitability: SuitabilityStage, approaches: ApproachesStage, views: ViewsStage,
  rehearsal: RehearsalStage, guidance: GuidanceStage, cement: CementStage, report: ReportStage, procedure: ProcedureStage, "follow-up": FollowUpStage, cohort: CohortStage,
};

/** Holds a panel that fails, so that the rest of the page and its pictures stay. */
class Held extends Component<{ children: ComponentChildren }, { failure: string }> {
  override state = { failure: "" };

  override componentDidCatch(error: Error): void {
    this.setState({ failure: error.message });
  }

  override render() {
    if (!this.state.failure) return this.props.children;
    return <p class="blocker pad" role="alert">This part of the page failed and is not shown: {this.state.failure}</p>;
  }
}

function Work() {
  useViews();
  const key = stage.value;
  useEffect(() => { viewer.tool.value = viewer.brushed.value = null; viewer.maximised.value = null; }, [key, caseId.value]);
  const needsCase = key !== "import" && key !== "cohort";
  if (needsCase && !details.value) return <main class="whole"><p class="quiet pad">The case is loading …</p></main>;
  const Panel = PANELS[key];
  if (!PICTURED.has(key)) return <main class="whole" key={`${key}${caseId.value}`}><Held><Panel /></Held></main>;
  return (
    <main class="work">
      <div class="pictures"><Held key={key}>{SLICED.has(key) && <Toolbar />}<Pictures /></Held></div>
      <aside class="panel" key={`${key}${caseId.value}`} aria-label={STAGES.find(([name]) => name === key)![1]}><Held><RunAll /><Panel /></Held></aside>
    </main>
  );
}

/** Offers the rest of the way in one go while stages are missing. */
function RunAll() {
  const d = details.value;
  const missing = (about.value?.stages ?? []).filter((one) => !d?.stages.includes(one.name));
  if (!d || !missing.length || stage.value !== "anatomy" || station.readOnly.value) return null;
  return (
    <section class="block"><div class="row"><button disabled={!!runningJob.value} onClick={() => void station.tried(() => station.write("POST", "/run", { parameters: {} }))}>Run all {missing.length} missing stages</button></div></section>
  );
}

const STATES: Record<Job["state"], string> = { queued: "waiting", running: "running", done: "done", failed: "failed", cancelled: "cancelled", interrupted: "interrupted" };

function Jobs() {
  if (!jobsOpen.value) return null;
  return (
    <aside class="tray" aria-label="Jobs">
      <header><h2>Jobs</h2><button aria-label="Close" onClick={() => { jobsOpen.value = false; }}>✕</button></header>
      {jobs.value.length === 0 && <p class="quiet">Nothing has run yet.</p>}
      <ul>
        {jobs.value.slice(0, 30).map((job) => (
          <li key={job.id} class={job.state}>
            <div><strong>{job.title}</strong> <span class="quiet">{job.case}</span> <span class="state">{STATES[job.state]}</span></div>
            {(job.state === "running" || job.state === "queued") && <progress max={1} value={job.fraction} />}
            <div class="quiet">{job.error ? job.error.sentence : job.message}</div>
            <div class="row">
              {!station.readOnly.value && job.can_cancel && <button onClick={() => void station.cancelJob(job.id)}>Cancel</button>}
              {!station.readOnly.value && job.can_resume && <button onClick={() => void station.resumeJob(job.id)}>Resume</button>}
            </div>
          </li>
        ))}
      </ul>
    </aside>
  );
}

function Notice() {
  const n = notice.value;
  if (!n) return null;
  return <div class={`notice ${n.kind}`} role="alert"><span>{n.text}</span><button onClick={() => { notice.value = null; }}>OK</button></div>;
}

const KEYS: [string, string][] = [
  ["Alt + 1 … 9, 0", "Stage 1 to 10; Alt + , and . for the one before and after"], ["Arrow keys", "Move the crosshair 1 mm in the focused slice (Shift: 10 mm)"],
  ["Page up / down, wheel", "Scroll through slices"], ["+ −, Ctrl + wheel, pinch", "Zoom"], ["Shift + drag, middle button", "Pan"],
  ["Right button drag", "Window: left–right width, up–down centre"], ["1 … 5", "Window presets"], ["[ ]", "Rotate the crosshair lines by 2°; or drag their rings"],
  ["F, double click", "Enlarge the pane"], ["0", "Whole picture again"], ["Enter", "Use the tool in hand at the crosshair"], ["Esc", "Put the tool away"], ["Alt + paint", "Erase with the brush"],
];

function Help() {
  if (!helpOpen.value) return null;
  return (
    <div class="veil" onClick={() => { helpOpen.value = false; }}>
      <div class="dialog" role="dialog" aria-modal="true" aria-label="Keyboard" onClick={(e) => e.stopPropagation()}>
        <header><h2>Keyboard and mouse</h2><button autofocus onClick={() => { helpOpen.value = false; }}>Close</button></header>
        <table class="list"><tbody>{KEYS.map(([key, words]) => <tr key={key}><th scope="row">{key}</th><td>{words}</td></tr>)}</tbody></table>
        <p class="quiet">Pictures follow the radiological convention: the patient's right is on your left. Coordinates are patient LPS in mm. {about.value?.notice}</p>
        <p class="quiet">Version {about.value?.version} · <a href="/assets/licences.txt">licences</a></p>
      </div>
    </div>
  );
}

function App() {
  const ready = useSignal(false);
  const failure = useSignal("");
  useEffect(() => {
    void (async () => {
      try {
        about.value = await getJson<About>("/api/about");
        await Promise.all([station.loadCases(), station.loadJobs()]);
        station.listen();
        station.readAddress();
        window.addEventListener("hashchange", station.readAddress);
        ready.value = true;
      } catch (error) {
        failure.value = error instanceof Error ? error.message : String(error);
      }
    })();
  }, []);
  useEffect(() => {
    document.title = details.value ? `${details.value.name} · sacroplasty` : "sacroplasty";
  }, [details.value?.name]);
  if (failure.value) return <main class="whole"><p class="blocker pad">{failure.value}</p></main>;
  if (!ready.value) return <main class="whole"><p class="quiet pad">Opening the workstation …</p></main>;
  return <><TopBar /><div class="body"><Rail /><Work /></div><Notice /><Jobs /><Help /></>;
}

function globalKeys(event: KeyboardEvent): void {
  if (event.key === "Escape") {
    viewer.tool.value = null;
    helpOpen.value = jobsOpen.value = comparing.value = false;
    viewer.maximised.value = null;
  }
  if (!event.altKey || event.ctrlKey || event.metaKey) return;
  const now = STAGES.findIndex(([key]) => key === stage.value);
  const digit = /^Digit(\d)$/.exec(event.code)?.[1];
  const next = digit !== undefined ? (Number(digit) + 9) % 10 : event.code === "Comma" ? now - 1 : event.code === "Period" ? now + 1 : -1;
  const found = STAGES[next];
  if (!found || (!caseId.value && found[0] !== "import" && found[0] !== "cohort")) return;
  event.preventDefault();
  go(found[0]);
}

viewer.startViewer();
startPathEditing();
startCorrections();
startGuidance();
startTrainee();
window.addEventListener("keydown", globalKeys);
render(<App />, document.getElementById("page")!);
