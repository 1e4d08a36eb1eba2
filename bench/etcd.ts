/** etcd: against the bare calls and the lock of the package `etcd3`, on the same server. */
import { Buffer } from "node:buffer";
import { setTimeout as sleep } from "node:timers/promises";
import { Etcd3, type IOptions } from "etcd3";
import { etcd } from "../backends/etcd.ts";
import { EtcdClient } from "../backends/etcd/client/client.ts";
import { put, remove } from "../backends/etcd/client/requests.ts";
import { readTarget } from "../backends/etcd/address.ts";
import { LockManager } from "../mod.ts";
import { EtcdServer } from "../tests/servers/etcd.ts";
import { http } from "../tests/servers/http.ts";
import { type Figure, ratio } from "./figures.ts";
import { handover } from "./handover/measure.ts";

const WAITERS = 200;
/** Cycles that a lock has behind it when it is measured again. */
const WORN = 5_000;

/** One server for all of it. */
export async function run(): Promise<Figure[]> {
  await using server = await EtcdServer.start();
  return [...await cycles(server.url), await handOver(server.url), ...await crowd(server.url)];
}

async function cycles(url: string): Promise<Figure[]> {
  await using locks = new LockManager(etcd(url), { ttl: 300_000 });
  const ours = async () => await (await locks.acquire("key")).release();

  const client = new Etcd3({ hosts: url, faultHandling: { global: ONCE, host: () => ONCE } });
  const { ID: lease } = await client.leaseClient.leaseGrant({ TTL: 300 });
  const key = Buffer.from("bare");
  const free = [{ target: "Create" as const, result: "Equal" as const, key, create_revision: "0" }];
  const mine = [{ target: "Lease" as const, result: "Equal" as const, key, lease }];
  const bare = async () => {
    await client.kv.txn({ compare: free, success: [{ request_put: { key, lease } }] });
    await client.kv.txn({ compare: mine, success: [{ request_delete_range: { key } }] });
  };
  const port = new EtcdClient(readTarget(url));
  const forever = { timeout: Infinity };
  const bareOwn = async () => {
    await port.call("txn", { compare: free, success: [put("bare", "", lease)] }, forever);
    await port.call("txn", { compare: mine, success: [remove("bare")] }, forever);
  };
  const plain = new Etcd3({ hosts: url });
  const theirs = async () => {
    const lock = plain.lock("theirs");
    await lock.acquire();
    await lock.release();
  };
  const figures: Figure[] = [{
    what: "etcd: acquire + release against the bare two transactions through etcd3",
    value: await ratio(ours, bare),
    unit: "x",
    bound: { most: 1.2 },
  }, {
    what: "etcd: the bare two transactions through etcd3 against the same through our own client",
    value: await ratio(bare, bareOwn),
    unit: "x",
  }, {
    what: "etcd: etcd3's own Lock against acquire + release",
    value: await ratio(theirs, ours),
    unit: "x",
    bound: { least: 2 },
  }];
  for (let cycle = 0; cycle < WORN; cycle++) await ours();
  figures.push({
    what: `etcd: acquire + release after ${WORN} more cycles, against the bare two transactions`,
    value: await ratio(ours, bare),
    unit: "x",
    bound: { most: 1.2 },
  });
  for (const each of [client, plain, port]) each.close();
  return figures;
}

/** From before the release in one process until the other one has its handle. */
async function handOver(url: string): Promise<Figure> {
  const [ours, floor] = await handover([
    { module: "lock", address: { backend: "etcd", at: [url] } },
    { module: "etcd", address: url, bare: true },
  ]);
  return {
    what: "etcd: hand-over to a waiting process against a bare delete and its watch event",
    value: ours! / floor!,
    unit: "x",
    bound: { most: 2 },
  };
}

/** By the server's own count. */
async function crowd(url: string): Promise<Figure[]> {
  const managers = Array.from({ length: WAITERS + 1 }, () => new LockManager(etcd(url), { ttl: 300_000 }));
  const held = await managers[0]!.acquire("k");
  const served = managers.slice(1).map(async (locks) => await (await locks.acquire("k")).release());
  while ((await managers[0]!.inspect("k"))!.waiters.length < WAITERS) await sleep(50);
  await sleep(500); // until the last one listens
  const before = await counts(url);
  await held.release();
  await Promise.all(served);
  const after = await counts(url);
  await Promise.all(managers.map((locks) => locks.close()));
  return [{
    what: `etcd: calls for each hand-over, ${WAITERS} waiters`,
    value: (after.calls - before.calls) / WAITERS,
    unit: "calls",
    bound: { most: 4 },
  }, {
    what: `etcd: watch events for each hand-over, ${WAITERS} waiters`,
    value: (after.events - before.events) / WAITERS,
    unit: "calls",
    bound: { most: 1 },
  }];
}

/** Calls of all kinds that the server has answered, and events that it has told to watchers. */
async function counts(url: string): Promise<{ calls: number; events: number }> {
  const metrics = await http("GET", `${url}/metrics`);
  let calls = 0;
  for (const [, count] of metrics.matchAll(/^grpc_server_handled_total\{.*grpc_code="OK".*\} (\S+)$/gm)) {
    calls += Number(count);
  }
  return { calls, events: Number(/^etcd_debugging_mvcc_events_total (\S+)$/m.exec(metrics)?.[1]) };
}

/** Each call once, without retries and circuit breakers. */
const ONCE = {
  execute: async (call: (context: object) => unknown) => await call({}),
} as NonNullable<NonNullable<IOptions["faultHandling"]>["global"]>;
