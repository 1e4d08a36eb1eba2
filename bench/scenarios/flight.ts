import { median, round } from "../harness/statistics.ts";
import { usage } from "../harness/usage.ts";
import { each, end, entrants, label, type Scenario, turns } from "./scene.ts";

const TURNS = 10;
const SIZES = [1, 8, 64];
const CYCLES = 500;

/** Many at once in one process, on distinct keys: cycles a second, and what each takes of the processors. */
export const flight: Scenario = async (scene) => {
  const all = await each(scene, await entrants(scene), async (entrant) => ({
    entrant,
    runner: await entrant.start(),
    found: new Map<number, { rate: number; client: number; server: number }[]>(),
  }));
  const started = [...all];
  await turns(scene, all, 1, ({ runner }) => runner.tell("flight", { n: CYCLES, many: 64 }));
  for (const many of SIZES) {
    const n = Math.ceil(CYCLES * scene.effort * (scene.network === "loopback" || many > 1 ? 1 : 0.2));
    await turns(scene, all, TURNS, async ({ runner, found }) => {
      const before = [usage([runner.pid]), usage(scene.running.pids)] as const;
      const took = await runner.tell("flight", { n, many });
      const client = (usage([runner.pid]) - before[0]) / n;
      const server = (usage(scene.running.pids) - before[1]) / n;
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
