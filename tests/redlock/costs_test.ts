/** A bare majority is asked first; the others are asked when it is needed, and when it is worth it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { redlock } from "../../backends/redlock.ts";
import { LockManager } from "../../mod.ts";
import { CALL, claim, open } from "../support.ts";
import { until } from "../servers/process.ts";
import { Nodes } from "./nodes.ts";

const OPTIONS = { maxTtl: 10_000 };
const VOTES = "holdfast/{k}:votes";
const patient = { timeout: 60_000 };

/**
 * What twenty rounds of something cost, in scripts at all nodes together: the least of several times. Whenever a
 * node is silent for 5 ms, as all are on a busy machine now and then, the others are asked as well.
 */
async function cost(nodes: Nodes, round: (n: number) => Promise<unknown>, times = 20): Promise<number> {
  let least = Infinity;
  for (let time = 0; time < times; time++) {
    const before = await nodes.scripts();
    for (let n = 0; n < 20; n++) await round(20 * time + n);
    least = Math.min(least, await nodes.scripts() - before);
  }
  return least;
}

test("a lock held for a moment costs three nodes of five, not five", patient, async () => {
  await using nodes = await Nodes.start(5);
  await using locks = new LockManager(redlock(nodes.urls, OPTIONS));
  for (let n = 0; n < 20; n++) await (await locks.acquire("warm")).release();
  const spent = await cost(nodes, async (n) => await (await locks.acquire(`k${n}`)).release());
  assert.ok(spent >= 120 && spent < 140, `${spent} scripts: a vote and its end at each of three`);
});

test("a lock that is held gets the votes of all, long before it is renewed", patient, async () => {
  await using nodes = await Nodes.start(5);
  await using locks = new LockManager(redlock(nodes.urls, OPTIONS));
  // One of several: a node that is silent for a second has been asked in vain.
  for (let left = 5;; left--) {
    const lock = await locks.acquire("k", { renew: false, metadata: "mine" });
    const so = nodes.until(VOTES, (holders) => holders.every((ids) => ids.includes(lock.id)), 3_000);
    const all = await so.then(() => true, () => false);
    assert.equal(await lock.release(), true);
    await nodes.until(VOTES, (holders) => holders.every((ids) => ids.length === 0));
    if (all) break;
    assert.ok(left > 0, "not all have voted for it");
  }
});

// The next in line has such a vote for a moment, wherever the lock has none yet.
test(
  "a node that has voted for another gets the vote once it is free, long before a renewal",
  patient,
  async () => {
    await using nodes = await Nodes.start(3);
    await using locks = new LockManager(redlock(nodes.urls, OPTIONS));
    const inTime = Date.now() * 1_000 + 60_000_000;
    const rival = `${inTime} ${inTime} 1 channel 0 client`;
    for (const [n, server] of nodes.servers.entries()) {
      const votes = `holdfast/{k${n}}:votes`;
      await server.cli("hset", votes, "00-11", rival);
      const lock = await locks.acquire(`k${n}`, { ttl: 10_000, renew: false });
      await nodes.until(votes, (holders) => holders.filter((ids) => ids.includes(lock.id)).length === 2);
      // It has been refused by now, on any but a busy machine.
      await new Promise((resolve) => setTimeout(resolve, 100));
      await server.cli("hdel", votes, "00-11");
      await nodes.unanimous(votes, lock.id);
      await lock.release();
    }
  },
);

// A ballot that was raised may have left one behind, at a node that was asked for the first and not for the second.
test("a vote for a lower ballot of the same claim is raised by a renewal", patient, async () => {
  await using nodes = await Nodes.start(3);
  await using locks = new LockManager(redlock(nodes.urls, { maxTtl: 600_000 }));
  const lock = await locks.acquire("k", { ttl: 600_000 }); // the lower vote does not run out meanwhile
  await nodes.unanimous(VOTES, lock.id);
  const [server] = nodes.servers;
  const vote = async () => (await server!.cli("hget", VOTES, lock.id)).trim();
  await server!.cli("hset", VOTES, lock.id, (await vote()).replace(/^\d+/, `${lock.token - 1n}`));
  // Not by each: a renewal waits for a majority, and looks no further.
  const raised = async () => (await lock.renew(), (await vote()).startsWith(`${lock.token} `));
  await until(raised, () => "the vote is still for the lower ballot", 30_000);
  assert.equal(await lock.release(), true);
});

test("whichever two nodes go, a lock that is held stays", patient, async () => {
  for (const [one, other] of [[0, 1], [1, 2], [2, 4]] as const) {
    await using nodes = await Nodes.start(5);
    await using locks = new LockManager(redlock(nodes.urls, OPTIONS));
    const lock = await locks.acquire("k");
    await nodes.unanimous(VOTES, lock.id);
    nodes.servers[one]!.pause();
    await nodes.servers[other]!.kill();
    await lock.renew();
    assert.ok(lock.held);
    await using stranger = new LockManager(redlock(nodes.urls, OPTIONS));
    assert.equal(await stranger.tryAcquire("k"), undefined);
    assert.equal(await lock.release(), true);
    await using next = await stranger.acquire("k");
    assert.ok(next.token > lock.token);
  }
});

test("nothing is sent for a claim once it has been released", patient, async () => {
  await using nodes = await Nodes.start(5);
  await using backend = redlock(nodes.urls, OPTIONS);
  const { lease } = await open(backend);
  const one = claim();
  for (const server of nodes.servers) server.pause();
  // To connect to five servers for the first time takes a busy machine seconds.
  const call = { ...CALL, timeout: 50_000 };
  const attempt = lease.attempt(one, call).catch((error) => error); // has to connect first
  const release = lease.release(one, call);
  for (const server of nodes.servers) server.resume();
  assert.equal(await release, false);
  assert.notEqual((await attempt).state, "granted");
  assert.deepEqual(await nodes.holders(VOTES), [[], [], [], [], []]);
});

// A holder that a node kept waiting has its votes elsewhere until it renews: who competes for that key meets two.
test("those who compete meet at the same nodes: three refusals are enough", patient, async () => {
  await using nodes = await Nodes.start(5);
  await using a = new LockManager(redlock(nodes.urls, OPTIONS));
  await using b = new LockManager(redlock(nodes.urls, OPTIONS));
  let spent = Infinity;
  for (let n = 0; n < 20 && spent >= 80; n++) {
    await using _ = await a.acquire(`k${n}`);
    assert.equal(await b.tryAcquire(`k${n}`), undefined);
    spent = await cost(nodes, async () => assert.equal(await b.tryAcquire(`k${n}`), undefined), 2);
  }
  assert.ok(spent >= 60 && spent < 80, `${spent} scripts: a refusal by each of three`);
});

test("a lock that has just been granted is seen by all, whichever two nodes go", patient, async () => {
  for (let away = 0; away < 5; away++) {
    await using nodes = await Nodes.start(5);
    await using a = new LockManager(redlock(nodes.urls, OPTIONS));
    await using b = new LockManager(redlock(nodes.urls, OPTIONS));
    await b.inspect("k"); // is connected
    const lock = await a.acquire("k");
    nodes.servers[away]!.pause(); // before the lock is brought to the others
    nodes.servers[(away + 1) % 5]!.pause();
    assert.deepEqual((await b.inspect("k"))?.holders.map(({ id }) => id), [lock.id]);
    assert.equal(await b.tryAcquire("k"), undefined);
    nodes.servers[away]!.resume();
    nodes.servers[(away + 1) % 5]!.resume();
  }
});

// Goes red if: those who begin to wait together each listen, and only the last of them is heard to leave.
test("a key is not listened to any more when the last has given up", patient, async () => {
  await using nodes = await Nodes.start(3);
  await using a = new LockManager(redlock(nodes.urls, OPTIONS));
  await using b = new LockManager(redlock(nodes.urls, OPTIONS));
  await using _ = await a.acquire("k");
  const giving = new AbortController();
  let waiting = 0;
  b.addEventListener("waiting", () => waiting++);
  const acquiring = Array.from({ length: 5 }, () => b.acquire("k", { signal: giving.signal }));
  const listened = async () => {
    const all = nodes.servers.map((server) => server.cli("pubsub", "channels", VOTES));
    return (await Promise.all(all)).join("").includes(VOTES);
  };
  await until(() => Promise.resolve(waiting === 5), () => `${waiting} wait`);
  assert.ok(await listened());
  giving.abort();
  await Promise.allSettled(acquiring);
  await until(async () => !await listened(), () => "somebody still listens");
});
