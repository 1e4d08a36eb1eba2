/** Nodes that fail, are silent, or come back without their memory, and what becomes of locks. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { redis } from "../../backends/redis.ts";
import { redlock } from "../../backends/redlock.ts";
import type { QuorumError } from "../../internal/errors.ts";
import { LockManager } from "../../mod.ts";
import { next } from "../support.ts";
import { until } from "../servers/process.ts";
import { Proxy } from "../servers/proxy.ts";
import { admit, Nodes } from "./nodes.ts";

const OPTIONS = { maxTtl: 10_000 };
const VOTES = "holdfast/{k}:votes";
const patient = { timeout: 60_000 };

test("five nodes, two of them down: everything works", patient, async () => {
  await using nodes = await Nodes.start(5);
  await using a = new LockManager(redlock(nodes.urls, OPTIONS));
  await using b = new LockManager(redlock(nodes.urls.map((url) => redis(url)), OPTIONS));
  const lock = await a.acquire("k");
  await nodes.unanimous(VOTES, lock.id);
  await nodes.servers[1]!.kill();
  await nodes.servers[3]!.kill();
  await lock.renew();
  assert.equal(await b.tryAcquire("k"), undefined);
  assert.equal((await b.inspect("k"))?.holders[0]?.id, lock.id);
  const waiting = b.acquire("k");
  await sleep(50);
  assert.equal(await lock.release(), true);
  await using handed = await waiting;
  assert.ok(handed.token > lock.token);
  assert.equal((await a.query()).held?.length, 1);
});

test("five nodes, two of them silent: nobody waits for those", patient, async () => {
  await using nodes = await Nodes.start(5);
  await using locks = new LockManager(redlock(nodes.urls, OPTIONS));
  await (await locks.acquire("warm")).release();
  nodes.servers[0]!.pause();
  nodes.servers[4]!.pause();
  // The quickest of several times, each after those that were late are asked again.
  let quickest = Infinity;
  for (let time = 0; time < 5 && quickest >= 2_000; time++) {
    await sleep(1_100);
    const started = performance.now();
    for (let n = 0; n < 20; n++) await (await locks.acquire("k")).release();
    quickest = Math.min(quickest, performance.now() - started);
  }
  assert.ok(quickest < 2_000, "a silent node would cost most of a third of the ttl");
});

test("three down or silent: a QuorumError with the votes", patient, async () => {
  await using nodes = await Nodes.start(5);
  await using locks = new LockManager(redlock(nodes.urls, OPTIONS), { ttl: 2_000 });
  const lock = await locks.acquire("k");
  const lost = next(lock, "lost");
  // With time enough for a busy machine to say no in time.
  await using others = new LockManager(redlock(nodes.urls, OPTIONS), { retryFor: 0 });
  await until(() => others.inspect("k").then(() => true, () => false), () => "nobody is reached");
  const connected = await others.acquire("connected");
  await nodes.unanimous("holdfast/{connected}:votes", connected.id);
  await nodes.servers[0]!.kill();
  await nodes.servers[1]!.kill();
  nodes.servers[2]!.pause();
  const error = await others.acquire("other").catch((error) => error) as QuorumError;
  assert.equal(error.name, "QuorumError");
  assert.equal(error.code, "quorum");
  assert.deepEqual(error.votes.map(({ node }) => node).sort(), nodes.places.sort());
  const answers = error.votes.map(({ answer }) => answer).sort();
  assert.deepEqual(answers.slice(0, 3), ["failed", "failed", "failed"]);
  assert.match(
    error.message,
    /Cannot acquire lock "other": .*(failed \(.*granted|granted.*failed \().* \(3 of 5 nodes are needed\)$/,
  );
  await assert.rejects(others.inspect("k"), { name: "QuorumError" });
  await lost; // D comes, whatever the nodes do
});

test("tokens rise whatever minority is away at each grant", patient, async () => {
  await using nodes = await Nodes.start(5);
  const proxies = await Promise.all(nodes.servers.map((server) => Proxy.start(server)));
  await using locks = new LockManager(redlock(proxies.map(({ port }) => ({ port })), OPTIONS));
  let last = 0n;
  for (let n = 0; n < 25; n++) {
    proxies[n % 5]!.refuse();
    proxies[(n * 2 + 1) % 5]!.refuse();
    const lock = await locks.acquire("k");
    assert.ok(lock.token > last, `${lock.token} after ${last}`);
    last = lock.token;
    await lock.release();
    for (const proxy of proxies) proxy.heal();
    await sleep(25); // so that the nodes that were away are tried again now and then
  }
  for (const proxy of proxies) await proxy[Symbol.asyncDispose]();
});

test("a node that comes back empty stays out for the longest ttl", patient, async () => {
  await using nodes = await Nodes.start(3);
  const options = { maxTtl: 6_000 };
  // Held by a majority of two, one of which then forgets it.
  await using away = await Proxy.start(nodes.servers[2]!);
  away.refuse();
  const seen = [...nodes.urls.slice(0, 2), { port: away.port }];
  await using a = new LockManager(redlock(seen, options), { ttl: 6_000 });
  await using b = new LockManager(redlock(nodes.urls, options), { ttl: 6_000 });
  const lock = await a.acquire("k", { renew: false });
  await nodes.servers[1]!.restart();
  const restarted = performance.now();
  // With the votes of the two that know nothing of it there would be a second holder.
  while (lock.held) {
    const second = await b.tryAcquire("k");
    if (second === undefined) await sleep(100);
    else assert.ok(!lock.held, "the old lock is over");
    await second?.release();
  }
  await using alone = new LockManager(redlock([nodes.urls[1]!], options), { ttl: 6_000, retryFor: 0 });
  let excluded = 0;
  for (;;) {
    const error = await alone.tryAcquire("alone").then(() => undefined, (error) => error);
    if (error === undefined) break;
    // One that is too slow to answer fails.
    if (!/failed|did not answer/.test(error.message)) {
      assert.deepEqual(error.votes.map(({ answer }: { answer: string }) => answer), ["excluded"]);
      assert.match(error.message, /stays out for the longest ttl/);
      excluded++;
    }
    await sleep(100);
  }
  assert.ok(excluded > 0, "it has said why");
  assert.ok(performance.now() - restarted > 5_900);
});

test("FLUSHALL counts as a lost memory too", patient, async () => {
  await using nodes = await Nodes.start(3);
  await using locks = new LockManager(redlock(nodes.urls, OPTIONS), { retryFor: 0 });
  const lock = await locks.acquire("k");
  await nodes.servers[0]!.cli("flushall");
  await nodes.servers[1]!.cli("flushall");
  await assert.rejects(locks.tryAcquire("other"), { name: "QuorumError" });
  await assert.rejects(lock.renew(), { name: "LockLostError" });
  await nodes.until(VOTES, (holders) => holders.every((ids) => ids.length === 0), 5_000); // long before its ttl
  for (const server of nodes.servers) await admit(server);
  await using again = await locks.acquire("k");
  assert.ok(again.token > lock.token);
});

test(
  "a lock that is renewed gets back the vote of a node that has come back",
  { timeout: 120_000 },
  async () => {
    await using nodes = await Nodes.start(3);
    await using locks = new LockManager(redlock(nodes.urls, { maxTtl: 6_000 }), { ttl: 6_000 });
    const lock = await locks.acquire("k", { metadata: { held: "long" } });
    for (const one of [0, 1, 2]) {
      await nodes.unanimous(VOTES, lock.id);
      await nodes.servers[one]!.restart();
      while (lock.held && !(await nodes.holders(VOTES))[one]!.includes(lock.id)) await sleep(50);
      assert.ok(lock.held);
    }
    assert.deepEqual((await locks.inspect("k"))!.holders.map(({ id, token }) => [id, token]), [[
      lock.id,
      lock.token,
    ]]);
    assert.equal(await lock.release(), true);
    await nodes.until(VOTES, (holders) => holders.every((ids) => ids.length === 0)); // two of three are waited for
  },
);

test(
  "a lock is lost with its majority, at the next renewal",
  patient,
  async () => {
    await using nodes = await Nodes.start(3);
    await using locks = new LockManager(redlock(nodes.urls, OPTIONS), { ttl: 6_000 });
    const lock = await locks.acquire("k");
    await nodes.unanimous(VOTES, lock.id);
    await nodes.servers[0]!.restart();
    await lock.renew(); // two of three
    const lost = next<Event & { reason: { why: string } }>(lock, "lost");
    await nodes.servers[1]!.restart();
    await lost;
    assert.equal((lock.signal.reason as { why: string }).why, "revoked");
  },
);
