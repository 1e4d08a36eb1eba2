/** What locks cost Consul: sessions, requests, connections, keys. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { Agent } from "node:http";
import { connect, type Socket } from "node:net";
import { after, before, describe, test } from "node:test";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import Consul from "consul";
import { consul } from "../../backends/consul.ts";
import { type Lock, type LockedEvent, LockManager } from "../../mod.ts";
import { many } from "../runner/many.ts";
import { ConsulServer } from "../servers/consul.ts";
import { HOST, until } from "../servers/process.ts";
import { Proxy } from "../servers/proxy.ts";
import { isUpkeep, tap } from "./tap.ts";

const MANY = many("bun");

describe("what locks cost Consul", () => {
  let server: ConsulServer;
  before(async () => void (server = await ConsulServer.start()));
  after(async () => await server[Symbol.asyncDispose]());

  const through = ({ port }: Proxy) => consul({ host: HOST, port });
  const keys = async (prefix: string): Promise<string[]> =>
    await server.api("GET", `kv/${prefix}/?keys`).catch(() => []) as string[];
  const sessions = async (): Promise<{ ID: string; Name: string }[]> =>
    await server.api("GET", "session/list") as { ID: string; Name: string }[];

  test("an uncontended acquire is one request, and so is a release", async () => {
    await using proxy = await Proxy.start({ port: server.port });
    await using locks = new LockManager(through(proxy), { ttl: 300_000 });
    const requests = tap(proxy);
    await (await locks.acquire("warm")).release();
    await until(
      () => Promise.resolve(requests.some(({ path }) => /[?&]index=[1-9]/.test(path))),
      () => "the session does not listen for news of itself",
    );
    requests.length = 0;
    const lock = await locks.acquire("k", { metadata: { some: "metadata" } });
    assert.deepEqual(requests.splice(0).map(({ method, path }) => `${method} ${path}`), ["PUT /v1/txn"]);
    await lock.release();
    assert.deepEqual(requests.map(({ method, path }) => `${method} ${path}`), ["PUT /v1/txn"]);
  });

  test("all locks of a manager are under one session, which is gone with them after close()", async () => {
    const before = new Set((await sessions()).map(({ ID }) => ID));
    const mine = async () => (await sessions()).filter(({ ID }) => !before.has(ID));
    const locks = new LockManager(consul(server.url), { prefix: "one-session" });
    const all = Array.from({ length: 50 }, (_, n) => locks.acquire(`k${n}`, { metadata: n }));
    await Promise.all(all);
    const [session, ...more] = await mine();
    assert.equal(more.length, 0);
    assert.match(session!.Name, /^holdfast /);
    const pairs = await server.api("GET", "kv/one-session/?recurse") as { Session?: string }[];
    assert(pairs.length >= 100 && pairs.every(({ Session }) => Session === session!.ID));
    await locks.close();
    assert.deepEqual(await mine(), []);
    assert.deepEqual(await keys("one-session"), []);
  });

  test("locks that were released, stolen or given up leave nothing in the store", async () => {
    await using a = new LockManager(consul(server.url), { prefix: "nothing", metadata: "some" });
    await using b = new LockManager(consul(server.url), { prefix: "nothing", metadata: "some" });
    await a.acquire("stolen");
    await (await b.acquire("stolen", { steal: true })).release();
    const held = await a.acquire("k");
    const giveUp = new AbortController();
    const waiting = b.acquire("k", { signal: giveUp.signal });
    await until(async () => (await a.inspect("k"))?.waiters.length === 1, () => "nobody waits");
    giveUp.abort();
    await assert.rejects(waiting);
    await held.release();
    const left = async () =>
      (await keys("nothing")).filter((key) => !/^nothing\/,s\/[^/]+\/fence$/.test(key));
    await until(async () => (await left()).length === 0, () => "something is left");
  });

  test(`${MANY} held locks: one renewal a period`, async () => {
    await using proxy = await Proxy.start({ port: server.port });
    let failed = 0; // each is repeated
    const warn = (message: string) => void (/heartbeat/.test(message) && failed++);
    const logger = { debug() {}, warn };
    const locks = new LockManager(through(proxy), { prefix: "many", retryFor: 60_000, logger });
    const held: Lock[] = [];
    while (held.length < MANY) {
      const some = Array.from({ length: 500 }, (_, n) => locks.acquire(`k${held.length + n}`));
      held.push(...await Promise.all(some));
    }
    const requests = tap(proxy);
    failed = 0;
    const began = performance.now();
    await sleep(10_000); // one ttl: three periods
    const most = (performance.now() - began) / (10_000 / 3) + 1 + failed;
    const renewals = requests.filter(({ path }) => path.includes("/session/renew/"));
    assert(renewals.length >= 2 && renewals.length <= most, `${renewals.length} renewals, at most ${most}`);
    // Each comes with one look at the names, which proves that the keys are there.
    assert(requests.length <= 2 * renewals.length + 1, `${requests.length} requests`);
    assert(held.every((lock) => lock.held));
    await server.api("DELETE", `kv/many/k711/?recurse`);
    const lost = held.find(({ key }) => key === "k711")!;
    await until(() => Promise.resolve(lost.signal.aborted), () => "a lock that was deleted is still held");
    assert.equal(held.filter(({ held }) => held).length, MANY - 1);
    await locks.close();
    await until(async () => (await keys("many")).length === 0, () => "something is left");
  });

  test("a waiter asks for its predecessor only, and not for one of its own process", async () => {
    await using proxy = await Proxy.start({ port: server.port });
    await using a = new LockManager(consul(server.url), { prefix: "only" });
    await using b = new LockManager(consul(server.url), { prefix: "only" });
    await using c = new LockManager(through(proxy), { prefix: "only", ttl: 300_000 });
    const first = await a.acquire("k");
    const second = b.acquire("k");
    await until(async () => (await a.inspect("k"))?.waiters.length === 1, () => "b does not wait");
    const requests = tap(proxy);
    const third = c.acquire("k");
    await until(async () => (await a.inspect("k"))?.waiters.length === 2, () => "c does not wait");
    const fourth = c.acquire("k");
    await until(async () => (await a.inspect("k"))?.waiters.length === 3, () => "c does not wait twice");
    const asked = () => requests.map(({ path }) => path).filter((path) => /only\/k\/.*index=/.test(path));
    await until(() => Promise.resolve(asked().length > 0), () => "c does not ask");
    await sleep(200);
    assert.equal(asked().length, 1);
    assert.match(asked()[0]!, new RegExp(`-${(await a.inspect("k"))!.waiters[0]!.id}\\?`));
    await first.release();
    for (const lock of [second, third, fourth]) await (await lock).release();
  });

  test("200 waiters: at most four requests per hand-over", async () => {
    await using roomy = await ConsulServer.start({
      config: { limits: { http_max_conns_per_client: 1_000 } },
    });
    await using proxy = await Proxy.start({ port: roomy.port });
    const holder = new LockManager(through(proxy));
    const held = await holder.acquire("k");
    const managers = Array.from({ length: 200 }, () => new LockManager(through(proxy), { ttl: 300_000 }));
    const order: number[] = [];
    const served: Promise<void>[] = [];
    for (const [n, locks] of managers.entries()) {
      const waiting = new Promise((resolve) => locks.addEventListener("waiting", resolve, { once: true }));
      served.push(
        locks.acquire("k").then(async (lock) => {
          order.push(n);
          await lock.release();
        }),
      );
      await waiting;
    }
    await sleep(500); // until the last of them listens
    const requests = tap(proxy);
    await held.release();
    await Promise.all(served);
    const handOver = requests.filter((request) => !isUpkeep(request)).length;
    assert(handOver / 200 <= 4, `${handOver} requests for 200 hand-overs`);
    assert.deepEqual(order, managers.map((_, n) => n));
    await Promise.all([holder, ...managers].map((locks) => locks.close()));
  });

  // Consul takes 200 connections from one address, and resets the rest.
  test("more waiters in one process than Consul takes connections", async () => {
    const options = { prefix: "crowd", ttl: 300_000, retryFor: 60_000 };
    await using a = new LockManager(consul(server.url), options);
    await using b = new LockManager(consul(server.url), options);
    const errors: unknown[] = [];
    for (const locks of [a, b]) locks.addEventListener("error", ({ error }) => errors.push(error));
    const all = Array.from({ length: 300 }, (_, n) => `k${n}`);
    const held = await Promise.all(all.map((key) => a.acquire(key)));
    const waiting = all.map((key) => b.acquire(key));
    await until(async () => (await b.query()).pending.length === 300, () => "not all of them wait");
    for (const lock of held.toReversed()) await lock.release();
    const served: Lock[] = await Promise.all(waiting);
    assert.equal(served.length, 300);
    assert.deepEqual(errors, []);
  });

  // Goes red if: the look at the keys, or the renewal, needs a connection of its own.
  test("others that take all the connections there are do not cost the lock", async () => {
    const limits = { http_max_conns_per_client: 12 };
    await using tight = await ConsulServer.start({ config: { limits } });
    await using locks = new LockManager(consul(tight.url));
    const held = await Promise.all(["a", "b", "c"].map((key) => locks.acquire(key)));
    const others = Array.from({ length: 30 }, () => connect(tight.port, HOST).on("error", () => {}));
    try {
      const closed = others.map((socket) => new Promise((resolve) => socket.once("close", resolve)));
      await Promise.race(closed); // there is no room any more
      for (const lock of [...held, ...held]) await lock.renew();
      assert(held.every((lock) => lock.held));
      for (const lock of held) assert.equal(await lock.release(), true);
    } finally {
      for (const socket of others) socket.destroy();
    }
  });

  // Consul notices that a question was given up when the time of the question is over.
  // Goes red if: the connections of such questions are not counted.
  test("more waiters that give up than Consul takes connections", async () => {
    await using fresh = await ConsulServer.start();
    const options = { ttl: 300_000, retryFor: 60_000 };
    await using a = new LockManager(consul(fresh.url), options);
    await using b = new LockManager(consul(fresh.url), options);
    const errors: unknown[] = [];
    for (const locks of [a, b]) locks.addEventListener("error", ({ error }) => errors.push(error));
    const all = Array.from({ length: 60 }, (_, n) => `k${n}`);
    await Promise.all(all.map((key) => a.acquire(key)));
    for (let round = 0; round < 5; round++) {
      const giving = new AbortController();
      const waiting = all.map((key) => b.acquire(key, { signal: giving.signal }));
      await until(async () => (await b.query()).pending.length === 60, () => "not all of them wait");
      await sleep(200); // until they listen
      giving.abort();
      await Promise.allSettled(waiting);
    }
    for (const locks of [a, b]) assert.equal(await (await locks.acquire("other")).release(), true);
    assert.deepEqual(errors, []);
  });

  // Goes red if: the question that many waiters share is left to end by silence, some four seconds later.
  test("closing ends all questions, also over a client handed in that hears nothing", async () => {
    await using fresh = await ConsulServer.start();
    await using proxy = await Proxy.start({ port: fresh.port });
    await using a = new LockManager(consul(fresh.url), { ttl: 300_000 });
    const agent = new Agent({ keepAlive: false });
    let open = 0;
    const connect = agent.createConnection;
    agent.createConnection = (...args) => {
      open++;
      return (connect.apply(agent, args) as Socket).once("close", () => open--);
    };
    const client = new Consul({ host: HOST, port: proxy.port, agent });
    const b = new LockManager(consul(client));
    const all = Array.from({ length: 100 }, (_, n) => `k${n}`);
    await Promise.all(all.map((key) => a.acquire(key)));
    const waiting = Promise.allSettled(all.map((key) => b.acquire(key)));
    await until(async () => (await a.query()).pending.length === 100, () => "not all of them wait");
    await until(() => Promise.resolve(open > 60), () => `${open} connections are open`);
    proxy.cut("both");
    await b.close();
    await waiting;
    await until(() => Promise.resolve(open === 0), () => `${open} connections are open`, 2_000);
  });

  // Goes red if: what ends the question that they share ends it for good.
  test("a backend that was closed serves as many waiters again", async () => {
    await using fresh = await ConsulServer.start();
    await using a = new LockManager(consul(fresh.url), { ttl: 300_000 });
    const backend = consul(fresh.url);
    const all = Array.from({ length: 100 }, (_, n) => `k${n}`);
    for (let time = 0; time < 2; time++) {
      const held = await Promise.all(all.map((key) => a.acquire(key)));
      await using b = new LockManager(backend, { ttl: 300_000, retryFor: 60_000 });
      const errors: unknown[] = [];
      b.addEventListener("error", ({ error }) => errors.push(error));
      const waiting = all.map((key) => b.acquire(key));
      await until(async () => (await b.query()).pending.length === 100, () => "not all of them wait");
      await sleep(200); // until they listen
      for (const lock of held) await lock.release();
      await Promise.all(waiting);
      assert.deepEqual(errors, []);
    }
  });

  // Consul answers a question about a queue that is long empty at every write to its KV store.
  test("a watch of a key that nobody uses costs little in a busy store", async () => {
    await using proxy = await Proxy.start({ port: server.port });
    await using a = new LockManager(through(proxy), { prefix: "idle" });
    await using b = new LockManager(consul(server.url), { prefix: "idle" });
    await using watch = a.watch("k");
    await watch.ready;
    const requests = tap(proxy);
    const started = performance.now();
    for (let n = 0; n < 300; n++) await server.api("PUT", "kv/something/else", n);
    const most = 5 + (performance.now() - started) / 100;
    assert(requests.length <= most, `${requests.length} requests, more than ${most}`);
    const locked = new Promise<LockedEvent>((resolve) => watch.addEventListener("locked", resolve));
    const lock = await b.acquire("k");
    assert.equal((await locked).token, lock.token);
  });

  test("a process that closes its managers can end by itself", async () => {
    const script = `
      const { consul } = await import(${JSON.stringify(import.meta.resolve("../../backends/consul.ts"))});
      const { LockManager } = await import(${JSON.stringify(import.meta.resolve("../../mod.ts"))});
      const [a, b] = [1, 2].map(() => new LockManager(consul(${JSON.stringify(server.url)})));
      const lock = await a.acquire("exit");
      const watch = b.watch("exit");
      await watch.ready;
      const waiting = b.acquire("exit");
      waiting.catch(() => {});
      await new Promise((resolve) => b.addEventListener("waiting", resolve));
      await a.close();
      await b.close();
      const closed = performance.now();
      process.on("exit", () => console.log("ended", performance.now() - closed));`;
    const options = "Deno" in globalThis ? ["eval"] : ["--input-type=module", "-e"];
    const args = "Bun" in globalThis ? ["-e", script] : [...options, script];
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 60_000 });
    const [, ms] = /^ended (\S+)$/m.exec(stdout) ?? [];
    assert(Number(ms) < 8_000, `it took its time: ${stdout}`);
  });
});
