/** Everything that the package microlock offers on etcd, under Holdfast's names. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { etcd } from "../../backends/etcd.ts";
import { LockLostError, LockManager, LockReleasedError } from "../../mod.ts";
import { EtcdServer } from "../servers/etcd.ts";
import { goLock } from "./etcdctl.ts";
import { next } from "../support.ts";

const ttl = 9_000;

describe("coming from microlock", () => {
  let server: EtcdServer;
  let node1: LockManager;
  let node2: LockManager;
  before(async () => {
    server = await EtcdServer.start();
    node1 = new LockManager(etcd(server.url), { metadata: "node-1", ttl });
    node2 = new LockManager(etcd(server.url), { metadata: "node-2", ttl });
  });
  after(async () => {
    await node1.close();
    await node2.close();
    await server[Symbol.asyncDispose]();
  });

  test("key, node id, ttl: the key, metadata that others see, ttl", async () => {
    await using lock = await node1.acquire("row");
    assert.deepEqual([lock.key, lock.metadata, lock.ttl], ["row", "node-1", ttl]);
    const seen = await node2.inspect("row");
    assert.equal(seen?.holders[0]?.metadata, "node-1");
    assert.ok(seen!.holders[0]!.remaining! > 0 && seen!.holders[0]!.remaining! <= ttl);
  });

  test("lock() fails when the key is held: tryAcquire() is undefined", async () => {
    await using lock = await node1.acquire("held");
    assert.equal(await node2.tryAcquire("held"), undefined);
    assert.equal(await node1.tryAcquire("held"), undefined);
    await lock.release();
    await using other = await node2.tryAcquire("held");
    assert.ok(other?.held);
  });

  test("unlock() fails when not the owner: release() is false, and removes nothing of the owner's", async () => {
    const lock = await node1.acquire("unlock");
    await using owner = await node2.acquire("unlock", { steal: true });
    if (!lock.signal.aborted) await next(lock, "lost");
    assert.equal(await lock.release(), false);
    assert.equal((await node1.inspect("unlock"))?.holders[0]?.id, owner.id);
  });

  test("renew() fails when not the owner: LockLostError, or LockReleasedError after a release", async () => {
    const lost = await node1.acquire("renew");
    await using _owner = await node2.acquire("renew", { steal: true });
    await assert.rejects(lost.renew(), (error) => error instanceof LockLostError && error.why === "stolen");
    const released = await node1.acquire("renew too");
    await released.renew();
    await released.release();
    await assert.rejects(released.renew(), LockReleasedError);
  });

  test("errors for a bad key, id or ttl: TypeError and RangeError, before anything is sent", async () => {
    await assert.rejects(node1.acquire(""), RangeError);
    await assert.rejects(node1.acquire(42 as never), TypeError);
    await assert.rejects(node1.acquire("k", { ttl: 0 }), RangeError);
    await assert.rejects(node1.acquire("k", { ttl: "soon" as never }), TypeError);
    await assert.rejects(node1.acquire("k", { metadata: (() => {}) as never }), TypeError);
  });

  test("locked and unlocked, whoever the holder is: watch()", async () => {
    await using watch = node1.watch("events");
    await watch.ready;
    const own = next(watch, "locked");
    const lock = await node1.acquire("events");
    assert.equal((await own as Event & { token: bigint }).token, lock.token);
    const ownEnd = next(watch, "unlocked");
    await lock.release();
    await ownEnd;

    const others = next(watch, "locked");
    const other = await node2.acquire("events");
    assert.equal((await others as Event & { metadata: unknown }).metadata, "node-2");
    const othersEnd = next(watch, "unlocked");
    await other.release();
    await othersEnd;

    const gos = next(watch, "locked");
    const theirs = await goLock(server.url, "holdfast/events");
    await gos;
    const gosEnd = next(watch, "unlocked");
    await theirs.release();
    await gosEnd;
  });

  test("unlocked on expiry, of which microlock told nothing", async () => {
    await using watch = node1.watch("expiry");
    await watch.ready;
    const [locked, unlocked] = [next(watch, "locked"), next(watch, "unlocked")];
    const theirs = await goLock(server.url, "holdfast/expiry");
    await theirs.held;
    await locked; // a hold that no look has seen has no end
    await theirs.kill();
    await unlocked;
    assert.equal(await node1.inspect("expiry"), undefined);
  });

  test("destroy() unbinds: a watch that was disposed of tells nothing", async () => {
    const watch = node1.watch("destroy");
    await watch.ready;
    let heard = 0;
    for (const type of ["locked", "unlocked"] as const) watch.addEventListener(type, () => heard++);
    await watch[Symbol.asyncDispose]();
    await (await node2.acquire("destroy")).release();
    await sleep(200); // for an event that must not come
    assert.equal(heard, 0);
  });
});
