/** Holdfast and Go's `concurrency.Mutex`, which is what `etcdctl lock` is, on the same keys. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { etcd } from "../../backends/etcd.ts";
import { LockManager } from "../../mod.ts";
import { EtcdServer } from "../servers/etcd.ts";
import { until } from "../servers/process.ts";
import { etcdctl, goLock } from "./etcdctl.ts";

describe("etcdctl lock and Holdfast", () => {
  let server: EtcdServer;
  let locks: LockManager;

  before(async () => {
    server = await EtcdServer.start();
    locks = new LockManager(etcd(server.url));
  });
  after(async () => {
    await locks.close();
    await server[Symbol.asyncDispose]();
  });

  /** Resolves once so many claims stand in the queue of a key. */
  const queued = (key: string, count: number) =>
    until(async () => {
      const seen = await locks.inspect(key);
      return (seen?.holders.length ?? 0) + (seen?.waiters.length ?? 0) === count;
    }, () => `there were never ${count} claims of ${key}`);

  test("what etcdctl holds, Holdfast does not get, and waits for", async () => {
    const theirs = await goLock(server.url, "holdfast/one");
    const name = await theirs.held;
    assert.equal(await locks.tryAcquire("one"), undefined);
    assert.equal(await locks.tryAcquire("one", { mode: "shared" }), undefined);
    const seen = await locks.inspect("one");
    assert.deepEqual(seen?.holders.map(({ id, mode, limit }) => [id, mode, limit]), [
      [name.slice(name.lastIndexOf("/") + 1), "exclusive", 1],
    ]);
    const waiting = locks.acquire("one");
    await queued("one", 2);
    await theirs.release();
    const lock = await waiting;
    assert.ok(lock.token > seen!.holders[0]!.token!);
    assert.equal(await lock.release(), true);
  });

  test("what Holdfast holds, etcdctl waits for; a reader is exclusive to it", async () => {
    for (const mode of ["exclusive", "shared"] as const) {
      const ours = await locks.acquire("two", { mode });
      const theirs = await goLock(server.url, "holdfast/two");
      await queued("two", 2);
      let got = false;
      const theirTurn = theirs.held.then(() => got = true);
      assert.equal((await locks.inspect("two"))?.holders[0]?.id, ours.id);
      assert.equal(got, false);
      assert.equal(await ours.release(), true);
      await theirTurn;
      await theirs.release();
    }
  });

  test("both queue fairly with each other", async () => {
    const first = await locks.acquire("three");
    const order: string[] = [];
    const second = await goLock(server.url, "holdfast/three");
    await queued("three", 2);
    const third = locks.acquire("three").then((lock) => (order.push("third"), lock));
    await queued("three", 3);
    const fourth = await goLock(server.url, "holdfast/three");
    await queued("three", 4);
    void second.held.then(() => order.push("second"));
    const last = fourth.held.then(() => order.push("fourth"));
    await first.release();
    await second.held;
    await second.release();
    await (await third).release();
    await last;
    await fourth.release();
    assert.deepEqual(order, ["second", "third", "fourth"]);
  });

  test("a steal removes a Go holder; etcdctl does not notice, the token does", async () => {
    const theirs = await goLock(server.url, "holdfast/four");
    await theirs.held;
    const before = (await locks.inspect("four"))!.holders[0]!.token!;
    await using lock = await locks.acquire("four", { steal: true });
    assert.ok(lock.token > before);
    await theirs.release();
    assert.equal(
      (await locks.inspect("four"))?.holders[0]?.id,
      lock.id,
      "its unlock removes nothing of ours",
    );
  });

  test("names are plain: prefix, key, the lease in hex and a number", async () => {
    await using _lock = await locks.acquire("five");
    const names = (await etcdctl(server.url, "get", "holdfast/five/", "--prefix", "--keys-only")).trim();
    assert.match(names, /^holdfast\/five\/[0-9a-f]+-\d+$/);
    const leases = await etcdctl(server.url, "lease", "list");
    assert.ok(leases.includes(names.slice("holdfast/five/".length).split("-")[0]!));
  });
});
