import { setTimeout as sleep } from "node:timers/promises";
import type { ConsulApi, Sight } from "./api.ts";
import type { Bounds } from "./http.ts";

/** Milliseconds of rest after an answer without news: at first, and at most where Consul's index has risen. */
const FIRST = 25;
const MOST = 200;

/** At most where the index has not risen: then the answers do not come by Consul's rules. */
const STUCK = 1_000;

/** What is looked at. */
export interface Subject {
  /** The name of an entry, or of a tree. */
  readonly name: string;
  readonly tree: boolean;
  /** Consul's index, from which on a change is news. 0: what is there now comes first. */
  readonly index: number;
  /** Milliseconds that one question may stand open. */
  readonly wait: number;
}

/** What was seen, and whether the answer came because the time of the question was over. */
export interface Look extends Sight {
  readonly late: boolean;
}

/**
 * One blocking query after the other: what is there, and each change. By Consul's rules for them: an index
 * that falls starts anew, and what brings no news is asked for again after a rest that grows. Consul
 * answers a question about a tree that has been empty for a quarter of an hour at every write to its KV
 * store, wherever that is.
 */
export async function* follow(
  api: ConsulApi,
  { name, tree, index, wait }: Subject,
  bounds: Bounds,
): AsyncGenerator<Look, never> {
  let seen: readonly string[] | undefined;
  let rests = 0;
  for (let from = index;;) {
    const asked = performance.now();
    const found = await api.next(name, { index: from, wait, tree }, bounds);
    const late = performance.now() - asked >= wait;
    const news = seen === undefined || !same(seen, found.names);
    const rose = found.index > from;
    seen = found.names;
    yield { ...found, late };
    if (late || (news && rose)) rests = 0;
    else {
      const ms = Math.min(FIRST * 2 ** rests++, rose ? MOST : STUCK);
      await sleep(ms, undefined, { signal: bounds.signal, ref: false });
    }
    from = found.index < from ? 0 : found.index;
  }
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, at) => name === b[at]);
}
