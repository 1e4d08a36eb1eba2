import { median, round } from "../harness/statistics.ts";
import { usage } from "../harness/usage.ts";
import { each, end, entrants, label, type Scenario, turns } from "./scene.ts";

const TURNS = 10;
const SIZES = [1, 8, 64];
/** Of each before, so that it is known how many take a turn, and all is compiled. */
const CYCLES = 1_000;
/** Milliseconds that a turn is to take. */
const TURN = 300;

/** Many at once in one process, on distinct keys: cycles a second, and what each takes of the processors. */
export const flight: Scenario = async (scene) => {
  const all = await each(scene, await entrants(scene), async (entrant) => ({
    entrant,
    runner: await entrant.start(),
    /** Milliseconds of a cycle, as far as known. */
    cycle: Infinity,
    found: new Map<number, { rate: number; client: number; server: number }[]>(),
  }));
  const started = [...all];
  for (const many of SIZES) {
    await turns(scene, all, 1, async (one) => {
      const n = CYCLES * scene.effort * (many === 1 ? 0.2 : 1);
      one.cycle = await one.runner.tell("flight", { n, many }) / n;
    });
    await turns(scene, all, TURNS, async (one) => {
      const { runner, found } = one;
      const n = Math.ceil(TURN * scene.effort / one.cycle);
      const before = [usage([runner.pid]), usage(scene.running.pids)] as const;
      const took = await runner.tell("flight", { n, many });
      const client = (usage([runner.pid]) - before[0]) / n;
      const server = (usage(scene.running.pids) - before[1]) / n;
      one.cycle = took / n;
      found.set(many, [...found.get(many) ?? [], { rate: n / took * 1_000, client, server }]);
    });
  }
  await end(started.map(({ runner }) => runner));
  return all.flatMap(({ entrant, found }) =>
    [...found].map(([size, each]) => ({
      ...label(scene, entrant),
      scenario: "flight" as const,
      size,
      rate: round(median(each.map(({ rate }) => rate))),
      values: {
        client: round(median(each.map(({ client }) => client))),
        server: round(median(each.map(({ server }) => server))),
      },
    }))
  );
};
