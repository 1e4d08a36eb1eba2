import { setTimeout as sleep } from "node:timers/promises";
import { round } from "../harness/statistics.ts";
import type { Series } from "../harness/report.ts";
import { usage } from "../harness/usage.ts";
import { each, type Entrant, entrants, keyOf, label, type Scenario, type Scene } from "./scene.ts";

const SIZES = [1, 10, 100, 1_000, 10_000];
/** Milliseconds, or what the store can do at least: each third of it is a period. */
const TTL = 6_000;
/** Of other packages: what they do with more is their own affair. */
const MOST = 1_000;
/** Renewals that are watched. */
const PERIODS = 2;

/** Locks that are held, and nothing else: what their renewals cost in each period, and what each takes in memory. */
export const held: Scenario = async (scene) => {
  const series: Series[] = [];
  const ttl = Math.max(TTL, scene.store.shortTtl);
  const locks = await entrants(scene, ({ kind, renews }) => kind === "ours" || renews === true);
  for (const size of SIZES.filter((size) => size <= 10_000 * scene.effort)) {
    const some = locks.filter(({ contestant }) => contestant.kind === "ours" || size <= MOST);
    series.push(...await each(scene, some, (entrant) => keep(size, ttl, entrant, scene)));
  }
  return series;
};

async function keep(size: number, ttl: number, entrant: Entrant, scene: Scene): Promise<Series> {
  await using runner = await entrant.start(ttl);
  await runner.tell("hold", { many: 1, prefix: keyOf(entrant, `warm-${size}-`) });
  const heap = await runner.tell("heap", {});
  await runner.tell("hold", { many: size, prefix: keyOf(entrant, `held-${size}-`) });
  await sleep(ttl / 3); // the first renewals are over
  const before = {
    calls: await scene.running.calls?.(),
    server: usage(scene.running.pids),
    client: usage([runner.pid]),
  };
  if (entrant.contestant.module !== undefined) await runner.tell("standstill", {});
  const periods = () => sleep(PERIODS * ttl / 3);
  const longest = await (scene.running.longest?.(periods) ?? periods());
  const values = {
    ...(longest !== undefined && { longest }),
    ...(entrant.contestant.module !== undefined &&
      { standstill: round(await runner.tell("standstill", {})) }),
    ...(before.calls !== undefined && { calls: (await scene.running.calls!() - before.calls) / PERIODS }),
    server: round((usage(scene.running.pids) - before.server) / PERIODS),
    client: round((usage([runner.pid]) - before.client) / PERIODS),
    heap: round((await runner.tell("heap", {}) - heap) / size),
  };
  return { ...label(scene, entrant), scenario: "held", size, values };
}
