/**
 * One suite for every backend, and how anybody proves a backend of their own. It imports no test
 * runner: it gives out cases, each with a name and a `run`, for whatever runner there is.
 *
 * ```ts ignore
 * import { test } from "node:test";
 * import { conformance } from "@holdfast/lock/conformance";
 *
 * const harness = { name: "mine", open: () => myBackend("mine://127.0.0.1:4711") };
 * for (const { group, name, skip, run } of conformance(harness)) {
 *   test(`${group}: ${name}`, { skip }, run);
 * }
 * ```
 *
 * Every case works under a prefix of its own, so cases may run side by side in one store. No case
 * asks which backend it runs on: it reads `backend.traits`.
 *
 * @module
 */
import { cancellation } from "./cases/cancellation.ts";
import { closing } from "./cases/closing.ts";
import { crowd } from "./cases/crowd.ts";
import { events } from "./cases/events.ts";
import { exclusion } from "./cases/exclusion.ts";
import { expiry } from "./cases/expiry.ts";
import { fifo } from "./cases/fifo.ts";
import { input } from "./cases/input.ts";
import { inspecting } from "./cases/inspecting.ts";
import { keys } from "./cases/keys.ts";
import { lingering } from "./cases/lingering.ts";
import { loss } from "./cases/loss.ts";
import { metadata } from "./cases/metadata.ts";
import { partition } from "./cases/partition.ts";
import { renewal } from "./cases/renewal.ts";
import { replies } from "./cases/replies.ts";
import { rule } from "./cases/rule.ts";
import { several } from "./cases/several.ts";
import { sharing } from "./cases/sharing.ts";
import { stale } from "./cases/stale.ts";
import { stealing } from "./cases/stealing.ts";
import { tokens } from "./cases/tokens.ts";
import { watching } from "./cases/watching.ts";
import type { Group } from "./group.ts";
import type { Harness } from "./harness.ts";
import { Scene } from "./scene.ts";

export { ConformanceError } from "./assert.ts";
export type { Harness, Partition } from "./harness.ts";

/** One promise, checked on one backend. */
export interface Case {
  /** What it belongs to: "exclusion", "expiry" ... */
  readonly group: string;
  /** The promise. */
  readonly name: string;
  /** Why the harness leaves it out. Whoever runs it all the same gets an answer. */
  readonly skip: string | undefined;
  /** Resolves if the promise is kept, rejects with what was seen instead. */
  run(): Promise<void>;
}

const GROUPS: readonly Group[] = [
  expiry,
  partition,
  loss,
  stale,
  renewal,
  replies,
  exclusion,
  fifo,
  sharing,
  rule,
  crowd,
  cancellation,
  tokens,
  stealing,
  several,
  inspecting,
  watching,
  metadata,
  events,
  keys,
  input,
  lingering,
  closing,
];

/**
 * The cases for one backend.
 *
 * @throws {TypeError} If `harness.skip` names a case that does not exist or gives no reason.
 */
export function conformance(harness: Harness): Case[] {
  const skips = new Map(Object.entries(harness.skip ?? {}));
  const cases = GROUPS.flatMap((group) =>
    Object.entries(group.cases).filter(([, play]) => play.needs?.(harness) ?? true).map(
      ([name, play]): Case => {
        const skip = skips.get(`${group.name}: ${name}`);
        skips.delete(`${group.name}: ${name}`);
        if (skip?.trim() === "") throw new TypeError(`Cannot skip "${group.name}: ${name}" without a reason`);
        return { group: group.name, name, skip, run: () => Scene.play(harness, play.run) };
      },
    )
  );
  if (skips.size > 0) {
    throw new TypeError(
      `Cannot skip what is not there: ${[...skips.keys()].map((name) => `"${name}"`).join(", ")}`,
    );
  }
  return cases;
}

/**
 * Lets a runner that takes one case after the other run up to `width` of them side by side: the first
 * `run` of a case starts others too, and each that ends starts the next. Most of a case is waiting, so this
 * is what keeps a suite with real expiries short.
 */
export function sideBySide(cases: readonly Case[], width: number): Case[] {
  const running = new Map<Case, Promise<void>>();
  const wanted = cases.filter(({ skip }) => skip === undefined);
  const start = (one: Case): Promise<void> => {
    let result = running.get(one);
    if (result === undefined) {
      result = one.run();
      running.set(one, result);
      result.then(startNext, startNext); // a failure is reported by the case's own turn
    }
    return result;
  };
  const startNext = () => {
    const next = wanted.find((one) => !running.has(one));
    if (next !== undefined) start(next);
  };
  return cases.map((one) => ({
    ...one,
    run: () => {
      const result = start(one);
      for (let more = running.size; more < width; more++) startNext();
      return result;
    },
  }));
}
