import { setTimeout as sleep } from "node:timers/promises";
import type { Runner } from "../harness/runner.ts";
import { distribution } from "../harness/statistics.ts";
import { each, end, type Entrant, entrants, keyOf, label, type Scenario, turns } from "./scene.ts";

const TURNS = 12;
/** Hand-overs in a turn: an even number, so that the lock is back where it was. */
const ROUNDS = 10;
/** Milliseconds between two, the same for all: an idle moment costs a sleeping machine its wake-up. */
const PACE = 10;

/** From before the release in one process until the other one has the lock; to and fro. */
export const handover: Scenario = async (scene) => {
  const all = await each(scene, await entrants(scene, ({ bare }) => !bare), async (entrant) => ({
    entrant,
    pair: [await entrant.start(), await entrant.start()] as const,
    times: [] as number[][],
  }));
  const started = [...all];
  await turns(scene, all, 1, ({ entrant, pair }) => pass(entrant, pair));
  await turns(scene, all, Math.ceil(TURNS * scene.effort), async ({ entrant, pair, times }) => {
    times.push(await pass(entrant, pair));
  });
  await end(started.flatMap(({ pair }) => pair));
  return all.map(({ entrant, times }) => ({
    ...label(scene, entrant),
    scenario: "handover",
    times: distribution(times),
  }));
};

async function pass(entrant: Entrant, pair: readonly [Runner, Runner]): Promise<number[]> {
  const key = keyOf(entrant, "handover");
  const isLock = !entrant.contestant.signal;
  const times: number[] = [];
  if (isLock) await pair[0].tell("take", { key });
  for (let round = 0; round < ROUNDS; round++) {
    const [from, to] = round % 2 === 0 ? pair : [pair[1], pair[0]];
    const next = to.order("take", { key });
    await Promise.race([next.waiting, next.done]);
    await sleep(PACE);
    const [[since], got] = await Promise.all([from.tell("give", { key }), next.done]);
    times.push(to.here(got) - from.here(since));
  }
  if (isLock) await pair[0].tell("give", { key });
  return times;
}
