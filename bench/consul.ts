/** Consul: against its own API called by hand, on the same agent, which keeps its log on disk. */
import { setTimeout as sleep } from "node:timers/promises";
import { consul } from "../backends/consul.ts";
import { LockManager } from "../mod.ts";
import { isUpkeep, tap } from "../tests/consul/tap.ts";
import { ConsulServer } from "../tests/servers/consul.ts";
import { HOST } from "../tests/servers/process.ts";
import { Proxy } from "../tests/servers/proxy.ts";
import { Bare } from "./consul/bare.ts";
import { type Figure, ratio } from "./figures.ts";
import { handover } from "./handover/measure.ts";

const WAITERS = 200;
/** Cycles that a lock has behind it when it is measured again. */
const WORN = 5_000;

/** One agent for all of it. */
export async function run(): Promise<Figure[]> {
  await using server = await ConsulServer.start({
    persistent: true,
    config: { limits: { http_max_conns_per_client: 1_000 } },
  });
  return [...await cycles(server.url), await handOver(server.url), await crowd(server)];
}

async function cycles(url: string): Promise<Figure[]> {
  await using locks = new LockManager(consul(url), { ttl: 300_000 });
  const bare = new Bare(url);
  const session = await bare.session();
  const ours = async () => await (await locks.acquire("key")).release();
  const byHand = async () => {
    await bare.ask("PUT", `kv/bare?acquire=${session}`, "x");
    await bare.ask("PUT", `kv/bare?release=${session}`, "x");
  };
  const figure = async (what: string): Promise<Figure> => {
    return { what, value: await ratio(ours, byHand), unit: "x", bound: { most: 1.25 } };
  };
  const figures = [await figure("consul: acquire + release against a bare PUT ?acquire + PUT ?release")];
  for (let cycle = 0; cycle < WORN; cycle++) await ours();
  figures.push(await figure(`consul: the same after ${WORN} more cycles of the lock`));
  bare.close();
  return figures;
}

/** From before the release in one process until the other one has its handle. */
async function handOver(url: string): Promise<Figure> {
  const [ours, floor] = await handover([
    { module: "lock", address: { backend: "consul", at: [url] } },
    { module: "../consul/floor", address: url, bare: true },
  ]) as [number, number];
  return {
    what: "consul: hand-over between processes against a bare DELETE ending a blocking query",
    value: ours / floor,
    unit: "x",
    bound: { most: 2 },
  };
}

/** All requests of holders and waiters, renewals apart. */
async function crowd({ port }: ConsulServer): Promise<Figure> {
  await using proxy = await Proxy.start({ port });
  const managers = Array.from(
    { length: WAITERS + 1 },
    () => new LockManager(consul({ host: HOST, port: proxy.port }), { ttl: 300_000 }),
  );
  const held = await managers[0]!.acquire("k");
  const served = managers.slice(1).map(async (locks) => await (await locks.acquire("k")).release());
  while ((await managers[0]!.inspect("k"))!.waiters.length < WAITERS) await sleep(50);
  await sleep(1_000); // until the last one listens
  const requests = tap(proxy);
  await held.release();
  await Promise.all(served);
  const spent = requests.filter((request) => !isUpkeep(request)).length;
  await Promise.all(managers.map((locks) => locks.close()));
  return {
    what: `consul: requests for each hand-over, ${WAITERS} waiters`,
    value: spent / WAITERS,
    unit: "calls",
    bound: { most: 4 },
  };
}
