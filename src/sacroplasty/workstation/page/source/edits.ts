/** A sheet under edit: what another window stored meanwhile is kept, and what both changed is asked about. */

import { useSignal } from "@preact/signals";
import { notice } from "./station";

type Tree = Record<string, unknown>;
const isTree = (v: unknown): v is Tree => typeof v === "object" && v !== null && !Array.isArray(v);
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Mine and theirs, both made from `base`, put together leaf by leaf; where both changed a leaf, mine is taken and named. */
export function merged(base: unknown, mine: unknown, theirs: unknown, name = ""): { value: unknown; clashes: string[] } {
  if (isTree(base) && isTree(mine) && isTree(theirs)) {
    const keys = [...new Set([...Object.keys(theirs), ...Object.keys(mine)])];
    const parts = keys.map((key) => merged(base[key], mine[key], theirs[key], name ? `${name}, ${key}` : key));
    return { value: Object.fromEntries(keys.map((key, n) => [key, parts[n]!.value])), clashes: parts.flatMap((one) => one.clashes) };
  }
  if (same(base, mine)) return { value: theirs, clashes: [] };
  const clash = !same(base, theirs) && !same(mine, theirs);
  return { value: mine, clashes: clash ? [`${name.replaceAll("_", " ")} is now ${theirs === null || theirs === "" ? "open" : JSON.stringify(theirs)}`] : [] };
}

export interface Edits<T> {
  /** What the form shows: the edits, else what is stored. */
  shown: T | null;
  dirty: boolean;
  set: (next: T) => void;
  drop: () => void;
  /** What to store; nothing where another window changed the same, which a second try replaces. */
  ready: () => T | null;
  /** It was stored: what was typed since then stays an edit. */
  done: (kept: T) => void;
}

/** The edits on a stored sheet, remembered with the state that they began on. */
export function useEdits<T>(stored: T | null): Edits<T> {
  const held = useSignal<{ base: T; mine: T } | null>(null);
  const set = (next: T): void => {
    if (stored !== null) held.value = { base: held.value?.base ?? stored, mine: next };
  };
  const ready = (): T | null => {
    if (!held.value || stored === null) return null;
    const { value, clashes } = merged(held.value.base, held.value.mine, stored);
    if (!clashes.length) return value as T;
    held.value = { base: stored, mine: value as T };
    notice.value = { kind: "conflict", text: `Changed in another window meanwhile: ${clashes.join("; ")}. Nothing was overwritten; store once more to replace it.` };
    return null;
  };
  const done = (kept: T): void => {
    const now = held.value;
    const mine = now && (merged(now.base, now.mine, kept).value as T);
    held.value = mine && !same(mine, kept) ? { base: kept, mine } : null;
  };
  return { shown: held.value?.mine ?? stored, dirty: held.value !== null, set, drop: () => { held.value = null; }, ready, done };
}
