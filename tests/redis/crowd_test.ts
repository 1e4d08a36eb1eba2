/** A queue of many: the same rule, in the same order, and no operation dearer for it. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { redis } from "../../backends/redis.ts";
import type { Claim, Lease } from "../../internal/backend.ts";
import { holders } from "../../internal/queue.ts";
import { LockManager } from "../../mod.ts";
import { RedisServer } from "../servers/redis.ts";
import { Random } from "../simulation/random.ts";
import { CALL, claim, entered, open } from "../support.ts";

const SLOW = { timeout: 240_000 };
const server = await RedisServer.start();
after(() => server[Symbol.asyncDispose]());

/** Time enough for whatever a busy machine does meanwhile. */
const PATIENT = { ...CALL, timeout: 60_000 };

test("whoever comes and goes: the queue is what the rule makes of it", SLOW, async () => {
  await using backend = redis(server.url);
  const { lease } = await open(backend, 60_000);
  for (let seed = 1; seed <= 40; seed++) await game(lease, seed);

  async function game(lease: Lease, seed: number): Promise<void> {
    const random = new Random(`crowd ${seed}`);
    const below = (n: number) => random.whole(0, n - 1);
    const key = `holdfast/game${seed}`;
    const limits = [[1], [Infinity], [3], [1, Infinity], [1, 2, 5, Infinity]][seed % 5]!;
    let queue: Claim[] = [];
    for (let step = 0; step < 60; step++) {
      const limit = limits[below(limits.length)]!;
      const mode = limit === Infinity ? "shared" : "exclusive";
      const dice = below(10);
      if (dice < 5 || queue.length === 0) {
        const steal = mode === "exclusive" && below(30) === 0;
        const one = claim({
          key,
          limit,
          steal,
          wait: dice !== 4,
          metadata: dice % 2 ? `{"n":${step}}` : undefined,
        });
        const { state } = await lease.attempt(one, PATIENT);
        if (steal) queue = [];
        queue.push(one);
        const holds = holders(queue) === queue.length;
        assert.equal(state, holds ? "granted" : "contended", `seed ${seed}, step ${step}`);
        if (!holds && !one.wait) queue.pop();
      } else if (dice < 8) {
        const [one] = queue.splice(below(queue.length), 1) as [Claim];
        assert.equal(await lease.release(one, entered(PATIENT)), true);
      } else {
        const outcomes = await lease.renew(queue, PATIENT);
        const states = queue.map(({ id }) => outcomes.get(id)?.state);
        assert.deepEqual(states, queue.map((_, n) => n < holders(queue) ? "granted" : "contended"));
      }
      const seen = await backend.list(key, PATIENT);
      assert.deepEqual(
        seen.map(({ id, held, metadata }) => ({ id, held, metadata })),
        queue.map(({ id, metadata }, n) => ({ id, held: n < holders(queue), metadata })),
        `seed ${seed}, step ${step}`,
      );
    }
    for (const one of queue) await lease.release(one, entered(PATIENT));
  }
});

test("everybody who has expired at once makes room at once, however many", SLOW, async () => {
  await using backend = redis(server.url);
  const { lease: brief } = await open(backend, 5_000); // of which none may be over while the others come
  const { lease } = await open(backend, 60_000);
  const key = "holdfast/expired";
  const dead = Array.from({ length: 300 }, () => claim({ key, limit: Infinity }));
  await Promise.all(dead.map((one) => brief.attempt(one, PATIENT)));
  const waiting = Array.from({ length: 300 }, () => claim({ key }));
  await Promise.all(waiting.map((one) => brief.attempt(one, PATIENT)));
  const two = Array.from({ length: 2 }, () => claim({ key: "holdfast/two" }));
  await Promise.all(two.map((one) => brief.attempt(one, PATIENT)));
  let reader = claim({ key, limit: Infinity, wait: false });
  assert.equal((await lease.attempt(reader, PATIENT)).state, "contended");
  await sleep(5_100);
  reader = claim({ ...reader, id: crypto.randomUUID() });
  const outcomes = [...(await brief.renew(two, PATIENT)).values()];
  assert.deepEqual(outcomes, Array(2).fill({ state: "gone", why: "expired" }));
  // One try is enough, although one script does not take out so many.
  assert.equal((await lease.attempt(reader, PATIENT)).state, "granted");
  assert.deepEqual((await backend.list(key, PATIENT)).map(({ id }) => id), [reader.id]);
  assert.deepEqual(
    [...(await brief.renew(dead.slice(0, 2), PATIENT)).values()].map(({ state }) => state),
    ["gone", "gone"],
  );
});

test("a thief robs everybody in one step, and they hear of it, however many", SLOW, async () => {
  await using backend = redis(server.url);
  const { lease, lost } = await open(backend, 60_000);
  const key = "holdfast/robbed";
  const held = Array.from({ length: 150 }, () => claim({ key, limit: Infinity }));
  const waiting = Array.from({ length: 150 }, () => claim({ key }));
  for (const one of [...held, ...waiting]) await lease.attempt(one, PATIENT);
  const calls = waiting.toSpliced(148, 1).map((one) => lease.changed(one, CALL));
  const thief = claim({ key, steal: true });
  const [granted, after, robbed] = await Promise.all([
    lease.attempt(thief, PATIENT),
    lease.attempt(claim({ key, client: "after" }), PATIENT),
    lease.attempt(waiting[148]!, entered(PATIENT)), // who is still there, since it is too many for one script
  ]);
  assert.deepEqual([granted.state, after.state], ["granted", "contended"]);
  assert.deepEqual(robbed, { state: "gone", why: "stolen" });
  assert.ok((await Promise.all(calls)).every((news) => news?.state === "gone" && news.why === "stolen"));
  while (lost.length < held.length) await sleep(10);
  assert.deepEqual(new Set(lost.map(([, id]) => id)), new Set(held.map(({ id }) => id)));
  // Neither by asking nor by a copy that was under way do they come back.
  for (const [one, call] of [[held[149]!, entered(PATIENT)], [waiting[0]!, PATIENT]] as const) {
    assert.deepEqual(await lease.attempt(one, call), { state: "gone", why: "stolen" });
  }
  assert.equal(await lease.release(waiting[149]!, entered(PATIENT)), false);
  assert.deepEqual((await backend.list(key, PATIENT)).map(({ id, held }) => held || id).length, 2);
});

test("who is robbed by a later one of the same call is not told that it holds", async () => {
  await using backend = redis(server.url);
  const { lease } = await open(backend, 60_000);
  const key = "holdfast/breath";
  await lease.attempt(claim({ key }), PATIENT);
  const asked = [
    claim({ key: "holdfast/other" }),
    claim({ key }),
    claim({ key, steal: true }),
    claim({ key }),
  ];
  const outcomes = await Promise.all(asked.map((one) => lease.attempt(one, PATIENT)));
  assert.deepEqual(outcomes.map(({ state }) => state), ["granted", "gone", "granted", "contended"]);
});

test("a lock that passes between two is seen to, and not given to somebody dead", async () => {
  await using backend = redis(server.url);
  const { lease: brief } = await open(backend, 500);
  const { lease } = await open(backend, 60_000);
  const key = "holdfast/pair";
  let seen = 0;
  await using _watch = await backend.watch(key, { changed: () => void seen++, failed() {} }, CALL);
  const [first, second, dead] = [claim({ key }), claim({ key }), claim({ key })];
  await lease.attempt(first, PATIENT);
  await lease.attempt(second, PATIENT);
  await lease.attempt(claim({ key: "holdfast/aside" }), PATIENT); // by now what was said has been heard
  const before = seen;
  assert.equal(await lease.release(first, PATIENT), true);
  await lease.attempt(claim({ key: "holdfast/aside2" }), PATIENT);
  assert.equal(seen, before + 1, "who watches is told of the hand-over");
  await brief.attempt(dead, PATIENT);
  let news: unknown;
  void brief.changed(dead, CALL).then((said) => news = said);
  await sleep(600);
  assert.equal(await lease.release(second, PATIENT), true);
  assert.equal((await lease.attempt(claim({ key }), PATIENT)).state, "granted");
  assert.equal(news, undefined, "the dead are told nothing");
});

test("a theft of which nothing was heard is found by the release", async () => {
  await using backend = redis(server.url);
  await using other = redis(server.url);
  const { lease, lost } = await open(backend, 60_000);
  const { lease: thieves } = await open(other, 60_000);
  const key = "holdfast/unheard";
  const victim = claim({ key });
  await lease.attempt(victim, PATIENT);
  await thieves.attempt(claim({ key, steal: true }), PATIENT);
  assert.equal(await lease.release(victim, PATIENT), false);
  assert.deepEqual(lost[0], ["stolen", victim.id]);
});

test("what another program keeps under a key is left alone", async () => {
  await using backend = redis(server.url);
  const { lease } = await open(backend, 60_000);
  const theirs = [["set", "mine"], ["hset", "mine", "1"], ["zadd", "1", "mine"], ["rpush", "mine"], [
    "sadd",
    "mine",
  ]];
  for (const [n, [command, ...args]] of theirs.entries()) {
    const key = `{foreign${n}}`;
    await server.cli(command!, `holdfast/${key}`, ...args);
    const before = await server.cli("dump", `holdfast/${key}`);
    for (
      const options of [{}, { wait: false }, { limit: Infinity }, { steal: true }] as const
    ) {
      const one = claim({ key: `holdfast/foreign${n}`, ...options });
      await assert.rejects(lease.attempt(one, PATIENT), {
        message: /WRONGTYPE.*another `prefix`/,
        retryable: false,
      });
    }
    assert.equal(await server.cli("dump", `holdfast/${key}`), before, command);
  }
});

test("the first in line is told when the time of who holds is up, and nobody else", async () => {
  await using backend = redis(server.url);
  const { lease: brief } = await open(backend, 4_500);
  const { lease } = await open(backend, 60_000);
  for (const holders of [[{ limit: 1 }], [{ limit: 2 }, { limit: 2 }]]) {
    const key = `holdfast/line${holders.length}`;
    for (const holder of holders) await brief.attempt(claim({ key, ...holder }), PATIENT);
    const [first, second] = [claim({ key }), claim({ key })];
    const told = await lease.attempt(first, PATIENT);
    assert.ok(told.state === "contended" && told.recheck! > 0 && told.recheck! <= 4_500);
    assert.deepEqual(await lease.attempt(second, PATIENT), { state: "contended", recheck: 5_000 });
    const again = await lease.renew([first, second], PATIENT);
    const [one, two] = [first, second].map(({ id }) => (again.get(id) as { recheck: number }).recheck);
    assert.ok(one! <= 4_500 && two === 5_000);
  }
});

test("readers whom a writer has kept out are let in together, however many", SLOW, async () => {
  await using backend = redis(server.url);
  const { lease } = await open(backend, 60_000);
  const key = "holdfast/readers";
  const writer = claim({ key });
  await lease.attempt(writer, PATIENT);
  const readers = Array.from({ length: 500 }, () => claim({ key, limit: Infinity }));
  await Promise.all(readers.map((one) => lease.attempt(one, PATIENT)));
  const next = claim({ key });
  await lease.attempt(next, PATIENT);
  const called = readers.map((one) => lease.changed(one, CALL));
  assert.equal(await lease.release(writer, entered(PATIENT)), true);
  assert.ok((await Promise.all(called)).every((news) => news?.state === "granted"));
  const queue = await backend.list(key, PATIENT);
  assert.deepEqual(queue.map(({ id, held }) => [id, held]), [...readers.map(({ id }) => [id, true]), [
    next.id,
    false,
  ]]);
});

test(
  "an operation sends the server the same commands, whether ten are in the queue or 3 000",
  SLOW,
  async () => {
    await using backend = redis(server.url);
    const { lease } = await open(backend, 60_000);
    const kinds = {
      exclusive: { mode: "exclusive", limit: 1 },
      readers: { limit: Infinity },
      permits: { mode: "exclusive", limit: 5_000 },
    } as const;
    for (const [name, kind] of Object.entries(kinds)) {
      const key = `holdfast/cost of ${name}`.replaceAll(" ", "-");
      const all = Array.from({ length: 3_000 }, () => claim({ key, ...kind }));
      const once = async () => {
        await server.cli("config", "resetstat");
        const one = claim({ key, ...kind });
        await lease.attempt(one, PATIENT);
        await lease.attempt(claim({ key, wait: false }), PATIENT);
        await lease.renew([one], PATIENT);
        await lease.release(one, entered(PATIENT));
        const stats = await server.cli("info", "commandstats");
        return [...stats.matchAll(/cmdstat_(?!info|config)(\S+?):calls=(\d+)/g)].map(([, command, calls]) =>
          [command!, Number(calls)] as const
        );
      };
      // The least of several, since the backend sends an echo to itself now and then.
      const cost = async () => {
        const all = [new Map(await once()), new Map(await once()), new Map(await once())];
        const least = (command: string) => Math.min(...all.map((one) => one.get(command) ?? 0));
        return [...all[0]!.keys()].map((command) => `${command} ${least(command)}`)
          .filter((text) => !text.endsWith(" 0")).sort();
      };
      await Promise.all(all.slice(0, 10).map((one) => lease.attempt(one, PATIENT)));
      const few = await cost();
      await Promise.all(all.slice(10).map((one) => lease.attempt(one, PATIENT)));
      assert.deepEqual(await cost(), few, name);
      await server.cli("del", `holdfast/{cost-of-${name}}`);
    }
  },
);

test("2 000 waiters on one key are served in their order, without one failed call", SLOW, async () => {
  const warnings: string[] = [];
  const logger = { debug() {}, warn: (text: string) => void warnings.push(text) };
  await using locks = new LockManager(redis(server.url), { logger });
  const first = await locks.acquire("popular");
  const served: number[] = [];
  const all = Array.from({ length: 2_000 }, async (_, n) => {
    const lock = await locks.acquire("popular");
    served.push(n);
    assert.equal(await lock.release(), true);
  });
  while ((await locks.inspect("popular"))!.waiters.length < 2_000) await sleep(50);
  await first.release();
  await Promise.all(all);
  assert.deepEqual(served, served.toSorted((a, b) => a - b));
  assert.deepEqual(warnings.filter((text) => !text.includes("its own manager")), []);
});
