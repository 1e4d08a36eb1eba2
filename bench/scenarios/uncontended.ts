import { distribution } from "../harness/statistics.ts";
import { each, end, entrants, keyOf, label, type Scenario, turns } from "./scene.ts";

const TURNS = 30;
/** In one turn; on loopback, where a cycle takes a tenth of the time. */
const CYCLES = { "loopback": 300, "1 ms": 60 };
/** Cycles of each before: compiled by then, as in a process that has run for a second. */
const WARM = 3_000;

/** One lock after the other, in one process: the same key each time, and a new one. */
export const uncontended: Scenario = async (scene) => {
  const all = await each(scene, await entrants(scene), async (entrant) => ({
    entrant,
    runner: await entrant.start(),
    same: [] as number[][],
    fresh: [] as number[][],
  }));
  const started = [...all];
  const n = Math.ceil(CYCLES[scene.network] * scene.effort);
  const warm = Math.ceil(scene.network === "loopback" ? WARM : WARM / 10);
  await turns(scene, all, 1, async ({ entrant, runner }) => {
    await runner.tell("cycles", { n: warm, key: keyOf(entrant, "same") });
    await runner.tell("cycles", { n: warm / 10, key: keyOf(entrant, "fresh-*") });
  });
  await turns(scene, all, TURNS, async ({ entrant, runner, same, fresh }) => {
    same.push(await runner.tell("cycles", { n, key: keyOf(entrant, "same") }));
    fresh.push(await runner.tell("cycles", { n, key: keyOf(entrant, "fresh-*") }));
  });
  await end(started.map(({ runner }) => runner));
  return all.flatMap(({ entrant, same, fresh }) => [
    { ...label(scene, entrant), scenario: "uncontended" as const, times: distribution(same) },
    { ...label(scene, entrant), scenario: "fresh" as const, times: distribution(fresh) },
  ]);
};
