/** What users of zk-lock and zookeeper-lock had, under Holdfast's names: one test for each feature. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { zookeeper } from "../../backends/zookeeper.ts";
import { code, ignore } from "../../backends/zookeeper/client/errors.ts";
import { remove } from "../../backends/zookeeper/client/operations.ts";
import { BackendError, type Lock, LockLostError, LockManager, type LostEvent } from "../../mod.ts";
import { freePort, HOST, until } from "../servers/process.ts";
import { Proxy } from "../servers/proxy.ts";
import { ZooKeeperServer } from "../servers/zookeeper.ts";
import { next } from "../support.ts";
import { endSession, Operator } from "./operator.ts";

const tickTime = 500;

describe("coming from zk-lock", () => {
  let server: ZooKeeperServer;
  let operator: Operator;
  before(async () => {
    server = await ZooKeeperServer.start({ tickTime });
    operator = await Operator.connect(server.address);
  });
  after(async () => {
    await operator[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  const manager = (options = {}, address = server.address) =>
    new LockManager(zookeeper({ address, tickTime }), { ttl: 10_000, ...options });

  test("serverLocator: a function that finds the server", async () => {
    const serverLocator = () => Promise.resolve({ host: server.host, port: server.port });
    await using locks = new LockManager(zookeeper(serverLocator));
    assert.equal((await locks.acquire("located")).held, true);
  });

  test("pathPrefix: prefix, and the chroot", async () => {
    await using locks = new LockManager(zookeeper({ address: server.address, chroot: "/locks", tickTime }), {
      prefix: "service",
    });
    await using lock = await locks.acquire("a key");
    assert.equal(lock.held, true);
    assert.equal((await operator.children("/locks/service/a%20key")).length, 1);
  });

  test("sessionTimeout: ttl; after a crash the key is free so much later", async () => {
    await using proxy = await Proxy.start(server);
    await using doomed = manager({ ttl: 6_000 }, `${HOST}:${proxy.port}`);
    await using locks = manager();
    await doomed.acquire("timeout");
    proxy.cut(); // to the server, the same as a crash
    const since = performance.now();
    await locks.acquire("timeout");
    const waited = performance.now() - since;
    assert.ok(waited > 2_000 && waited < 20_000, `${waited} ms`);
  });

  test("retries and spinDelay: retryFor; what is down is asked again, then reported as an error", async () => {
    const port = await freePort();
    await using locks = manager({ retryFor: 300 }, `${HOST}:${port}`);
    const since = performance.now();
    await assert.rejects(locks.acquire("k"), BackendError);
    assert.ok(performance.now() - since >= 300);
  });

  test("failImmediate: tryAcquire", async () => {
    await using locks = manager();
    await using lock = await locks.acquire("immediate");
    assert.equal(await locks.tryAcquire("immediate"), undefined);
    assert.equal((await operator.queue("immediate")).length, 1);
    await lock.release();
    assert.equal((await locks.tryAcquire("immediate"))?.held, true);
  });

  test("maxConcurrentHolders: limit", async () => {
    await using locks = manager();
    const permits = await Promise.all([1, 2, 3].map(() => locks.acquire("permits", { limit: 3 })));
    assert.equal(await locks.tryAcquire("permits", { limit: 3 }), undefined);
    const next = locks.acquire("permits", { limit: 3 });
    await permits[1]!.release();
    assert.equal((await next).held, true);
  });

  test("one configuration shared by many locks: a manager, and one session", async () => {
    await using locks = manager();
    const held = await Promise.all(["x", "y", "z"].map((key) => locks.acquire(key)));
    const owners = new Set<bigint>();
    for (const { key } of held) {
      owners.add(await operator.owner(`/holdfast/${key}/${(await operator.queue(key))[0]}`));
    }
    assert.equal(owners.size, 1);
  });

  test("lock with a timeout: a signal", async () => {
    await using locks = manager();
    await using _ = await locks.acquire("patience");
    await assert.rejects(locks.acquire("patience", { signal: AbortSignal.timeout(200) }), {
      name: "TimeoutError",
    });
  });

  test("checkLocked: inspect", async () => {
    await using locks = manager();
    assert.equal(await locks.inspect("checked"), undefined);
    const lock = await locks.acquire("checked", { metadata: { job: 7 } });
    await using stranger = manager();
    const found = (await stranger.inspect("checked"))!;
    assert.deepEqual(found.holders.map(({ token, metadata }) => [token, metadata]), [[lock.token, {
      job: 7,
    }]]);
    await lock.release();
    assert.equal(await stranger.inspect("checked"), undefined);
  });

  test("FIFO, each behind its predecessor, across processes", async () => {
    await using one = manager();
    await using two = manager();
    const first = await one.acquire("order");
    const order: number[] = [];
    const waiting: Promise<Lock>[] = [];
    for (let n = 0; n < 10; n++) {
      const next = (n % 2 ? one : two).acquire("order");
      waiting.push(next);
      next.then(() => order.push(n));
      await until(async () => (await operator.queue("order")).length === n + 2, () => "it does not queue");
    }
    await first.release();
    for (const next of waiting) await (await next).release();
    assert.deepEqual(order, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  // Red if: those that come later do not wait for the one that makes the parents.
  test("FIFO, where the first has to make the parents: in a new prefix, of a new key, of one tidied up meanwhile", async () => {
    const prefix = "unborn";
    await using locks = manager({ prefix });
    const gone = async (path: string) => {
      await until(async () => !(await operator.children(path)).length, () => `${path} is not empty`);
      await operator.ask(remove(path)).catch(ignore(code.noNode));
    };
    for (const [key, removed] of [["a", []], ["b", []], ["a", ["a"]], ["a", ["a", "b", ""]]] as const) {
      for (const name of removed) await gone(`/${prefix}/${name}`.replace(/\/$/, ""));
      const calls = [locks.acquire(key), locks.tryAcquire(key), locks.acquire(key), locks.acquire(key)];
      const tokens: bigint[] = [];
      const found = await Promise.all(calls.map(async (call) => {
        const lock = await call;
        if (lock) tokens.push(lock.token);
        await lock?.release();
        return lock;
      }));
      assert.deepEqual(found.map((lock) => lock?.token), [tokens[0], undefined, ...tokens.slice(1)]);
      assert.equal(tokens.length, 3);
    }
  });

  test("giving up while waiting removes the node", async () => {
    await using locks = manager();
    await using _ = await locks.acquire("leaves");
    const giveUp = new AbortController();
    const next = locks.acquire("leaves", { signal: giveUp.signal });
    await until(async () => (await operator.queue("leaves")).length === 2, () => "it does not queue");
    giveUp.abort();
    await assert.rejects(next);
    await until(async () => (await operator.queue("leaves")).length === 1, () => "the node is still there");
  });

  test("a disconnection shorter than the session is survived", async () => {
    await using proxy = await Proxy.start(server);
    await using locks = manager({}, `${HOST}:${proxy.port}`);
    const lock = await locks.acquire("short");
    proxy.refuse();
    await sleep(500);
    proxy.heal();
    // It may fail once, if it meets the end of a connection that was refused.
    await until(() => lock.renew().then(() => true, () => false), () => "not renewed");
    assert.equal(lock.held, true);
    assert.equal(await lock.release(), true);
  });

  test("lost: an event, and the signal, when the session ends", async () => {
    await using locks = manager();
    const lock = await locks.acquire("lost");
    const lost = next<LostEvent>(lock, "lost");
    await endSession(
      server.port,
      await operator.owner(`/holdfast/lost/${(await operator.queue("lost"))[0]}`),
    );
    assert.equal((await lost).reason, "revoked");
    assert.throws(() => lock.signal.throwIfAborted(), LockLostError);
  });

  test("unlocking closes the connection: leaving the manager's scope does", async () => {
    const connections = async () =>
      (await server.word("cons")).split("\n").filter((line) => line.includes("sid=")).length;
    const before = 1; // the operator's
    await until(async () => await connections() === before, () => "connections are left from before");
    {
      await using locks = manager();
      await using _ = await locks.acquire("scope");
      assert.equal(await connections(), before + 1);
    }
    await until(async () => await connections() === before, () => "a connection is left");
    assert.deepEqual(await operator.queue("scope"), []);
  });
});
