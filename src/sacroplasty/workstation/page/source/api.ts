/** Talking to the local server: one error type, revisions on every write, nothing retried behind the user's back. */

import type { Refusal } from "./types";

/** A refusal of the server, with its sentence for the user. */
export class Refused extends Error {
  constructor(readonly status: number, readonly refusal: Refusal) {
    super(refusal.sentence);
  }
}

async function checked(answer: Response): Promise<Response> {
  if (answer.ok) return answer;
  let refusal: Refusal;
  try {
    const body = await answer.json();
    refusal = typeof body.sentence === "string" ? body : { code: "", what: "", sentence: JSON.stringify(body).slice(0, 300) };
  } catch {
    const said = answer.status === 401 ? "The session has ended. Open the address that `sacroplasty serve` printed." : "";
    refusal = { code: "", what: "", sentence: said || `The server answered ${answer.status}.` };
  }
  throw new Refused(answer.status, refusal);
}

/** Every request; a server that cannot be reached is a refusal like any other. */
export async function ask(url: string, how: RequestInit = {}): Promise<Response> {
  try {
    return await checked(await fetch(url, { credentials: "same-origin", ...how }));
  } catch (error) {
    if (error instanceof Refused || (error instanceof DOMException && error.name === "AbortError")) throw error;
    const sentence = "The server does not answer. Is `sacroplasty serve` still running?";
    throw new Refused(0, { code: "", what: "", sentence });
  }
}

export const getJson = async <T>(url: string, signal?: AbortSignal): Promise<T> =>
  (await ask(url, signal ? { signal } : {})).json() as Promise<T>;

/** Sends JSON (or a raw body); `revision` goes into If-Match, so that a change made elsewhere is never overwritten. */
export async function send<T>(
  method: string, url: string, body: unknown, revision?: number, headers: Record<string, string> = {}, signal?: AbortSignal,
): Promise<T> {
  const raw = body instanceof Blob || body instanceof FormData || body instanceof ArrayBuffer;
  const all: Record<string, string> = { ...headers };
  if (!raw && body !== undefined) all["Content-Type"] = "application/json";
  if (revision !== undefined) all["If-Match"] = `"${revision}"`;
  const how: RequestInit = { method, headers: all };
  if (body !== undefined) how.body = raw ? (body as BodyInit) : JSON.stringify(body);
  if (signal) how.signal = signal;
  const answer = await ask(url, how);
  const text = await answer.text();
  return (text ? JSON.parse(text) : {}) as T;
}

/** Runs only the newest request of a kind: an answer that comes late is dropped, and at most one is on its way. */
export function newestOnly<A extends unknown[]>(work: (...args: A) => Promise<void>): (...args: A) => void {
  let busy = false;
  let waiting: A | null = null;
  const run = async (args: A): Promise<void> => {
    busy = true;
    try {
      await work(...args);
    } finally {
      busy = false;
      const next = waiting;
      waiting = null;
      if (next) void run(next);
    }
  };
  return (...args: A) => {
    if (busy) waiting = args;
    else void run(args);
  };
}
