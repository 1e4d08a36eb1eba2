/** What locks cost a server: round trips, requests, events, watches, nodes. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { zookeeper } from "../../backends/zookeeper.ts";
import { type Lock, LockManager } from "../../mod.ts";
import { many } from "../runner/many.ts";
import { HOST, until } from "../servers/process.ts";
import { Proxy } from "../servers/proxy.ts";
import { ZooKeeperServer } from "../servers/zookeeper.ts";
import { next } from "../support.ts";
import { Operator } from "./operator.ts";

const tickTime = 500;
const HELD = many("node");
const CYCLES = many("deno");

describe("what locks cost ZooKeeper", () => {
  let server: ZooKeeperServer;
  let operator: Operator;

  /** Removes empty parents almost at once, where others take a minute. */
  let tidy: ZooKeeperServer;

  before(async () => {
    server = await ZooKeeperServer.start({ tickTime });
    tidy = await ZooKeeperServer.start({ tickTime, java: ["-Dznode.container.checkIntervalMs=200"] });
    operator = await Operator.connect(server.address);
  });
  after(async () => {
    await operator[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await tidy[Symbol.asyncDispose]();
  });

  const manager = (ttl = 10_000, address = server.address) =>
    new LockManager(zookeeper({ address, tickTime }), { ttl, retryFor: 60_000 });
  const count = async (name: string, of = server) =>
    Number(new RegExp(`^${name}\\s+(\\d+)`, "m").exec(await of.word("mntr"))![1]);

  test("an uncontended acquire is one round trip, on a new key too, and so is a release", async () => {
    await using proxy = await Proxy.start(server);
    await using locks = manager(10_000, `${HOST}:${proxy.port}`);
    const keeper = await locks.acquire("keeper"); // the prefix is there, and the lease
    const trip = 600; // so long that a busy machine does not make two of one
    proxy.delay(trip / 2);
    const timed = async <T>(done: Promise<T>) => {
      const since = performance.now();
      return [await done, performance.now() - since] as const;
    };
    for (const keys of [["one", "two", "three"], ["one", "two", "three"]]) {
      // The least of several tries: a machine that stands still for a moment makes two of one all the same.
      let [acquired, released] = [Infinity, Infinity];
      for (const key of keys) {
        const [lock, acquiredIn] = await timed(locks.acquire(key));
        const [, releasedIn] = await timed(lock.release());
        acquired = Math.min(acquired, acquiredIn);
        released = Math.min(released, releasedIn);
      }
      assert.ok(acquired > trip / 2 && acquired < 2 * trip, `acquired in ${acquired} ms`);
      assert.ok(released > trip / 2 && released < 2 * trip, `released in ${released} ms`);
    }
    const [tried] = await timed(locks.tryAcquire("keeper"));
    assert.equal(tried, undefined);
    proxy.heal();
    await keeper.release();
  });

  test("200 waiters: a hand-over is one event and one request", async () => {
    const turns = 60;
    await using locks = manager(10_000);
    let lock = await locks.acquire("crowd");
    const waiting: Promise<Lock>[] = [];
    for (let n = 0; n < 200; n++) waiting.push(locks.acquire("crowd"));
    for (const promise of waiting) promise.catch(() => {});
    await until(async () => (await operator.queue("crowd")).length === 201, () => "not everybody waits");
    await sleep(100);
    await lock.renew();
    const before = [await count("zk_packets_received"), await count("zk_packets_sent")] as const;
    for (let turn = 0; turn < turns; turn++) {
      await lock.release();
      lock = await waiting[turn]!;
    }
    const received = await count("zk_packets_received") - before[0];
    const sent = await count("zk_packets_sent") - before[1];
    // Beside the hand-overs: heartbeats, the operator's pings, and the questions for these numbers.
    const others = 15;
    assert.ok(received <= turns + 2 * others, `${received} requests for ${turns} hand-overs`);
    assert.ok(sent - received <= turns + others, `${sent - received} events for ${turns} hand-overs`);
  });

  test(`${HELD} held locks: one renewal write a period`, async () => {
    await using locks = manager(10_000);
    const held: Lock[] = [];
    for (let n = 0; n < HELD; n += 500) {
      held.push(...await Promise.all(Array.from({ length: 500 }, (_, m) => locks.acquire(`held${n + m}`))));
    }
    const beats = async (count: number) => {
      for (let beat = 0; beat < count; beat++) {
        await next(held[0]!, "renewed");
      }
    };
    await beats(2); // the first has set the last watches
    const [requests, since] = [await count("zk_packets_received"), performance.now()];
    await beats(2);
    const spent = await count("zk_packets_received") - requests;
    const pings = Math.ceil((performance.now() - since) / 1_000); // the operator's
    assert.ok(spent <= 2 + pings + 5, `${spent} requests in 2 periods, with ${pings} pings`);
    assert.ok(held.every((lock) => lock.held));
    for (let n = 0; n < HELD; n += 500) {
      await Promise.all(held.slice(n, n + 500).map((lock) => lock.release()));
    }
  });

  test(`${CYCLES} acquisitions leave no watch, no node and no parent behind`, async () => {
    await using operator = await Operator.connect(tidy.address);
    await using one = manager(10_000, tidy.address);
    await using two = manager(10_000, tidy.address);
    const managers = [one, two];
    let done = 0;
    const worker = async (n: number) => {
      while (done++ < CYCLES) {
        const locks = managers[done % 2]!;
        const key = `leak${(n + done) % 20}`;
        if (done % 5 === 0) {
          // Gives up, sooner or later.
          const lock = await locks.acquire(key, { signal: AbortSignal.timeout(Math.ceil(Math.random() * 3)) })
            .catch(() => {});
          await lock?.release();
        } else if (done % 5 === 1) await (await locks.tryAcquire(key, { mode: "shared" }))?.release();
        else if (done % 5 === 2) await (await locks.acquire(key, { limit: 3 })).release();
        else await (await locks.acquire(key)).release();
      }
    };
    await Promise.all(Array.from({ length: 40 }, (_, n) => worker(n)));
    const left = async () => [await count("zk_watch_count", tidy), await count("zk_ephemerals_count", tidy)];
    const sessions = 2; // one ephemeral node each
    await until(
      async () => `${await left()}` === `0,${sessions}`,
      () => `left: watches and nodes`,
      20_000,
    ).catch(async () => assert.deepEqual(await left(), [0, sessions]));
    await until(
      async () => (await operator.children("/holdfast")).length === 0,
      () => "parents pile up",
      20_000,
    );
  });

  test("a watch that was closed leaves none behind, whether the key was ever used or not", async () => {
    await using locks = manager(10_000, tidy.address);
    const lock = await locks.acquire("seen");
    await locks.inspect("seen");
    const before = 1; // the lock's own, which is set in a moment
    await until(async () => await count("zk_watch_count", tidy) === before, () => "the lock has no watch");
    for (const key of ["seen", "never"]) {
      for (let times = 0; times < 3; times++) {
        const watch = locks.watch(key);
        await watch.ready;
        await watch[Symbol.asyncDispose]();
      }
    }
    await until(async () => await count("zk_watch_count", tidy) === before, () => "a watch is left");
    await lock.release();
  });

  test("a parent that the server removes at the wrong moment costs nothing but time", async () => {
    await using locks = manager(10_000, tidy.address);
    const until = performance.now() + 5_000;
    for (let n = 0; performance.now() < until; n++) {
      const lock = await locks.acquire(`gap${n % 3}`);
      await lock.release();
      await sleep(Math.random() * 250);
    }
  });
});
