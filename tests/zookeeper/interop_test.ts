/** Java's Curator and Holdfast exclude each other: `InterProcessMutex` on the node of a key. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { zookeeper } from "../../backends/zookeeper.ts";
import { LockManager } from "../../mod.ts";
import { until } from "../servers/process.ts";
import { ZooKeeperServer } from "../servers/zookeeper.ts";
import { Curator } from "./curator.ts";
import { Operator } from "./operator.ts";

const tickTime = 500;

describe("Curator's InterProcessMutex and Holdfast", () => {
  let server: ZooKeeperServer;
  let curator: Curator;
  let operator: Operator;
  let locks: LockManager;

  before(async () => {
    server = await ZooKeeperServer.start({ tickTime });
    [curator, operator] = await Promise.all([
      Curator.start(server.address),
      Operator.connect(server.address),
    ]);
    locks = new LockManager(zookeeper({ address: `${server.address}/app`, tickTime }), { ttl: 10_000 });
  });
  after(async () => {
    await locks?.close();
    await curator?.[Symbol.asyncDispose]();
    await operator?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  const queued = (key: string, count: number) =>
    until(
      async () => (await operator.children(`/app/holdfast/${key}`)).length === count,
      () => `never ${count} in the queue`,
    );

  test("what Curator holds, Holdfast waits for, and is given on release", async () => {
    assert.equal(await curator.acquire("/app/holdfast/a", 60_000), true);
    assert.equal(await locks.tryAcquire("a"), undefined);
    assert.equal(await locks.tryAcquire("a", { mode: "shared" }), undefined);
    assert.equal(await locks.tryAcquire("a", { limit: 3 }), undefined);
    const next = locks.acquire("a");
    await queued("a", 2);
    const { holders, waiters } = (await locks.inspect("a"))!;
    assert.equal(holders.length, 1);
    assert.equal(waiters.length, 1);
    await curator.release("/app/holdfast/a");
    const lock = await next;
    assert.ok(lock.token > holders[0]!.token!);
    assert.equal(await lock.release(), true);
  });

  for (const options of [{}, { mode: "shared" }, { limit: 3 }] as const) {
    test(`what Holdfast holds, Curator waits for, and is given on release: ${JSON.stringify(options)}`, async () => {
      const key = `b${Object.keys(options)}`;
      const lock = await locks.acquire(key, options);
      assert.equal(await curator.acquire(`/app/holdfast/${key}`, 300), false);
      const next = curator.acquire(`/app/holdfast/${key}`, 60_000);
      await queued(key, 2);
      await lock.release();
      assert.equal(await next, true);
      assert.equal(await locks.tryAcquire(key), undefined);
      await curator.release(`/app/holdfast/${key}`);
    });
  }

  test("one queue, in order of arrival: Holdfast, Curator, Holdfast", async () => {
    const first = await locks.acquire("c");
    const order: string[] = [];
    const second = curator.acquire("/app/holdfast/c", 60_000).then(() => void order.push("curator"));
    await queued("c", 2);
    const third = locks.acquire("c").then((lock) => (order.push("holdfast"), lock));
    await queued("c", 3);
    await first.release();
    await second;
    await sleep(200);
    assert.deepEqual(order, ["curator"]);
    await curator.release("/app/holdfast/c");
    await (await third).release();
    assert.deepEqual(order, ["curator", "holdfast"]);
  });

  test("a hundred turns each on one lock: never both", async () => {
    const inside = new Set<string>();
    const faults: string[] = [];
    const enter = (who: string) => {
      inside.add(who);
      if (inside.size > 1) faults.push([...inside].join(" with "));
    };
    const ours = (async () => {
      for (let turn = 0; turn < 100; turn++) {
        const lock = await locks.acquire("d");
        enter("holdfast");
        await sleep(Math.random() * 3);
        inside.delete("holdfast");
        await lock.release();
      }
    })();
    const theirs = (async () => {
      for (let turn = 0; turn < 100; turn++) {
        assert.equal(await curator.acquire("/app/holdfast/d", 60_000), true);
        enter("curator");
        await sleep(Math.random() * 3);
        inside.delete("curator");
        await curator.release("/app/holdfast/d");
      }
    })();
    await Promise.all([ours, theirs]);
    assert.deepEqual(faults, []);
  });

  test("a Curator process that is killed frees its lock when its session ends", async () => {
    await using doomed = await Curator.start(server.address);
    assert.equal(await doomed.acquire("/app/holdfast/e", 60_000), true);
    const next = locks.acquire("e");
    await queued("e", 2);
    doomed.kill();
    await (await next).release();
  });
});
