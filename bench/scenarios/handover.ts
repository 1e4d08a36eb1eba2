import { setTimeout as sleep } from "node:timers/promises";
import type { Runner } from "../harness/runner.ts";
import { distribution } from "../harness/statistics.ts";
import { each, end, entrants, keyOf, label, type Scenario, turns } from "./scene.ts";

const TURNS = 12;
/** Hand-overs in a turn: an even number, so that the lock is back where it was. */
const ROUNDS = 10;
/** Milliseconds between two, the same for all: an idle moment costs a sleeping machine its wake-up. */
const PACE = 10;

/** From before the release in one process until the other one has the lock; to and fro. */
export const handover: Scenario = async (scene) => {
  const all = await each(scene, await entrants(scene, ({ bare }) => !bare), async (entrant) => {
    const pair = [await entrant.start(), await entrant.start()] as const;
    // A signal is there to be sent; a lock has to be held first.
    const key = keyOf(entrant, "handover");
    if (!entrant.contestant.signal) await pair[0].tell("take", { key });
    return { entrant, key, pair, times: [] as number[][] };
  });
  const started = [...all];
  await turns(scene, all, 1, ({ pair, key }) => pass(pair, key, ROUNDS));
  await turns(scene, all, Math.ceil(TURNS * scene.effort), async ({ pair, key, times }) => {
    times.push(await pass(pair, key, ROUNDS));
  });
  await end(started.flatMap(({ pair }) => pair));
  return all.map(({ entrant, times }) => ({
    ...label(scene, entrant),
    scenario: "handover",
    times: distribution(times),
  }));
};

async function pass(pair: readonly [Runner, Runner], key: string, rounds: number): Promise<number[]> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const [from, to] = round % 2 === 0 ? pair : [pair[1], pair[0]];
    const next = to.order("take", { key });
    await next.waiting;
    await sleep(PACE);
    const [[since], got] = await Promise.all([from.tell("give", { key }), next.done]);
    times.push(to.here(got) - from.here(since));
  }
  return times;
}
