import { distribution } from "../harness/statistics.ts";
import { end, entrants, label, type Scenario, turns } from "./scene.ts";

const TURNS = 30;
/** In one turn; on loopback, where a cycle takes a tenth of the time. */
const CYCLES = { "loopback": 300, "1 ms": 60 };
/** Cycles of each before: compiled by then, as in a process that has run for a second. */
const WARM = 3_000;

/** One lock after the other, in one process: the same key each time, and a new one. */
export const uncontended: Scenario = async (scene) => {
  const all = await Promise.all((await entrants(scene)).map(async (entrant) => ({
    entrant,
    runner: await entrant.start(),
    same: [] as number[][],
    fresh: [] as number[][],
  })));
  const n = Math.ceil(CYCLES[scene.network] * scene.effort);
  const warm = Math.ceil(scene.network === "loopback" ? WARM : WARM / 10);
  for (const { runner } of all) await runner.tell("cycles", { n: warm, key: "same" });
  for (const { runner } of all) await runner.tell("cycles", { n: warm / 10, key: "fresh*" });
  await turns(all, TURNS, async ({ runner, same, fresh }) => {
    same.push(await runner.tell("cycles", { n, key: "same" }));
    fresh.push(await runner.tell("cycles", { n, key: "fresh*" }));
  });
  await end(all.map(({ runner }) => runner));
  return all.flatMap(({ entrant, same, fresh }) => [
    { ...label(scene, entrant), scenario: "uncontended" as const, times: distribution(same) },
    { ...label(scene, entrant), scenario: "fresh" as const, times: distribution(fresh) },
  ]);
};
