/** Small line charts as SVG: axes with units, a marker for now, no ornaments. */

export interface Series { name: string; points: readonly (readonly [number, number])[]; colour: string; dashed?: boolean; dots?: boolean }

function ticks(low: number, high: number): number[] {
  const raw = (high - low || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw) ?? raw;
  const found: number[] = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-6; t += step) found.push(Number(t.toPrecision(8)));
  return found;
}

export function Chart({ series, x, y, at, low, high, height = 130, onPick }: {
  series: readonly Series[]; x: string; y: string; at?: number | null; low?: number; high?: number; height?: number; onPick?: (x: number) => void;
}) {
  const all = series.flatMap((s) => s.points.filter((p) => Number.isFinite(p[1])));
  if (!all.length) return <p class="quiet">Nothing to draw yet.</p>;
  const [W, H] = [340, height];
  const [left, right, top, bottom] = [40, 8, 10, 30];
  const xs = all.map((p) => p[0]);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  const y0 = low ?? Math.min(0, ...all.map((p) => p[1]));
  const y1 = high ?? Math.max(...all.map((p) => p[1]), y0 + 1e-6);
  const X = (v: number): number => left + ((v - x0) / (x1 - x0 || 1)) * (W - left - right);
  const Y = (v: number): number => H - bottom - ((v - y0) / (y1 - y0 || 1)) * (H - top - bottom);
  return (
    <svg class="chart" viewBox={`0 0 ${W} ${H}`} role="img" aria-label={`${y} over ${x}: ${series.map((s) => s.name).join(", ")}`}
      onClick={(event) => {
        const box = event.currentTarget.getBoundingClientRect();
        const column = ((event.clientX - box.left) / box.width) * W;
        onPick?.(Math.min(x1, Math.max(x0, x0 + ((column - left) / (W - left - right)) * (x1 - x0))));
      }}>
      {ticks(y0, y1).map((t) => (
        <g key={t}><line class="grid" x1={left} x2={W - right} y1={Y(t)} y2={Y(t)} /><text x={left - 5} y={Y(t) + 3} text-anchor="end">{t}</text></g>
      ))}
      {ticks(x0, x1).map((t) => <text key={t} x={X(t)} y={H - bottom + 13} text-anchor="middle">{t}</text>)}
      <text class="axis" x={W - right} y={H - 4} text-anchor="end">{x}</text>
      <text class="axis" x={left + 5} y={top + 1} dominant-baseline="middle">{y}</text>
      {series.map((s) => (
        <g key={s.name}>
          <polyline fill="none" stroke={s.colour} stroke-width="1.8" stroke-dasharray={s.dashed ? "4 3" : undefined}
            points={s.points.filter((p) => Number.isFinite(p[1])).map((p) => `${X(p[0]).toFixed(1)},${Y(p[1]).toFixed(1)}`).join(" ")}><title>{s.name}</title></polyline>
          {s.dots && s.points.map((p) => <circle key={p[0]} cx={X(p[0])} cy={Y(p[1])} r="3" fill={s.colour}><title>{`${s.name}: ${p[1]} at ${p[0]}`}</title></circle>)}
        </g>
      ))}
      {at !== undefined && at !== null && <line class="now" x1={X(at)} x2={X(at)} y1={top} y2={H - bottom} />}
    </svg>
  );
}

export function Legend({ series }: { series: readonly Series[] }) {
  return (
    <ul class="legend">
      {series.map((s) => (
        <li key={s.name}><svg class="key" viewBox="0 0 16 4" aria-hidden="true"><line x1="0" x2="16" y1="2" y2="2" stroke={s.colour} stroke-width="3" stroke-dasharray={s.dashed ? "4 3" : undefined} /></svg>{s.name}</li>
      ))}
    </ul>
  );
}
