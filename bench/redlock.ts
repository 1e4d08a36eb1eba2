/**
 * Redlock: five nodes against the least a lock can do at one. What the nodes themselves cost is shown
 * beside it: they run on the same machine as the client here, which they do nowhere else.
 */
import { Redis } from "ioredis";
import { redlock } from "../backends/redlock.ts";
import { LockManager } from "../mod.ts";
import { Nodes } from "../tests/redlock/nodes.ts";
import { type Figure, median, type Round } from "./figures.ts";
import { Floor } from "./redis/floor.ts";

const ROUNDS = 2_000;

/** Five servers; one of them for the floor. */
export async function run(): Promise<Figure[]> {
  await using nodes = await Nodes.start(5);
  await using locks = new LockManager(redlock(nodes.urls, { maxTtl: 10_000 }));
  const clients = nodes.urls.map((url) => new Redis(url));
  const floors = await Promise.all(clients.map((client) => Floor.over(client)));
  const [one, ours, three, five] = await inTurns([
    () => floors[0]!.cycle("floor"),
    async () => await (await locks.acquire("key")).release(),
    () => all(floors.slice(0, 3)),
    () => all(floors),
  ]) as [number, number, number, number];
  for (const client of clients) client.disconnect();
  const figure = (what: string, value: number): Figure => ({ what: `redlock: ${what}`, value, unit: "x" });
  return [
    {
      ...figure("five nodes against one SET NX PX + compare-and-delete", ours / one),
      bound: { most: 1.5 },
    },
    figure("the same bare two calls to three nodes at once", three / one),
    figure("the same bare two calls to five nodes at once", five / one),
    figure("five nodes against the bare calls to three", ours / three),
  ];
}

/** Milliseconds of each, the median, all of them under the same load. */
async function inTurns(rounds: readonly Round[]): Promise<number[]> {
  const times: number[][] = rounds.map(() => []);
  for (let n = -200; n < ROUNDS; n++) {
    for (const [which, round] of rounds.entries()) {
      const started = performance.now();
      await round();
      if (n >= 0) times[which]!.push(performance.now() - started);
    }
  }
  return times.map(median);
}

/** Each step at all of them before the next. */
async function all(floors: readonly Floor[]): Promise<void> {
  const id = crypto.randomUUID();
  await Promise.all(floors.map((floor) => floor.take("floor", id)));
  await Promise.all(floors.map((floor) => floor.give("floor", id)));
}
