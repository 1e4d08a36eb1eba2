import { setTimeout as sleep } from "node:timers/promises";
import { Runner, type RuntimeName, script } from "../harness/runner.ts";
import type { Series } from "../harness/report.ts";
import type { Contestant, Running, Store } from "../stores/store.ts";
import { TTL } from "../subjects/subject.ts";

/** What a scenario is given. */
export interface Scene {
  readonly store: Store;
  readonly running: Running;
  readonly network: Series["network"];
  /** Where subjects find the store, at that distance. */
  readonly address: string;
  readonly runtimes: readonly RuntimeName[];
  /** Whom to measure. */
  readonly contestants: readonly Contestant[];
  /** What part of the usual rounds to do: 1, or less for a quick look. */
  readonly effort: number;
  /** Says what cannot be measured, and why. */
  remark(text: string): void;
}

/** A scenario: who is in it is measured in turns. */
export type Scenario = (scene: Scene) => Promise<Series[]>;

/** Somebody who takes part, on one runtime. */
export interface Entrant {
  readonly contestant: Contestant;
  /** Or the language. */
  readonly runtime: string;
  /** One more process of it. */
  start(ttl?: number): Promise<Runner>;
}

/** Each who locks, on each runtime; those in other languages once. */
export async function entrants(
  { contestants, runtimes, address, remark }: Scene,
  which: (contestant: Contestant) => boolean = ({ signal }) => !signal,
): Promise<Entrant[]> {
  const all: Entrant[] = [];
  for (const contestant of contestants.filter(which)) {
    const { name, module, program, language } = contestant;
    if (module !== undefined) {
      // Ours on every runtime; the floor too, which is what it is compared with; peers on the first.
      for (const runtime of contestant.kind === "peer" ? runtimes.slice(0, 1) : runtimes) {
        all.push({
          contestant,
          runtime,
          start: (ttl = TTL) => Runner.start(script(runtime, module, address, ttl)),
        });
      }
    } else if (await program!(address, TTL) === undefined) {
      remark(`${name} is left out: this machine cannot build it`);
    } else {
      all.push({
        contestant,
        runtime: language!,
        start: async (ttl = TTL) => await Runner.start((await program!(address, ttl))!),
      });
    }
  }
  return all;
}

/** What all series of a scenario say of an entrant. */
export function label(
  { store, network }: Scene,
  { contestant: { name, kind }, runtime }: Entrant,
): Pick<Series, "store" | "network" | "subject" | "kind" | "runtime"> {
  return { store: store.name, network, subject: name, kind, runtime };
}

/** A key that no other subject uses: each has its own way to write it down. */
export function keyOf({ contestant: { name }, runtime }: Entrant, what: string): string {
  return `${name.replaceAll(/\W+/g, "-")}-${runtime}-${what}`;
}

/** Milliseconds that a turn may take: a peer that has lost its way is not waited for. */
const LIMIT = 300_000;

/** What each entrant comes to. A peer that fails is left out, and the report says so; ours and a floor must not fail. */
export async function each<T>(
  { remark }: Scene,
  all: readonly Entrant[],
  make: (entrant: Entrant) => Promise<T>,
): Promise<T[]> {
  const made: T[] = [];
  for (const entrant of all) {
    try {
      made.push(await Promise.race([make(entrant), tooLong()]));
    } catch (error) {
      const { name, kind } = entrant.contestant;
      if (kind !== "peer") throw error;
      remark(`${name} failed: ${(error as Error).message.split("\n")[0]}`);
    }
  }
  return made;
}

/**
 * So many rounds, in another order each time: whoever is first may always meet the same disturbance. A peer that fails
 * is taken out of `all`.
 */
export async function turns<T extends { readonly entrant: Entrant }>(
  scene: Scene,
  all: T[],
  rounds: number,
  turn: (one: T) => Promise<unknown>,
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const order = all.map((one) => [Math.random(), one] as const).sort(([a], [b]) => a - b);
    for (const [, one] of order) {
      const [done] = await each(scene, [one.entrant], () => turn(one).then(() => true));
      if (done === undefined) all.splice(all.indexOf(one), 1);
    }
  }
}

async function tooLong(): Promise<never> {
  await sleep(LIMIT, undefined, { ref: false });
  throw new Error(`no answer within ${LIMIT / 1_000} s`);
}

/** Closes them all. */
export async function end(runners: Iterable<AsyncDisposable>): Promise<void> {
  await Promise.all(Array.from(runners, (runner) => runner[Symbol.asyncDispose]()));
}
