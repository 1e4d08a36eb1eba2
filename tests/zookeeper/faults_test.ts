/** What networks and servers do to a session, and what becomes of its locks. */
import assert from "node:assert/strict";
import { createServer, type Server, type Socket } from "node:net";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { zookeeper } from "../../backends/zookeeper.ts";
import { remove } from "../../backends/zookeeper/client/operations.ts";
import { BackendError, type Lock, LockLostError, LockManager } from "../../mod.ts";
import { HOST, until } from "../servers/process.ts";
import { Proxy } from "../servers/proxy.ts";
import { ZooKeeperServer } from "../servers/zookeeper.ts";
import { CALL, call, claim, ENTERED, open, over } from "../support.ts";
import { endSession, Operator } from "./operator.ts";

const tickTime = 500;
/** Where a test waits for its end. Otherwise locks have a {@linkcode LONG} one, which no pause outlasts. */
const ttl = 5_000;
const LONG = 20_000;

/** In the header of a request: what it asks for. */
const CREATE = "\0\0\0\x0f\0\0";
const DELETE = "\0\0\0\x02\0\0";
const asks = (type: string) => (chunk: string) => chunk.includes(type) && chunk.includes("-lock-");

describe("faults of ZooKeeper", () => {
  let server: ZooKeeperServer;
  let operator: Operator;
  let n = 0;

  before(async () => {
    server = await ZooKeeperServer.start({ tickTime, config: ["maxSessionTimeout=60000"] });
    operator = await Operator.connect(server.address);
  });
  after(async () => {
    await operator[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  const manager = (address: string, options = {}) =>
    new LockManager(zookeeper({ address, tickTime }), { ttl: LONG, ...options });
  const behind = (proxy: Proxy) => `${HOST}:${proxy.port}`;
  const fresh = () => `k${n++}`;
  const waits = async (lock: Lock) => {
    let queue: string[] = [];
    await until(
      async () => (queue = await operator.queue(lock.key)).length === 2,
      () => `nobody waits: ${queue}, held: ${lock.held}`,
    );
  };
  const gone = (key: string) =>
    until(async () => (await operator.queue(key)).length === 0, () => `${key} is not free`);
  const end = (lock: Lock) => over(lock).then(() => performance.now());

  test("a session that the server ends early: every lock of it is lost at once, and the next acquisition has another", async () => {
    await using locks = manager(server.address, { ttl: 60_000 });
    const [one, two] = [await locks.acquire(fresh()), await locks.acquire(fresh())];
    const [node] = await operator.queue(one.key);
    const ended = performance.now();
    await endSession(server.port, await operator.owner(`/holdfast/${one.key}/${node}`));
    const at = Math.max(await end(one), await end(two));
    // At once, or by the next renewal where the server knew our connection no more; by itself it would last a minute.
    assert.ok(at - ended < 40_000, `told after ${at - ended} ms`);
    for (const { signal } of [one, two]) {
      assert.ok(signal.reason instanceof LockLostError);
      assert.equal(signal.reason.why, "revoked");
    }
    assert.equal(await one.release(), false);
    const again = await locks.acquire(one.key);
    assert.ok(again.token > one.token);
  });

  test("a session that expired behind a partition: the lock was lost before, and the next one is of another session", async () => {
    await using proxy = await Proxy.start(server);
    await using locks = manager(behind(proxy), { ttl });
    const lock = await locks.acquire(fresh());
    proxy.cut();
    let free = false;
    const freed = gone(lock.key).then(() => free = true);
    await end(lock);
    assert.equal(free, false);
    assert.equal(lock.signal.reason.why, "expired");
    await freed;
    proxy.heal();
    const again = await locks.acquire(lock.key);
    assert.ok(again.token > lock.token);
    assert.equal((await operator.queue(lock.key)).length, 1);
  });

  for (
    const [what, lose] of [
      ["the reply to create and list", (proxy: Proxy) => proxy.loseReply({ request: asks(CREATE) })],
      ["all but 10 bytes of it", (proxy: Proxy) => proxy.loseReply({ request: asks(CREATE), keep: 10 })],
      // 4 + 16 + 4 + path + 68, and then the list
      ["the reply to list alone", (proxy: Proxy) => proxy.loseReply({ request: asks(CREATE), keep: 190 })],
      ["the request", (proxy: Proxy) => proxy.loseRequest(asks(CREATE))],
    ] as const
  ) {
    test(`connection lost in the middle of create: ${what} is missing; one claim enters, and holds`, async () => {
      await using proxy = await Proxy.start(server);
      await using locks = manager(behind(proxy));
      await locks.acquire(fresh());
      const key = fresh();
      const lost = lose(proxy);
      const lock = await locks.acquire(key);
      await lost;
      assert.equal((await operator.queue(key)).length, 1);
      assert.equal(await lock.release(), true);
      assert.deepEqual(await operator.queue(key), []);
    });
  }

  test("connection lost in the middle of create, by a claim that may not wait", async () => {
    await using proxy = await Proxy.start(server);
    await using locks = manager(behind(proxy));
    await locks.acquire(fresh());
    const key = fresh();
    const lost = proxy.loseReply({ request: asks(CREATE) });
    const lock = await locks.tryAcquire(key);
    await lost;
    assert.equal(lock?.held, true);
    assert.equal((await operator.queue(key)).length, 1);
  });

  test("connection lost while waiting: the place in the queue stays, and is served", async () => {
    await using proxy = await Proxy.start(server);
    await using first = manager(server.address);
    await using second = manager(behind(proxy));
    const lock = await first.acquire(fresh());
    const next = second.acquire(lock.key);
    await waits(lock);
    const queue = (await operator.queue(lock.key)).sort();
    for (let times = 0; times < 3; times++) {
      proxy.reset();
      await sleep(150);
    }
    assert.deepEqual((await operator.queue(lock.key)).sort(), queue);
    await lock.release();
    assert.equal((await next).held, true);
  });

  test("connection lost at the very hand-over: the grant is not missed", async () => {
    await using proxy = await Proxy.start(server);
    await using first = manager(server.address, { ttl: 60_000 });
    await using second = manager(behind(proxy), { ttl: 60_000 });
    for (let times = 0; times < 10; times++) {
      const lock = await first.acquire(fresh());
      const next = second.acquire(lock.key);
      await waits(lock);
      const released = lock.release();
      if (times % 2 === 0) await released;
      proxy.reset();
      const since = performance.now();
      await (await next).release();
      assert.ok(performance.now() - since < 10_000); // by renewals alone it takes up to 15 s
    }
  });

  // Red if: a watch that finds its node gone says nothing, or the end of the claim's own node is not looked for.
  test("who leaves between a look and the wait for that is not missed, nor what has become of the claim itself", async () => {
    await using backend = zookeeper({ address: server.address, tickTime });
    const [{ lease: one }, { lease: two, lost }] = [await open(backend, 60_000), await open(backend, 60_000)];
    for (const revoked of [false, true]) {
      const key = `holdfast/${fresh()}`;
      const [first, second] = [claim({ key }), claim({ key })];
      assert.equal((await one.attempt(first, call())).state, "granted");
      assert.equal((await two.attempt(second, call())).state, "contended");
      if (revoked) {
        const name = (await operator.children(`/${key}`)).find((name) => name.includes(second.id));
        await operator.ask(remove(`/${key}/${name}`));
      }
      assert.equal(await one.release(first, ENTERED), true);
      const outcome = await two.changed(second, call());
      assert.equal(outcome?.state, revoked ? undefined : "granted");
      if (!revoked) assert.equal(await two.release(second, ENTERED), true);
      else await until(() => Promise.resolve(lost.length > 0), () => "not told");
      assert.deepEqual(lost, revoked ? [["revoked", second.id]] : []);
      assert.deepEqual(await operator.children(`/${key}`), []);
    }
    for (const lease of [one, two]) await lease.close(CALL);
  });

  for (const kind of ["reply", "request"] as const) {
    test(`connection lost in the middle of delete: the ${kind} is missing; the key is free soon, not after the ttl`, async () => {
      await using proxy = await Proxy.start(server);
      await using locks = manager(behind(proxy), { ttl: 20_000 });
      const lock = await locks.acquire(fresh());
      await sleep(50); // its watch has been asked for
      const lost = kind === "reply"
        ? proxy.loseReply({ request: asks(DELETE) })
        : proxy.loseRequest(asks(DELETE));
      await lock.release().catch((error) => assert.ok(error instanceof BackendError));
      await lost;
      assert.equal(lock.held, false);
      await until(async () => (await operator.queue(lock.key)).length === 0, () => "not free", 10_000);
    });
  }

  test("black hole: the lock is lost by D, before the store lets anybody else have it", async () => {
    await using proxy = await Proxy.start(server);
    await using locks = manager(behind(proxy), { ttl });
    await using others = manager(server.address);
    const lock = await locks.acquire(fresh());
    await sleep(ttl); // some renewals
    const next = others.acquire(lock.key);
    proxy.cut();
    const successor = await next;
    assert.ok(lock.signal.aborted, "two holders");
    assert.equal(lock.signal.reason.why, "expired");
    assert.ok(successor.token > lock.token);
  });

  test("black hole to one server: the session goes on through another, and keeps its locks", async () => {
    await using dead = await Proxy.start(server);
    await using alive = await Proxy.start(server);
    await using locks = manager(`${behind(dead)},${behind(alive)}`, { ttl: 10_000 });
    const lock = await locks.acquire(fresh());
    for (const proxy of [dead, alive]) {
      proxy.cut();
      await sleep(11_000);
      assert.equal(lock.held, true, `${lock.signal.reason}`);
      proxy.heal();
    }
    assert.equal(await lock.release(), true);
  });

  // Red if: a connection may be silent for a part of the ttl, however long that is.
  test("a long ttl, and a server that falls silent: the next acquisition goes to the other one", async () => {
    await using one = await Proxy.start(server);
    await using other = await Proxy.start(server);
    await using locks = manager(`${behind(one)},${behind(other)}`, { ttl: 60_000, retryFor: 8_000 });
    const lock = await locks.acquire(fresh());
    (one.connections.length > 0 ? one : other).cut();
    assert.equal((await locks.acquire(fresh())).held, true);
    assert.equal(await lock.release(), true);
  });

  describe("a server that accepts and stays silent", () => {
    let silent: Server;
    const sockets = new Set<Socket>();
    before(async () => {
      silent = createServer((socket) => void sockets.add(socket.on("error", () => {})));
      await new Promise<void>((resolve) => silent.listen(0, HOST, resolve));
    });
    after(() => {
      for (const socket of sockets) socket.destroy();
      silent.close();
    });
    const address = () => `${HOST}:${(silent.address() as { port: number }).port}`;

    test("is an error once retryFor is over", async () => {
      await using locks = manager(address(), { ttl, retryFor: 1_000 });
      const since = performance.now();
      await assert.rejects(locks.acquire("k"), (error: Error) => {
        assert.ok(error instanceof BackendError);
        return true;
      });
      await assert.rejects(locks.tryAcquire("k"), BackendError);
      assert.ok(performance.now() - since < 30_000);
    });

    test("is passed over where there is another", async () => {
      for (let times = 0; times < 3; times++) {
        await using locks = manager(`${address()},${server.address}`);
        assert.equal((await locks.acquire(fresh())).held, true);
      }
    });

    test("does not hold up close()", async () => {
      const locks = manager(address(), { retryFor: 60_000 });
      locks.acquire("k").catch(() => {});
      await sleep(100);
      const since = performance.now();
      await locks.close();
      assert.ok(performance.now() - since < 30_000);
    });
  });

  test("a reconnection within the session keeps the lock, its token and its renewals", async () => {
    await using proxy = await Proxy.start(server);
    await using locks = manager(behind(proxy), { ttl: 2 * ttl });
    const lock = await locks.acquire(fresh());
    proxy.reset();
    await sleep(ttl);
    assert.equal(lock.held, true);
    proxy.refuse();
    await sleep(ttl / 4);
    proxy.heal();
    await sleep(2 * ttl);
    assert.equal(lock.held, true);
    const { holders } = (await locks.inspect(lock.key))!;
    assert.equal(holders[0]!.token, lock.token);
    assert.equal(await lock.release(), true);
  });

  // Red if: a session that could not be closed counts as closed.
  test("a release that cannot be told is an error as long as the node stands", async () => {
    await using proxy = await Proxy.start(server);
    await using locks = manager(behind(proxy), { ttl: 2 * ttl, retryFor: 0 });
    const lock = await locks.acquire(fresh());
    proxy.refuse();
    for (let times = 0; times < 2; times++) await assert.rejects(lock.release(), BackendError);
    assert.equal((await operator.queue(lock.key)).length, 1);
    proxy.heal();
    const free = async () => (await operator.queue(lock.key)).length === 0;
    await until(free, () => "the session does not end by itself", 6 * ttl);
    await until(() => lock.release().then(() => true, () => false), () => "never released", 3 * ttl);
  });

  test("a node that vanished while the connection was away is a lock that is lost at the reconnection", async () => {
    await using proxy = await Proxy.start(server);
    await using locks = manager(behind(proxy));
    const lock = await locks.acquire(fresh());
    proxy.refuse();
    await operator.revoke(`holdfast/${lock.key}`);
    proxy.heal();
    await end(lock);
    assert.equal(lock.signal.reason.why, "revoked");
  });

  test("a server that restarts keeps sessions, and with them locks", async () => {
    // Longer than a server takes to begin on a busy machine.
    const ttl = 60_000;
    const other = await ZooKeeperServer.start({ tickTime, config: [`maxSessionTimeout=${ttl}`] });
    await using _ = other;
    await using locks = manager(other.address, { ttl });
    const lock = await locks.acquire("k");
    await other.restart("SIGKILL");
    // One that begins may say nothing for longer than a call takes.
    while (lock.held && !await lock.renew().then(() => true, () => false));
    assert.equal(lock.held, true);
    assert.equal(await lock.release(), true);
  });

  test("a waiter that gives up leaves no node, not even if it was cut off when it did", async () => {
    await using proxy = await Proxy.start(server);
    await using first = manager(server.address);
    await using second = manager(behind(proxy), { ttl: 20_000 });
    const lock = await first.acquire(fresh());
    for (const away of [false, true]) {
      const giveUp = new AbortController();
      const next = second.acquire(lock.key, { signal: giveUp.signal });
      await waits(lock);
      if (away) proxy.refuse();
      giveUp.abort(new Error("enough"));
      await assert.rejects(next, /enough/);
      if (away) proxy.heal();
      await until(async () => (await operator.queue(lock.key)).length === 1, () => "still there", 15_000);
    }
  });

  test("a claim that was withdrawn does not enter late, when the network delivers its creation after all", async () => {
    await using slow = await Proxy.start(server);
    await using good = await Proxy.start(server);
    for (let times = 0; times < 2; times++) {
      await using locks = manager(`${behind(slow)},${behind(good)}`, { ttl: 6_000 });
      await locks.acquire(fresh());
      const key = fresh();
      const giveUp = new AbortController();
      const which = slow.connections.length > 0 ? slow : good;
      which.cut();
      const claim = locks.acquire(key, { signal: giveUp.signal });
      await sleep(200);
      giveUp.abort(new Error("enough"));
      await assert.rejects(claim, /enough/);
      await sleep(3_000); // it moves to the other path, and takes back what it may have left
      which.heal();
      await sleep(300);
      await gone(key); // it may be taken back only now
    }
  });

  // By the server's own rule: a session that has moved to a new connection takes nothing from an old one.
  test("a claim that was robbed while its creation was in doubt does not enter again when the network delivers that", async () => {
    await using slow = await Proxy.start(server);
    await using good = await Proxy.start(server);
    await using locks = manager(`${behind(slow)},${behind(good)}`);
    await using others = manager(server.address);
    const kept = await locks.acquire(fresh()); // the session lives on
    const key = fresh();
    const which = slow.connections.length > 0 ? slow : good;
    which.cut();
    const lock = await locks.acquire(key); // enters over the other path
    const thief = await others.acquire(key, { steal: true });
    assert.equal((await over(lock)).why, "stolen");
    which.heal();
    await until(() => Promise.resolve(which.connections.length === 0), () => "never delivered");
    assert.equal((await operator.queue(key)).length, 1);
    assert.equal((await locks.inspect(key))!.holders[0]!.token, thief.token);
    assert.equal(kept.held, true);
  });

  test("close() in every state of the connection: none yet, up, refused, cut, session over", async () => {
    await manager(server.address).close();
    for (const state of ["up", "refused", "cut", "over"]) {
      await using proxy = await Proxy.start(server);
      const locks = manager(behind(proxy), { ttl, retryFor: 60_000 });
      const lock = await locks.acquire(fresh());
      const waiting = locks.acquire(lock.key);
      waiting.catch(() => {});
      const watch = locks.watch(lock.key);
      await watch.ready;
      if (state === "refused") proxy.refuse();
      if (state === "cut") proxy.cut();
      if (state === "over") {
        const [node] = (await operator.queue(lock.key)).sort();
        await endSession(server.port, await operator.owner(`/holdfast/${lock.key}/${node}`));
      }
      const since = performance.now();
      await locks.close();
      assert.ok(performance.now() - since < 30_000, `${state}: ${performance.now() - since} ms`);
      await assert.rejects(waiting);
      if (state === "up") assert.deepEqual(await operator.queue(lock.key), []);
      proxy.heal();
      await until(
        async () => proxy.connections.length === 0 && (await operator.queue(lock.key)).length === 0,
        () => `${state}: ${proxy.connections.length} connections are left`,
      );
    }
  });
});
