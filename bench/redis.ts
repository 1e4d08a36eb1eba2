/** Redis: against the least a lock can do, against raw scripts, and against other packages. */
import { Redis } from "ioredis";
import { redis } from "../backends/redis.ts";
import { LockManager } from "../mod.ts";
import { CALL, claim, open } from "../tests/support.ts";
import { RedisServer } from "../tests/servers/redis.ts";
import { type Figure, median, ratio } from "./figures.ts";
import { handover } from "./handover/measure.ts";
import { crowds, rush } from "./redis/crowds.ts";
import { Floor } from "./redis/floor.ts";
import { PEERS } from "./redis/peers.ts";

const HELD = 10_000;
const WAITERS = 200;
const IN_FLIGHT = 64;

/** One server for all of it. */
export async function run(): Promise<Figure[]> {
  await using server = await RedisServer.start({
    args: ["--slowlog-log-slower-than", "0", "--slowlog-max-len", "10000"],
  });
  await server.cli("config", "set", "slowlog-log-slower-than", "-1");
  return [
    ...await cycles(server),
    await flight(server),
    ...await handOver(server),
    ...await crowd(server),
    ...await held(server),
    ...await crowds(server),
    ...await rush(server),
  ];
}

/** One after the other, on one connection. */
async function cycles({ url }: RedisServer): Promise<Figure[]> {
  const client = new Redis(url);
  const floor = await Floor.over(client);
  await using locks = new LockManager(redis(client));
  const ours = async () => await (await locks.acquire("key")).release();
  const figures: Figure[] = [{
    what: "redis: acquire + release against SET NX PX + compare-and-delete, same connection",
    value: await ratio(ours, () => floor.cycle("floor"), 4_000),
    unit: "x",
    bound: { most: 1.15 },
  }];
  for (const [name, connect] of Object.entries(PEERS)) {
    const peer = await connect(url);
    const theirs = async () => await (await peer.acquire(`key of ${name}`))();
    figures.push({
      what: `redis: acquire + release against ${name}`,
      value: await ratio(ours, theirs, 1_000),
      unit: "x",
      bound: { most: 1 },
    });
    await peer.close();
  }
  client.disconnect();
  return figures;
}

/** Many at once, on distinct keys; each on a connection of its own. */
async function flight({ url }: RedisServer): Promise<Figure> {
  const client = new Redis(url);
  const floor = await Floor.over(client);
  await using locks = new LockManager(redis(url));
  const all = (cycle: (key: string) => Promise<unknown>) => () =>
    Promise.all(Array.from({ length: IN_FLIGHT }, (_, n) => cycle(`k${n}`)));
  const ours = all(async (key) => await (await locks.acquire(key)).release());
  const raw = all((key) => floor.scripts(`raw${key}`));
  const value = 1 / await ratio(ours, raw, 1_000);
  client.disconnect();
  return {
    what: `redis: ${IN_FLIGHT} in flight on distinct keys, throughput of raw EVALSHA`,
    value,
    unit: "x",
    bound: { least: 0.7 },
  };
}

/** From before the release in one process until the other one has the lock. */
async function handOver({ url }: RedisServer): Promise<Figure[]> {
  const peers = { "redlock": 100, "redis-semaphore": 8, "node-redisson": 2 };
  const [ours, floor] = await handover([
    { module: "lock", address: { backend: "redis", at: [url] } },
    { module: "redis", address: url, bare: true },
  ]) as [number, number];
  const figures: Figure[] = [{
    what: "redis: hand-over between processes against a bare PUBLISH to its message",
    value: ours / floor,
    unit: "x",
    bound: { most: 1.5 },
  }];
  for (const [name, least] of Object.entries(peers)) {
    const [theirs] = await handover([{ module: "../redis/peer_subject", address: { url, name } }], 60) as [
      number,
    ];
    figures.push({
      what: `redis: hand-over, how many times as fast as ${name}`,
      value: theirs / ours,
      unit: "x",
      bound: { least },
    });
  }
  return figures;
}

/** Calls of scripts, which is all that holders and waiters send. */
async function calls(server: RedisServer): Promise<number> {
  const stats = await server.cli("info", "commandstats");
  return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
}

async function crowd(server: RedisServer): Promise<Figure[]> {
  const ttl = 6_000;
  await using locks = new LockManager(redis(server.url), { ttl });
  const first = await locks.acquire("crowd");
  const served = Array.from({ length: WAITERS }, async () => await (await locks.acquire("crowd")).release());
  while ((await locks.inspect("crowd"))!.waiters.length < WAITERS) await pause(20);
  await server.cli("config", "resetstat");
  await pause(2 * ttl);
  const idle = await calls(server);
  await server.cli("config", "resetstat");
  await first.release();
  await Promise.all(served);
  const spent = await calls(server);
  return [{
    what: `redis: commands for each hand-over, ${WAITERS} waiters on one key`,
    value: spent / (WAITERS + 1),
    unit: "calls",
    bound: { most: 3 },
  }, {
    what: `redis: commands a process in a third of a ttl, ${WAITERS} idle waiters`,
    value: idle / 6,
    unit: "calls",
    bound: { most: 1 },
  }];
}

/** One heartbeat of many locks. */
async function held(server: RedisServer): Promise<Figure[]> {
  await using backend = redis(server.url);
  const { lease } = await open(backend);
  const patient = { ...CALL, timeout: 60_000 };
  const claims = Array.from({ length: HELD }, (_, n) => claim({ key: `holdfast/held${n}` }));
  await Promise.all(claims.map((one) => lease.attempt(one, patient)));
  for (let n = 0; n < 3; n++) await lease.renew(claims, patient);
  await server.cli("config", "resetstat");
  await server.cli("slowlog", "reset");
  // What a script calls is logged as well, and takes a few microseconds.
  await server.cli("config", "set", "slowlog-log-slower-than", "100");
  let last = performance.now();
  let blocked = 0;
  const ticking = setInterval(() => {
    blocked = Math.max(blocked, performance.now() - last);
    last = performance.now();
  }, 1);
  await lease.renew(claims, patient);
  clearInterval(ticking);
  const spent = await calls(server);
  const log = new Redis(server.port);
  const slow = await log.slowlog("GET", 1_000) as [id: number, at: number, micros: number, call: string[]][];
  const times = slow.filter(([, , , [name]]) => name!.toLowerCase() === "evalsha").map(([, , micros]) =>
    micros / 1_000
  );
  log.disconnect();
  if (times.length !== spent) throw new Error(`Of ${spent} scripts, ${times.length} are in the slow log`);
  await lease.close(patient);
  return [
    { what: `redis: calls to renew ${HELD} locks`, value: spent, unit: "calls", bound: { most: 25 } },
    {
      what: "redis: the longest of these scripts",
      value: Math.max(...times),
      unit: "ms",
      bound: { most: 5 },
    },
    { what: "redis: a typical one", value: median(times), unit: "ms" },
    {
      what: "redis: the longest standstill of the event loop meanwhile",
      value: blocked,
      unit: "ms",
      bound: { most: 20 },
    },
  ];
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
