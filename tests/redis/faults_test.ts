/** What a holder and a waiter see when one Redis server, or the way to it, misbehaves. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { redis } from "../../backends/redis.ts";
import type { Claim } from "../../internal/backend.ts";
import { BackendError } from "../../internal/errors.ts";
import { LockManager } from "../../mod.ts";
import { Proxy } from "../servers/proxy.ts";
import { RedisServer } from "../servers/redis.ts";
import { CALL, call, claim, ENTERED, next, open, waiter } from "../support.ts";

const script = (chunk: string) => /evalsha/i.test(chunk);

test("CLIENT KILL: a lock stays held, a waiter stays in its place", async () => {
  await using server = await RedisServer.start();
  await using a = new LockManager(redis(server.url), { ttl: 30_000 });
  await using b = new LockManager(redis(server.url), { ttl: 30_000 });
  const lock = await a.acquire("k");
  const { lock: waiting } = await waiter(b, "k");
  await server.cli("client", "kill", "type", "normal");
  await server.cli("client", "kill", "type", "pubsub");
  // One call may meet the end of the connection.
  while (lock.held && !await lock.renew().then(() => true, () => false));
  assert.ok(lock.held);
  await sleep(100); // the waiter asks again
  await lock.release();
  const next = await waiting;
  assert.ok(next.token > lock.token);
});

test("CLIENT PAUSE shorter than the ttl costs nothing; longer, the holder knows in time", async () => {
  await using server = await RedisServer.start();
  await using locks = new LockManager(redis(server.url));
  const lock = await locks.acquire("k", { ttl: 30_000 });
  const brief = await locks.acquire("brief", { ttl: 600 });
  const lost = next(brief, "lost");
  await using others = new LockManager(redis(server.url));
  await (await others.acquire("warm")).release();
  await server.cli("client", "pause", "1500", "all");
  const successor = await others.acquire("brief");
  assert.ok(brief.signal.aborted, "before the server could give it to another");
  assert.ok(successor.token > brief.token);
  await lost;
  await lock.renew();
  assert.ok(lock.held);
});

test("a restart with its data kept (AOF): the lock is still there, the scripts are sent again", async () => {
  await using server = await RedisServer.start({ args: ["--appendonly", "yes", "--appendfsync", "always"] });
  await using locks = new LockManager(redis(server.url), { ttl: 60_000 });
  const lock = await locks.acquire("k");
  await server.restart();
  await lock.renew();
  assert.ok(lock.held);
  assert.equal(await locks.tryAcquire("k"), undefined);
  assert.equal(await lock.release(), true);
});

test("a restart without its data: the holder loses the lock at its next renewal, tokens rise", async () => {
  await using server = await RedisServer.start();
  await using locks = new LockManager(redis(server.url), { ttl: 60_000 });
  const lock = await locks.acquire("k");
  await server.restart();
  await using again = await locks.acquire("k");
  assert.ok(again.token > lock.token);
  await assert.rejects(lock.renew(), { name: "LockLostError", why: "revoked" });
  assert.equal(await lock.release(), false);
  assert.ok(again.held);
});

test("FLUSHALL: the same, and the waiter enters again", async () => {
  await using server = await RedisServer.start();
  await using a = new LockManager(redis(server.url), { ttl: 6_000 });
  await using b = new LockManager(redis(server.url), { ttl: 6_000 });
  const lock = await a.acquire("k");
  const lost = next<Event & { reason: { why: string } }>(lock, "lost");
  const { lock: waiting } = await waiter(b, "k");
  await server.cli("flushall");
  const successor = await waiting;
  assert.ok(successor.token > lock.token);
  await lost;
});

test("SCRIPT FLUSH: nobody notices", async () => {
  await using server = await RedisServer.start();
  await using locks = new LockManager(redis(server.url));
  const lock = await locks.acquire("k");
  await server.cli("script", "flush");
  await lock.renew();
  await server.cli("script", "flush");
  assert.equal(await lock.release(), true);
});

test("out of memory: new claims are refused with the reason, old ones are renewed and released", async () => {
  await using server = await RedisServer.start();
  await using locks = new LockManager(redis(server.url), { retryFor: 0 });
  const alone = await locks.acquire("alone");
  const queued = await locks.acquire("queued", { metadata: { with: "metadata" } });
  const { lock: waiting } = await waiter(locks, "queued");
  await server.cli("config", "set", "maxmemory", "1");
  await assert.rejects(locks.acquire("new"), (error: BackendError) => {
    assert.match(error.message, /Cannot .*OOM.*`maxmemory`/);
    assert.equal(error.retryable, true);
    return true;
  });
  await alone.renew();
  await queued.renew();
  assert.equal(await alone.release(), true);
  assert.equal(await queued.release(), true);
  await using handed = await waiting;
  await handed.renew();
});

// Red if: the clock of retryFor starts again with each claim that a refused one is replaced by.
// Not by OOM: a script whose first write takes nothing, as that of a tombstone's removal, may write on.
test("NOREPLICAS for longer than a ttl: retryFor is over when it is over", async () => {
  await using server = await RedisServer.start();
  await using locks = new LockManager(redis(server.url), { ttl: 1_000, retryFor: 2_500 });
  await (await locks.acquire("k")).release();
  await server.cli("config", "set", "min-replicas-to-write", "1");
  const since = performance.now();
  await Promise.all([
    assert.rejects(locks.tryAcquire("k"), BackendError),
    assert.rejects(locks.acquire("k"), BackendError),
  ]);
  assert.ok(performance.now() - since < 20_000, "one retryFor, on a busy machine");
  // Asked once: the last of several calls may have failed by its time limit.
  await using once = new LockManager(redis(server.url), { retryFor: 0 });
  await assert.rejects(once.tryAcquire("k"), /NOREPLICAS.*`min-replicas-to-write`/);
});

test("READONLY: the server has become a replica; the next call looks for the master again", async () => {
  await using first = await RedisServer.start();
  await using second = await RedisServer.start();
  let master = first;
  await using locks = new LockManager(redis(() => Promise.resolve(master.url)));
  await (await locks.acquire("k")).release();
  await first.cli("replicaof", second.host, `${second.port}`);
  await using naive = new LockManager(redis(first.url), { retryFor: 0 });
  await assert.rejects(naive.acquire("k"), /READONLY.*name the Sentinels or the master/);
  master = second;
  await using lock = await locks.acquire("k");
  assert.ok(lock.held);
});

test("a foreign key under our name is left alone, and named", async () => {
  await using server = await RedisServer.start();
  await server.cli("set", "holdfast/{k}", "mine");
  await using locks = new LockManager(redis(server.url));
  await assert.rejects(locks.acquire("k"), /WRONGTYPE.*choose another `prefix`/);
  assert.match(await server.cli("get", "holdfast/{k}"), /mine/);
});

test("a lost reply to an attempt: the repeat finds the place and the same token", async () => {
  await using server = await RedisServer.start();
  await using proxy = await Proxy.start(server);
  await using backend = redis({ port: proxy.port });
  const { lease } = await open(backend);
  await lease.attempt(claim({ key: "holdfast/warm" }), CALL);
  const one = claim();
  const lost = proxy.loseReply({ request: script });
  await assert.rejects(lease.attempt(one, CALL), /Cannot ask Redis/);
  await lost;
  const before = await backend.list("holdfast/k", CALL);
  assert.equal(before.length, 1, "it had arrived");
  const outcome = await lease.attempt(one, CALL);
  assert.deepEqual(outcome, { state: "granted", token: before[0]!.token });
});

test("lost replies to renew and release: the repeats are harmless", async () => {
  await using server = await RedisServer.start();
  await using proxy = await Proxy.start(server);
  await using backend = redis({ port: proxy.port });
  const { lease } = await open(backend);
  await lease.release(claim(), CALL); // or the first reply would only be that the script is not known yet
  const one = claim();
  const outcome = await lease.attempt(one, CALL);
  let lost = proxy.loseReply({ request: script });
  await assert.rejects(lease.renew([one], CALL));
  await lost;
  assert.deepEqual((await lease.renew([one], CALL)).get(one.id), outcome);
  lost = proxy.loseReply({ request: script });
  await assert.rejects(lease.release(one, ENTERED));
  await lost;
  assert.equal(await lease.release(one, ENTERED), false, "it was gone already");
  assert.deepEqual(await backend.list("holdfast/k", CALL), []);
});

test("calls reject at once when the connection breaks, and the next one connects again", async () => {
  await using server = await RedisServer.start();
  await using proxy = await Proxy.start(server);
  await using backend = redis({ port: proxy.port });
  const { lease } = await open(backend);
  const one = claim();
  await lease.attempt(one, CALL);
  proxy.cut("down");
  const started = performance.now();
  const hanging = lease.renew([one], CALL);
  hanging.catch(() => {});
  await sleep(50);
  proxy.heal();
  proxy.reset();
  await assert.rejects(hanging);
  assert.ok(performance.now() - started < CALL.timeout, "not by its time limit");
  assert.equal((await lease.renew([one], CALL)).get(one.id)?.state, "granted");
});

test("a connection that swallows everything is given up once a call has timed out", async () => {
  await using server = await RedisServer.start();
  await using proxy = await Proxy.start(server);
  await using backend = redis({ port: proxy.port });
  const { lease } = await open(backend);
  const one = claim();
  const brief = { ...CALL, timeout: 300 };
  await lease.attempt(one, CALL);
  const [doomed] = proxy.connections;
  proxy.cut("both", (connection) => connection === doomed);
  lease.renew([one], brief).catch(() => {});
  await sleep(400);
  assert.equal((await lease.renew([one], brief)).get(one.id)?.state, "granted");
});

test("an attempt that arrives after its time does not enter", async () => {
  await using server = await RedisServer.start();
  await using proxy = await Proxy.start(server);
  await using backend = redis({ port: proxy.port });
  const { lease } = await open(backend);
  const warm = claim({ key: "holdfast/warm" });
  await lease.attempt(warm, CALL);
  // The server's time is known as well as the quickest answer tells it.
  for (let n = 0; n < 10; n++) await lease.renew([warm], CALL);
  proxy.cut("up");
  const late = lease.attempt(claim(), { ...CALL, timeout: 100 });
  late.catch(() => {});
  await sleep(500);
  proxy.heal();
  await assert.rejects(late, /arrived too late/);
  assert.deepEqual(await backend.list("holdfast/k", CALL), []);
});

test("a claim whose place has come and gone unheard of does not take a second one", async () => {
  await using server = await RedisServer.start();
  await using proxy = await Proxy.start(server);
  await using backend = redis({ port: proxy.port });
  const { lease } = await open(backend, 300);
  const warm = claim({ key: "holdfast/warm" });
  await lease.attempt(warm, CALL);
  await lease.release(warm, CALL);
  const one: Claim = claim();
  const lost = proxy.loseReply({ request: script });
  await assert.rejects(lease.attempt(one, CALL));
  await lost;
  await sleep(400);
  assert.equal((await lease.attempt(one, CALL)).state, "gone");
  assert.deepEqual(await backend.list("holdfast/k", CALL), []);
});

// Red if: the server's clock is believed to be known better than its answers tell.
test("not even where the server has been slow to tell its time", async () => {
  await using server = await RedisServer.start();
  await using proxy = await Proxy.start(server);
  await using backend = redis({ port: proxy.port });
  const { lease } = await open(backend, 300);
  proxy.delay(700);
  await backend.list("holdfast/k", call(60_000)); // connects
  proxy.heal();
  const one: Claim = claim();
  const lost = proxy.loseReply({ request: script });
  await assert.rejects(lease.attempt(one, CALL));
  await lost;
  await sleep(400);
  assert.equal((await lease.attempt(one, CALL)).state, "gone");
  assert.deepEqual(await backend.list("holdfast/k", CALL), []);
});

test("a claim withdrawn while its attempt is on the way never enters", async () => {
  await using server = await RedisServer.start();
  await using proxy = await Proxy.start(server);
  await using backend = redis({ port: proxy.port });
  const { lease } = await open(backend);
  await lease.attempt(claim({ key: "holdfast/warm" }), CALL);
  const one: Claim = claim();
  const old = proxy.connections[0]!;
  proxy.cut("up", (connection) => connection === old);
  const stuck = lease.attempt(one, { ...CALL, timeout: 200 });
  stuck.catch(() => {});
  await sleep(400);
  // The withdrawal goes by a new connection and overtakes the attempt.
  assert.equal(await lease.release(one, { ...CALL, timeout: 200 }), false);
  assert.equal(await lease.release(one, { ...CALL, timeout: 200 }), false, "saying it again changes nothing");
  proxy.heal();
  await sleep(100);
  assert.deepEqual(await backend.list("holdfast/k", CALL), []);
});

test("two copies of every call are as good as one", async () => {
  await using server = await RedisServer.start();
  await using backend = redis(server.url);
  const { lease } = await open(backend);
  const one = claim();
  const twice = <T>(call: () => Promise<T>): Promise<[T, T]> => Promise.all([call(), call()]);
  const [first, second] = await twice(() => lease.attempt(one, CALL));
  assert.deepEqual(first, second);
  await twice(() => lease.renew([one], CALL));
  assert.deepEqual(await twice(() => lease.release(one, ENTERED)), [true, false]);
  const thief = claim({ steal: true });
  const [stolen, again] = await twice(() => lease.attempt(thief, CALL));
  assert.deepEqual(stolen, again);
});
