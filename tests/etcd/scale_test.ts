/** What many locks and many waiters cost the store, by the store's own count of calls. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { etcd } from "../../backends/etcd.ts";
import { LockManager } from "../../mod.ts";
import { many } from "../runner/many.ts";
import { EtcdServer } from "../servers/etcd.ts";
import { http } from "../servers/http.ts";
import { until } from "../servers/process.ts";

const MANY = many("node");

describe("many locks on etcd", () => {
  let server: EtcdServer;
  before(async () => void (server = await EtcdServer.start()));
  after(async () => await server[Symbol.asyncDispose]());

  /** Calls so far, by method, and events seen by watches. */
  async function calls(): Promise<Record<string, number>> {
    const metrics = await http("GET", `${server.url}/metrics`);
    const line = /^grpc_server_started_total\{grpc_method="(\w+)",[^}]*\} (\S+)$/gm;
    const counts = Object.fromEntries(
      [...metrics.matchAll(line)].map(([, method, count]) => [method, Number(count)]),
    );
    const [, events = 0] = /^etcd_debugging_mvcc_events_total (\S+)$/m.exec(metrics) ?? [];
    return { ...counts, events: Number(events) };
  }
  async function spent(during: () => Promise<unknown>): Promise<Record<string, number>> {
    const before = await calls();
    await during();
    const after = await calls();
    return Object.fromEntries(
      Object.entries(after).map(([name, count]) => [name, count - (before[name] ?? 0)]),
    );
  }

  test("an acquisition is one call, contended or not, and so is a release", async () => {
    // Calls may take 10 s: none is sent twice because the server stands still for a moment.
    await using locks = new LockManager(etcd(server.url), { ttl: 60_000, retryFor: 60_000 });
    await (await locks.acquire("warm")).release();
    const cycle = await spent(async () => await (await locks.acquire("k")).release());
    assert.deepEqual([cycle["Txn"], cycle["Range"], cycle["LeaseGrant"]], [2, 0, 0]);
    await using lock = await locks.acquire("k");
    const refused = await spent(async () => assert.equal(await locks.tryAcquire("k"), undefined));
    assert.equal(refused["Txn"], 1);
    assert.ok(lock.held);
  });

  test("200 waiters: at most four calls and one event for a hand-over", { timeout: 120_000 }, async () => {
    const crowd = 200;
    const options = { ttl: 60_000, retryFor: 60_000 };
    const managers = Array.from({ length: 4 }, () => new LockManager(etcd(server.url), options));
    const first = await managers[0]!.acquire("crowd");
    let served = 0;
    const turns = Array.from({ length: crowd }, async (_, n) => {
      const lock = await managers[n % managers.length]!.acquire("crowd");
      served++;
      await lock.release();
    });
    for (const turn of turns) turn.catch(() => {}); // awaited below, unless something else fails first
    await until(
      async () => (await managers[0]!.inspect("crowd"))?.waiters.length === crowd,
      () => "they never queued",
    );
    const spentOn = await spent(async () => {
      await first.release();
      await Promise.all(turns);
    });
    assert.equal(served, crowd);
    const asked = spentOn["Txn"]! + (spentOn["Range"] ?? 0);
    assert.ok(asked <= 4 * crowd, `${asked} calls`);
    // What the server sends on watch streams: an event for each hand-over, an answer for each cancellation.
    const events = spentOn["events"]!;
    assert.ok(events > crowd / 2 && events <= crowd + 5, `${events} events`);

    await Promise.all(managers.map((manager) => manager.close()));
  });

  test(
    `${MANY} locks, asked for at once: one keep-alive a period, and two reads`,
    { timeout: 120_000 },
    async () => {
      const ttl = 24_000;
      const locks = new LockManager(etcd(server.url), { ttl, retryFor: 60_000 });
      const held = await Promise.all(Array.from({ length: MANY }, (_, n) => locks.acquire(`many ${n}`)));
      const periods = 2;
      const { LeaseKeepAlive = 0, LeaseTimeToLive = 0, Txn = 0 } = await spent(() =>
        sleep(periods * ttl / 3)
      );
      for (const count of [LeaseKeepAlive, LeaseTimeToLive, Txn]) {
        assert.ok(
          count >= periods - 1 && count <= periods + 1,
          `${LeaseKeepAlive}, ${LeaseTimeToLive}, ${Txn}`,
        );
      }
      // Without the renewals, two thirds of it would be over.
      assert.equal(held.filter(({ remaining }) => remaining > ttl / 2).length, held.length);
      await locks.close();
    },
  );
});
