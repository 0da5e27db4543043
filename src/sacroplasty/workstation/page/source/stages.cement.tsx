/** Venogram and cement over time: what is filled, what leaks, how hard one has to press, when to stop. */

import { signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { getJson } from "./api";
import { Chart, Legend, type Series } from "./chart";
import { COLOURS, css } from "./colours";
import { loadCement } from "./scene-pane";
import { about, base, cement, details, has, tried } from "./station";
import type { Cement, Venogram } from "./types";
import { Choice, Field, Findings, number, percent, placed, probability, RunButton, Section, Editing } from "./ui";
import * as viewer from "./viewer";

const moment = signal(0);
const venogram = signal<Venogram | null>(null);

export function CementStage() {
  const c = cement.value;
  const revision = details.value?.revision;
  useEffect(() => {
    moment.value = Math.max(0, (cement.value?.moments.length ?? 1) - 1);
    venogram.value = null;
    if (has("venogram")) void tried(async () => { venogram.value = await getJson<Venogram>(`${base.value}/venogram`); });
  }, [base.value, revision, c]);
  const ml = c?.moments[moment.value]?.injected_ml ?? Infinity;
  useEffect(() => {
    viewer.injected_ml.value = ml;
    const timer = setTimeout(() => void tried(() => loadCement(ml)), 120);
    return () => { clearTimeout(timer); viewer.injected_ml.value = Infinity; };
  }, [ml, c, base.value]);
  return (
    <>
      <Venography />
      <Editing><Inject /></Editing>
      {details.value?.stale.includes("cement") && <p class="warning pad" role="alert">▲ This injection was made from an older plan: do not use it.</p>}
      {c && <Injection c={c} />}
    </>
  );
}

function Inject() {
  const name = useSignal("");
  const volume = useSignal("");
  const parameters: Record<string, unknown> = {};
  if (name.value) parameters["cement"] = name.value;
  if (volume.value) parameters["volume_ml"] = Number(volume.value);
  return (
    <Section title="Injection">
      <div class="row">
        <Choice label="Cement" value={name.value} options={about.value?.cements ?? []} empty="simplex-p" onChange={(v) => { name.value = v; }} />
        <Field label="Volume mL" type="number" min="0.2" max="20" step="0.1" placeholder="the plan's" value={volume.value} onInput={(v) => { volume.value = v; }} />
      </div>
      <RunButton name="cement" words={cement.value ? "Simulate again" : "Simulate the injection"} parameters={parameters} needs={["plan"]} primary={!cement.value} />
    </Section>
  );
}

function Venography() {
  const v = venogram.value;
  return (
    <Section title="Venogram" aside={<RunButton name="venogram" words={v ? "Again" : "Simulate"} needs={["plan"]} />}>
      {!v && <p class="quiet">After the stylet is out: contrast shows where cement would leave the lesion.</p>}
      {v && (
        <>
          {v.stale && <p class="warning">Made from an older plan: do not use it.</p>}
          <table class="list"><thead><tr><th>Outlet</th><th>Share</th><th>First seen</th></tr></thead><tbody>
            {v.outlets.map((one) => <tr key={one.name}><td>{placed(one.name)}</td><td>{percent(one.share, 1)}</td><td>{number(one.first_s, 1, "s")}</td></tr>)}
          </tbody></table>
          {v.shifts.length > 0 && <p>Tip moved {number(v.shifts[0]!.along_mm, 0, "mm")} along and {number(v.shifts[0]!.across_mm, 0, "mm")} across: venous share {percent(v.shifts[0]!.venous_share, 1)}. <button class="link" onClick={() => viewer.goTo(v.shifts[0]!.tip_mm)}>show</button></p>}
          <Findings list={v.findings} />
          <p class="quiet">{v.statement}</p>
        </>
      )}
    </Section>
  );
}

const COMPARTMENT_COLOURS = ["#e69f00", "#56b4e9", "#f0e442", "#cc79a7", "#d55e00"];

function Injection({ c }: { c: Cement }) {
  const n = Math.min(moment.value, c.moments.length - 1);
  const m = c.moments[n];
  if (!m) return null;
  const alarms = (c.alarms ?? []).filter((one) => one.injected_ml <= m.injected_ml + 1e-6);
  const pressure: Series[] = [
    { name: "syringe", colour: css(COLOURS["cement"]!), points: c.moments.map((one) => [one.injected_ml, one.syringe_kpa]) },
    { name: "tip", colour: "#56b4e9", dashed: true, points: c.moments.map((one) => [one.injected_ml, one.tip_kpa]) }];
  const fronts: Series[] = c.fronts.slice(0, 5).map((front, k) => ({
    name: placed(front.structure), colour: COMPARTMENT_COLOURS[k % COMPARTMENT_COLOURS.length]!,
    points: front.distance_mm.map((d, q): [number, number] => [c.moments[q]?.injected_ml ?? 0, d ?? NaN]) }));
  const toMoment = (ml: number): void => {
    moment.value = c.moments.reduce((best, one, k) => (Math.abs(one.injected_ml - ml) < Math.abs(c.moments[best]!.injected_ml - ml) ? k : best), 0);
  };
  return (
    <>
      <Section title="Over time" aside={<span class="tag">simulated</span>}>
        <label class="slider"><span>Time</span>
          <input type="range" min={0} max={c.moments.length - 1} step={1} value={n} data-cement-slider aria-valuetext={`${m.injected_ml.toFixed(2)} mL after ${m.time_s.toFixed(0)} s`}
            onInput={(event) => { moment.value = Number(event.currentTarget.value); }} />
          <output>{number(m.time_s, 0, "s")}</output></label>
        <div class="verdict">
          <div><span>injected</span><strong>{number(m.injected_ml, 2, "mL")}</strong></div>
          <div><span>lesion filled</span><strong>{percent(m.lesion_fill)}</strong></div>
          <div><span>outside</span><strong class={m.leaked_ml > 0.005 ? "warning" : ""}>{number(m.leaked_ml, 2, "mL")}</strong></div>
          <div><span>syringe</span><strong>{number(m.syringe_kpa, 0, "kPa")}</strong></div>
        </div>
        <p class="quiet">{number(m.age_s, 0, "s")} after mixing · {c.cement}</p>
        {alarms.length > 0 && <ul class="findings" role="alert">{alarms.map((one, k) => (
          <li key={k} class="warning"><span class="sign">▲</span><span>{one.message} <button class="link" onClick={() => toMoment(one.injected_ml)}>{one.injected_ml.toFixed(1)} mL</button></span></li>))}</ul>}
        <Chart series={pressure} x="mL injected" y="kPa" at={m.injected_ml} onPick={toMoment} /><Legend series={pressure} />
      </Section>
      {fronts.length > 0 && <Section title="Distance to what must stay free, mm"><Chart series={fronts} x="mL injected" y="mm" at={m.injected_ml} onPick={toMoment} /><Legend series={fronts} /></Section>}
      <Section title="Where the cement is, at the end">
        <table class="list"><thead><tr><th>Compartment</th><th>mL</th></tr></thead><tbody>
          {Object.entries(c.compartments).map(([name, ml]) => <tr key={name}><td>{placed(name)}</td><td>{number(ml, 2)}</td></tr>)}
          <tr><td>injected of {number(c.requested_ml, 1)} asked</td><td>{number(c.injected_ml, 2)}</td></tr>
        </tbody></table>
        <p class="quiet">{c.stopped}</p>
      </Section>
      <Section title="Leaks">
        {c.leaks.length === 0 && <p class="quiet">None in this simulation.</p>}
        {c.leaks.length > 0 && <table class="list"><thead><tr><th>To</th><th>mL</th><th>first at</th><th>chance</th></tr></thead><tbody>
          {c.leaks.map((one) => <tr key={one.compartment}><td>{placed(one.compartment)}</td><td>{number(one.volume_ml, 2)}</td><td>{number(one.first_leak_ml, 1, "mL")}</td><td>{probability(one.probability)}</td></tr>)}</tbody></table>}
      </Section>
      <Section title="Stop when"><ul class="plain">{c.stop_rules.map((one) => <li key={one}>{one}</li>)}</ul></Section>
      <Section title="Remarks"><Findings list={c.findings} /><p class="quiet">{c.statement}</p></Section>
    </>
  );
}
