import { setTimeout as sleep } from "node:timers/promises";
import { distribution, round } from "../harness/statistics.ts";
import { usage } from "../harness/usage.ts";
import type { Series } from "../harness/report.ts";
import { each, end, type Entrant, entrants, keyOf, label, type Scenario, type Scene } from "./scene.ts";

const SIZES = [1, 10, 100, 1_000, 10_000];
/** Processes that the waiters are spread over, as far as there are so many. */
const PROCESSES = 4;
/** Milliseconds after which who has not been served is not waited for. */
const LIMIT = 60_000;
/** Before the first release, so many wait for so many milliseconds in which nothing happens. */
const IDLE = { size: 100, ms: 5_000 };

/**
 * A crowd waits for one lock, and each passes it on at once. How long a hand-over takes, in which order the waiters
 * are served, and what that costs in the store.
 */
export const crowd: Scenario = async (scene) => {
  const series: Series[] = [];
  for (const size of SIZES.filter((size) => size <= 10_000 * scene.effort)) {
    const all = (await entrants(scene, ({ bare, signal }) => !bare && !signal))
      .filter(({ contestant: { crowd = Infinity } }) => size <= crowd);
    series.push(...await each(scene, all, (entrant) => among(size, entrant, scene)));
  }
  return series;
};

async function among(size: number, entrant: Entrant, scene: Scene): Promise<Series> {
  const key = keyOf(entrant, `crowd-of-${size}`);
  const start = () => entrant.start(scene.store.longTtl);
  const holder = await start();
  const runners = scene.store.alone
    ? [holder]
    : await Promise.all(Array.from({ length: Math.min(size, PROCESSES) }, start));
  await holder.tell("take", { key });
  const share = Math.ceil(size / runners.length);
  const served: Promise<number[]>[] = [];
  for (const [n, runner] of runners.entries()) {
    // In order of arrival: the second process comes when all of the first stand in line.
    const many = Math.min(share, size - n * share);
    const { waiting, done } = runner.order("crowd", { key, many });
    await Promise.race([waiting, done]);
    const times = done.then((times) => times.map((time) => runner.here(time)));
    times.catch(() => {}); // awaited below
    served.push(times);
  }
  await sleep(500); // until the last one listens
  const pids = runners.map(({ pid }) => pid);
  const all = [...pids, ...scene.running.pids];
  const idle = size === IDLE.size ? await spentIdly(all) : undefined;
  const before = {
    calls: await scene.running.calls?.(),
    server: usage(scene.running.pids),
    client: usage(pids),
  };
  const since = holder.here((await holder.tell("give", { key }))[0]);
  const times = await Promise.race([Promise.all(served), sleep(LIMIT, undefined, { ref: false })]);
  const values = times === undefined ? {} : {
    ...(before.calls !== undefined && { calls: round((await scene.running.calls!() - before.calls) / size) }),
    server: round((usage(scene.running.pids) - before.server) / size),
    client: round((usage(pids) - before.client) / size),
    ...(idle !== undefined && { idle: round(idle) }),
  };
  if (times === undefined) {
    scene.remark(`${entrant.contestant.name}: ${size} waiters are not served within ${LIMIT / 1_000} s`);
    await Promise.all([...runners, holder].map((runner) => runner.kill()));
    return { ...label(scene, entrant), scenario: "crowd", size };
  }
  await end([...runners, holder]);
  const waits = times.flat().map((at) => at - since);
  const sorted = waits.toSorted((a, b) => a - b);
  const each = sorted.map((at, n) => at - (sorted[n - 1] ?? 0));
  return {
    ...label(scene, entrant),
    scenario: "crowd",
    size,
    times: distribution([each]),
    rate: round(size / sorted.at(-1)! * 1_000),
    values: { ...values, disorder: round(disorder(waits)) },
    waits: thin(waits).map(round),
  };
}

/** What waiting takes of a core, in percent. */
async function spentIdly(pids: readonly number[]): Promise<number> {
  const before = usage(pids);
  await sleep(IDLE.ms);
  return (usage(pids) - before) / IDLE.ms * 100;
}

/** How far from first come, first served: 0 is that, 1 a lottery. By Spearman's correlation of ranks. */
function disorder(waits: readonly number[]): number {
  const n = waits.length;
  if (n < 2) return 0;
  const order = [...waits.keys()].sort((a, b) => waits[a]! - waits[b]!);
  const squares = order.reduce((sum, arrival, rank) => sum + (arrival - rank) ** 2, 0);
  return 6 * squares / (n * (n * n - 1));
}

/** As many as a picture can show, in the order of arrival. */
function thin(waits: readonly number[]): number[] {
  const step = Math.ceil(waits.length / 500);
  return waits.filter((_, n) => n % step === 0);
}
