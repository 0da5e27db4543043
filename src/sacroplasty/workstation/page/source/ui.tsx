/** Small pieces that every stage uses: numbers, findings, tables, buttons that start jobs. */

import type { ComponentChildren } from "preact";
import { useSignal } from "@preact/signals";
import { send } from "./api";
import { has, readOnly, runningJob, tried, write } from "./station";
import type { Finding } from "./types";
import { goTo } from "./viewer";

/** A number with its unit; a dash where it was not measurable. */
export const number = (value: number | null | undefined, digits = 1, unit = ""): string =>
  value === null || value === undefined || !Number.isFinite(value) ? "–" : `${value.toFixed(digits)}${unit && `\u202f${unit}`}`;

export const percent = (share: number | null | undefined, digits = 0): string =>
  number(share === null || share === undefined ? share : share * 100, digits, "%");

/** A probability as the reports say it: never a bare zero. */
export const probability = (p: number | null | undefined): string =>
  p === null || p === undefined ? "–" : p < 0.001 ? "< 0.1\u202f%" : `${(p * 100).toFixed(1)}\u202f%`;

const UNITS: [RegExp, string][] = [
  [/_mm2$/, "mm²"], [/_mm$/, "mm"], [/_ml$/, "mL"], [/_deg$/, "°"], [/_s$/, "s"], [/_hu$/, "HU"], [/_celsius$/, "°C"],
  [/_kpa$/, "kPa"], [/_mpa$/, "MPa"], [/_g$/, "g"],
];

/** A measure's key in words and its unit: `skin_to_lesion_mm` is "skin to lesion" in "mm". */
export function spelled(key: string): [string, string] {
  for (const [ending, unit] of UNITS) if (ending.test(key)) return [key.replace(ending, "").replaceAll("_", " "), unit];
  return [key.replaceAll("_", " "), ""];
}

export const placed = (key: string): string => key.replaceAll("_", " ").replaceAll("-", " ");

export function Measures({ values, only }: { values: Record<string, number | null>; only?: readonly string[] }) {
  const keys = (only ?? Object.keys(values)).filter((key) => key in values);
  if (!keys.length) return null;
  return (
    <table class="measures"><tbody>
      {keys.map((key) => {
        const [words, unit] = spelled(key);
        return <tr key={key}><th scope="row">{words}</th><td>{number(values[key], unit === "HU" ? 0 : unit ? 1 : 2, unit)}</td></tr>;
      })}
    </tbody></table>
  );
}

const SIGNS: Record<Finding["severity"], string> = { info: "i", caution: "!", warning: "▲", blocker: "■" };

export function Findings({ list, limit = 40 }: { list: readonly Finding[]; limit?: number }) {
  const order = ["blocker", "warning", "caution", "info"];
  const sorted = [...list].sort((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity)).slice(0, limit);
  if (!sorted.length) return <p class="quiet">No remarks.</p>;
  return (
    <ul class="findings">
      {sorted.map((one, n) => (
        <li key={`${one.code}${n}`} class={one.severity}>
          <span class="sign" aria-label={one.severity}>{SIGNS[one.severity]}</span>
          <span>{one.message}{one.where_mm && <> <button class="link" onClick={() => goTo(one.where_mm)}>show</button></>}</span>
        </li>
      ))}
    </ul>
  );
}

export function Section({ title, children, aside }: { title: string; children: ComponentChildren; aside?: ComponentChildren }) {
  return <section class="block"><header><h2>{title}</h2>{aside}</header>{children}</section>;
}

/** Starts a stage of the open case as a job; says why it cannot. */
export function RunButton({ name, words, parameters = {}, needs = [], primary = false }: {
  name: string; words: string; parameters?: Record<string, unknown>; needs?: readonly string[]; primary?: boolean;
}) {
  const missing = needs.filter((one) => !has(one));
  const busy = runningJob.value !== null;
  if (readOnly.value) return null;
  const why = missing.length ? `Needs ${missing.join(", ")} first` : busy ? "A job is running on this case" : "";
  return (
    <button class={primary ? "primary" : ""} disabled={!!why} title={why}
      onClick={() => void tried(() => write("POST", `/stages/${name}`, { parameters }))}>{words}</button>
  );
}

export function Empty({ words, children }: { words: string; children?: ComponentChildren }) {
  return <div class="empty"><p>{words}</p>{children}</div>;
}

export function Choice({ label, value, options, onChange, empty }: {
  label: string; value: string; options: readonly string[]; onChange: (value: string) => void; empty?: string;
}) {
  return (
    <label class="field"><span>{label}</span>
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {empty !== undefined && <option value="">{empty}</option>}
        {options.map((one) => <option key={one} value={one}>{one}</option>)}
      </select>
    </label>
  );
}

export function Field({ label, value, onInput, type = "text", step, min, max, placeholder }: {
  label: string; value: string; onInput: (value: string) => void; type?: "text" | "number" | "date"; step?: string; min?: string; max?: string; placeholder?: string;
}) {
  const take = (event: { currentTarget: HTMLInputElement }): void => onInput(event.currentTarget.value);
  return (
    <label class="field"><span>{label}</span>
      {type === "number" && <input type="number" value={value} step={step} min={min} max={max} placeholder={placeholder} onInput={take} />}
      {type === "date" && <input type="date" value={value} onInput={take} />}
      {type === "text" && <input type="text" dir="auto" value={value} placeholder={placeholder} onInput={take} />}
    </label>
  );
}

export function Slider({ label, value, low, high, step, unit, onInput, words }: {
  label: string; value: number; low: number; high: number; step: number; unit: string; onInput: (value: number) => void; words?: string;
}) {
  return (
    <label class="slider"><span>{label}</span>
      <input type="range" min={low} max={high} step={step} value={value} aria-valuetext={words ?? `${value} ${unit}`}
        onInput={(event) => onInput(Number(event.currentTarget.value))} />
      <output>{words ?? `${number(value, step < 1 ? 1 : 0)}\u202f${unit}`}</output>
    </label>
  );
}

/** A button that asks for a reason before it acts: the reason goes into the audit trail. */
export function WithReason({ words, label, onDone, disabled = false }: {
  words: string; label: string; onDone: (reason: string) => void; disabled?: boolean;
}) {
  const open = useSignal(false);
  const reason = useSignal("");
  if (readOnly.value) return null;
  if (!open.value) return <button disabled={disabled} onClick={() => { open.value = true; }}>{words}</button>;
  return (
    <form class="reason" onSubmit={(event) => {
      event.preventDefault();
      if (!reason.value.trim()) return;
      onDone(reason.value.trim());
      open.value = false;
      reason.value = "";
    }}>
      <Field label={label} value={reason.value} onInput={(v) => { reason.value = v; }} />
      <div class="row"><button class="primary" disabled={!reason.value.trim()}>{words}</button>
        <button type="button" onClick={() => { open.value = false; }}>Cancel</button></div>
    </form>
  );
}

/** Sends files to the server and returns the upload's name; `said` hears which file is on its way. */
export async function uploaded(files: FileList, said: (n: number) => void = () => undefined): Promise<string> {
  const { upload } = await send<{ upload: string }>("POST", "/api/uploads", undefined);
  for (let n = 0; n < files.length; n++) {
    said(n + 1);
    await send("PUT", `/api/uploads/${upload}/files/${n}`, files[n], undefined, { "X-File-Name": encodeURIComponent(files[n]!.name) });
  }
  return upload;
}

/** What is only there to change a case, compute or send: away where the server only shows. */
export function Editing({ children }: { children: ComponentChildren }) {
  return readOnly.value ? null : <>{children}</>;
}

/** A form as it is filled in; where the server only shows, it can be read and not changed. */
export function Form({ children }: { children: ComponentChildren }) {
  return <fieldset class="plain-form" disabled={readOnly.value}>{children}</fieldset>;
}

/** A place for files that starts `work` with what was chosen. */
export function Drop({ words, work }: { words: string; work: (files: FileList) => Promise<unknown> }) {
  if (readOnly.value) return null;
  return (
    <label class="drop small"><input type="file" multiple onChange={(event) => {
      const { files } = event.currentTarget;
      if (files?.length) void tried(() => work(files));
    }} /><span>{words}</span></label>
  );
}
