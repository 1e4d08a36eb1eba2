/** A queue of many: the same rule, in the same order, and no waiter that asks again and again. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { postgres } from "../../backends/postgres.ts";
import type { Backend, Claim, Lease, Outcome } from "../../internal/backend.ts";
import { PostgresServer } from "../servers/postgres.ts";
import { CALL, claim, entered, open, SHARED } from "../support.ts";
import { counts, logged, statements } from "./statements.ts";

const SLOW = { timeout: 120_000 };
const PATIENT = { ...CALL, timeout: 60_000 };
const TTL = 300_000;
const CROWD = 1_000;

const server = await PostgresServer.start({ args: ["-c", "fsync=off"] });
after(() => server[Symbol.asyncDispose]());

/** One process and its claims. It listens already, so that none of them has to ask again. */
async function process(): Promise<{ backend: Backend; lease: Lease }> {
  const backend = postgres(logged(server));
  await backend.watch("holdfast/other", { changed() {}, failed() {} }, PATIENT);
  return { backend, lease: (await open(backend, TTL)).lease };
}

async function enterAll(lease: Lease, claims: readonly Claim[]): Promise<Outcome["state"][]> {
  const outcomes = await Promise.all(claims.map((one) => lease.attempt(one, PATIENT)));
  return outcomes.map(({ state }) => state);
}

function many(key: string, options: Partial<Claim> = {}, count = CROWD): Claim[] {
  return Array.from({ length: count }, () => claim({ key, ...options }));
}

test("1 000 waiters of two processes are served in order, and none of them asks again", SLOW, async () => {
  const [a, b] = [await process(), await process()];
  await using _a = a.backend;
  await using _b = b.backend;
  const key = "holdfast/popular";
  const first = claim({ key });
  assert.deepEqual(await enterAll(a.lease, [first]), ["granted"]);
  const queue: { one: Claim; lease: Lease }[] = [];
  for (let n = 0; n < CROWD; n += 50) {
    const { lease } = n % 100 === 0 ? a : b;
    const some = many(key, {}, 50);
    await enterAll(lease, some);
    queue.push(...some.map((one) => ({ one, lease })));
  }
  const served: string[] = [];
  const spent = await statements(server, async () => {
    const all = queue.map(async ({ one, lease }) => {
      assert.equal((await lease.changed(one, PATIENT))?.state, "granted");
      served.push(one.id);
      assert.equal(await lease.release(one, entered(PATIENT)), true);
    });
    await a.lease.release(first, entered(PATIENT));
    await Promise.all(all);
  });
  assert.deepEqual(served, queue.map(({ one }) => one.id));
  assert.deepEqual(counts(spent), { leave: CROWD + 1 });
});

test(
  "1 000 readers whom a writer has kept out are let in by its release, in one statement",
  SLOW,
  async () => {
    const { backend, lease } = await process();
    await using _ = backend;
    const key = "holdfast/readers";
    const [writer, next, ...readers] = [claim({ key }), claim({ key }), ...many(key, SHARED)] as const;
    assert.deepEqual(await enterAll(lease, [writer!]), ["granted"]);
    assert.ok((await enterAll(lease, readers)).every((state) => state === "contended"));
    assert.deepEqual(await enterAll(lease, [next!]), ["contended"]);
    const spent = await statements(server, async () => {
      const all = Promise.all(readers.map((one) => lease.changed(one, PATIENT)));
      await lease.release(writer!, entered(PATIENT));
      assert.ok((await all).every((said) => said?.state === "granted"));
    });
    assert.deepEqual(counts(spent), { leave: 1 });
    const queue = await backend.list(key, PATIENT);
    assert.deepEqual(queue.map(({ held }) => held), [...readers.map(() => true), false]);
  },
);

test("1 000 waiters who give up together are gone, and whoever holds notices nothing", SLOW, async () => {
  const { backend, lease } = await process();
  await using _ = backend;
  const key = "holdfast/given-up";
  const [holder, ...waiters] = [claim({ key }), ...many(key)] as const;
  await enterAll(lease, [holder!, ...waiters]);
  const spent = await statements(server, async () => {
    const gone = await Promise.all(waiters.map((one) => lease.release(one, entered(PATIENT))));
    assert.ok(gone.every((was) => was));
  });
  const { leave } = counts(spent);
  assert.ok(leave! <= CROWD / 64 + 2, `${leave} statements`);
  assert.deepEqual((await backend.list(key, PATIENT)).map(({ id, held }) => [id, held]), [[
    holder!.id,
    true,
  ]]);
});

test("500 who have expired make room at once, for whoever asks first", SLOW, async () => {
  const { backend, lease } = await process();
  await using _ = backend;
  const { lease: brief } = await open(backend, 2_000);
  const key = "holdfast/expired";
  const dead = [...many(key, SHARED, 250), ...many(key, {}, 250)];
  await enterAll(brief, dead);
  await sleep(2_100);
  const one = claim({ key, wait: false });
  const spent = await statements(server, async () => {
    assert.deepEqual(await enterAll(lease, [one]), ["granted"]);
  });
  assert.deepEqual(counts(spent), { enter: 1 });
  assert.deepEqual((await backend.list(key, PATIENT)).map(({ id }) => id), [one.id]);
  const outcomes = await brief.renew(dead, PATIENT);
  assert.ok(dead.every(({ id }) => outcomes.get(id)?.state === "gone"));
});

/** How many rows the server looks at for a call of one of our functions. */
async function visited(call: string): Promise<number> {
  const said = await server.sql(`SELECT holdfast.${call}; SELECT idx_tup_fetch + seq_tup_read
    FROM pg_stat_xact_user_tables WHERE schemaname = 'holdfast' AND relname = 'claims'`);
  return Number(said.split("\n").at(-1));
}

test("an operation looks at as many rows, whether ten are in the queue or 1 000", SLOW, async () => {
  const { backend, lease } = await process();
  await using _ = backend;
  for (const limit of [1, 5]) await same(`holdfast/rows${limit}`, limit);

  async function same(key: string, limit: number): Promise<void> {
    await enterAll(lease, many(key, { limit }, 10));
    await cost(key, limit); // what comes first keeps its claim in another row
    const few = await cost(key, limit);
    await enterAll(lease, many(key, { limit }));
    assert.deepEqual((await cost(key, limit)).map((rows, n) => rows <= few[n]! + 10), few.map(() => true));
  }

  async function cost(key: string, limit: number): Promise<number[]> {
    const last = await server.sql(`SELECT token || ' ' || id FROM holdfast.claims
      WHERE key = '${key}' AND id IS NOT NULL ORDER BY place DESC LIMIT 5`);
    const some = last.split("\n").map((line) => line.split(" "));
    const lists = ["text", "bigint", "text"].map((type, n) =>
      `'{${some.map(([token, id]) => [key, token, id][n])}}'::${type}[]`
    );
    const first = await server.sql(`SELECT id || ''', ' || token FROM holdfast.claims
      WHERE key = '${key}' AND id IS NOT NULL ORDER BY place LIMIT 1`);
    const enter =
      `'${key}', NULL, '${crypto.randomUUID()}', 0, ${limit}, 1000000000, 9000000000000000, 1, '', '', NULL`;
    return [
      await visited(`renew(${TTL}000, ${lists})`),
      await visited(`enter(${enter})`),
      await visited(`leave('${key}', '${some[0]![1]}', ${some[0]![0]}, 0)`),
      await visited(`leave('${key}', '${first}, 0)`),
    ];
  }
});
