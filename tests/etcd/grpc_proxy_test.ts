/** Through `etcd grpc-proxy`, which makes one watch of several, and its own keep-alives of ours. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { after, before, describe, test } from "node:test";
import { etcd } from "../../backends/etcd.ts";
import { EtcdClient } from "../../backends/etcd/client/client.ts";
import { readTarget } from "../../backends/etcd/address.ts";
import { LockManager } from "../../mod.ts";
import { EtcdGrpcProxy, EtcdServer } from "../servers/etcd.ts";
import { goLock } from "./etcdctl.ts";
import { next, over, waiter } from "../support.ts";

describe("through etcd grpc-proxy", () => {
  let server: EtcdServer;
  let proxy: EtcdGrpcProxy;
  before(async () => {
    server = await EtcdServer.start();
    proxy = await EtcdGrpcProxy.start([server.url]);
  });
  after(async () => {
    await proxy[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  // Goes red if: the stream of a keep-alive is half-closed before its answer is there.
  test("a lock is renewed, watched and handed over", async () => {
    await using locks = new LockManager(etcd(proxy.url), { ttl: 9_000 });
    await using watch = locks.watch("k");
    await watch.ready;
    const locked = next(watch, "locked");
    const lock = await locks.acquire("k");
    await locked;
    const { lock: waiting } = await waiter(locks, "k");
    await Promise.race([next(lock, "renewed"), over(lock).then((why) => Promise.reject(why))]);
    assert.ok(lock.held);
    const unlocked = next(watch, "unlocked");
    assert.equal(await lock.release(), true);
    await unlocked;
    assert.equal(await (await waiting).release(), true);
  });

  // Goes red if: creations of watches are taken to be answered in the order in which they were sent.
  test("each watch hears its own, though the proxy answers sooner for what it watches already", async () => {
    const [one, two] = [new EtcdClient(readTarget(proxy.url)), new EtcdClient(readTarget(proxy.url))];
    const put = async (key: string) => {
      const { header } = await server.rpc("kv/put", { key: btoa(key), value: "" });
      return `${BigInt((header as { revision: string }).revision) + 1n}`;
    };
    const watch = (port: EtcdClient, key: string, from: string, heard: (key: string) => void) =>
      port.watch({ key: Buffer.from(key), start_revision: from }, { changed: () => heard(key), failed() {} });
    await watch(one, "known", await put("other"), () => {}).ready;
    for (let round = 0; round < 5; round++) {
      const from = await put("other");
      const { promise, resolve } = Promise.withResolvers<string>();
      const both = [`new ${round}`, "known"].map((key) => watch(two, key, from, resolve));
      for (const { ready } of both) await ready;
      await put("known");
      assert.equal(await promise, "known");
      for (const each of both) each.cancel();
    }
    one.close();
    two.close();
  });

  test("what a killed holder leaves ends by its ttl", async () => {
    await using locks = new LockManager(etcd(proxy.url));
    const theirs = await goLock(proxy.url, "holdfast/killed");
    await theirs.held;
    const { lock: waiting } = await waiter(locks, "killed");
    await theirs.kill();
    assert.equal(await (await waiting).release(), true);
  });
});
