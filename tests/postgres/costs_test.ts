/** What locks cost the server, by its own count: statements, writes, notifications, connections, room. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import pg from "pg";
import { postgres } from "../../backends/postgres.ts";
import { route } from "../../backends/postgres/address.ts";
import { PostgresQueues } from "../../backends/postgres/queues.ts";
import { Store } from "../../backends/postgres/store.ts";
import { QueueLease } from "../../backends/shared/queue_lease.ts";
import { LockManager } from "../../mod.ts";
import { PostgresServer } from "../servers/postgres.ts";
import { until } from "../servers/process.ts";
import { CALL, claim, entered, open, request, waiter } from "../support.ts";
import { counts, logged, statements } from "./statements.ts";

const SLOW = { timeout: 120_000 };
const PATIENT = { ...CALL, timeout: 60_000 };
const TTL = 300_000;

// What the server does by itself would write as well.
const server = await PostgresServer.start({ args: ["-c", "fsync=off", "-c", "autovacuum=off"] });
after(() => server[Symbol.asyncDispose]());

function manager(): LockManager {
  return new LockManager(postgres(logged(server)), { ttl: TTL });
}

/** The number of the next transaction that writes. */
function written(): Promise<string> {
  return server.sql("SELECT pg_snapshot_xmax(pg_current_snapshot())");
}

/** Connections besides the one that asks. */
async function connections(): Promise<number> {
  return Number(
    await server.sql(`SELECT count(*) FROM pg_stat_activity
      WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`),
  );
}

/** Hears what the process is told whose claims wait for a lock. */
async function eavesdrop(key: string): Promise<AsyncDisposable & { heard(): Promise<string[]> }> {
  const channel = await server.sql(`SELECT DISTINCT ear FROM holdfast.claims
    WHERE key = 'holdfast/${key}' AND id IS NOT NULL AND ear <> ''`);
  const client = new pg.Client({ connectionString: server.url });
  let said: string[] = [];
  let end: (() => void) | undefined;
  client.on("notification", ({ payload = "" }) => payload === "end" ? end?.() : said.push(payload));
  await client.connect();
  await client.query(`LISTEN ${channel}`);
  return {
    /** What was said since the last time: notifications come in the order of the commits. */
    async heard() {
      const ended = new Promise<void>((resolve) => end = resolve);
      await client.query(`NOTIFY ${channel}, 'end'`);
      await ended;
      return [said, said = []][0]!;
    },
    [Symbol.asyncDispose]: () => client.end(),
  };
}

test("one statement to acquire, one to try in vain, which writes nothing, and one to release", async () => {
  await using locks = manager();
  await (await locks.acquire("cycle")).release();
  const lock = await locks.acquire("cycle");
  const before = await written();
  const tried = await statements(server, async () => {
    assert.equal(await locks.tryAcquire("cycle"), undefined);
    assert.equal(await locks.tryAcquire("cycle", { mode: "shared" }), undefined);
  });
  assert.deepEqual(tried.map(({ calls }) => calls), [["enter"], ["enter"]]);
  assert.equal(await written(), before);
  const cycle = await statements(server, async () => {
    await lock.release();
    await locks.acquire("cycle");
  });
  assert.deepEqual(cycle.map(({ calls }) => calls), [["leave"], ["enter"]]);
  assert.equal(Number(await written()), Number(before) + 2);
});

test("one statement renews 250 claims, and no queue is touched", SLOW, async () => {
  await using backend = postgres(logged(server));
  const { lease } = await open(backend, TTL);
  const claims = Array.from({ length: 1_000 }, (_, n) => claim({ key: `holdfast/held${n}` }));
  const made = await statements(server, () => Promise.all(claims.map((one) => lease.attempt(one, PATIENT))));
  const { enter } = counts(made);
  assert.ok(enter! <= 1_000 / 64 + 2, `${enter} statements for 1 000 attempts at once`);
  const renewed = await statements(server, async () => {
    const outcomes = await lease.renew(claims, PATIENT);
    assert.ok(claims.every(({ id }) => outcomes.get(id)?.state === "granted"));
  });
  assert.equal(counts(renewed)["renew"], 4);
});

test("200 waiters of a key: one statement and one notification a hand-over", SLOW, async () => {
  await using locks = manager();
  await using watch = locks.watch("other");
  await watch.ready; // so that whoever waits listens already, and does not ask again
  const first = await locks.acquire("crowd");
  const served: number[] = [];
  const all = Array.from({ length: 200 }, async (_, n) => {
    const lock = await locks.acquire("crowd");
    served.push(n);
    await lock.release();
  });
  await until(
    async () => (await locks.inspect("crowd"))?.waiters.length === 200,
    () => "they do not all wait",
  );
  await using spy = await eavesdrop("crowd");
  const spent = await statements(server, async () => {
    await first.release();
    await Promise.all(all);
  });
  assert.deepEqual(served, Array.from({ length: 200 }, (_, n) => n));
  assert.deepEqual(counts(spent), { leave: 201 });
  const heard = await spy.heard();
  assert.equal(heard.length, 200);
  assert.ok(heard.every((said) => said.startsWith("granted ")));
});

test("a notification is sent only if another process waits, or watches", async () => {
  await using locks = manager();
  await using others = manager();
  const lock = await locks.acquire("quiet");
  const { lock: waiting } = await waiter(others, "quiet");
  await using spy = await eavesdrop("quiet");
  await lock.release();
  await (await waiting).release();
  assert.equal((await spy.heard()).length, 1);
  for (const mode of ["exclusive", "shared"] as const) {
    await using _one = await others.acquire("quiet", { mode });
    assert.equal(await locks.tryAcquire("quiet"), undefined);
    await using _two = mode === "shared" ? await locks.acquire("quiet", { mode }) : undefined;
  }
  assert.equal((await spy.heard()).length, 0);
  await using watch = others.watch("quiet");
  await watch.ready;
  await (await locks.acquire("quiet")).release();
  assert.ok((await spy.heard()).length > 0);
});

test("one connection for calls, and another one once it has to wait, however many locks", SLOW, async () => {
  // The server may still be ending those of the tests before.
  const become = (count: number) =>
    until(async () => await connections() === count, () => `there are not ${count} connections`);
  await become(0);
  const locks = manager();
  await Promise.all(Array.from({ length: 300 }, (_, n) => locks.acquire(`one${n}`)));
  await Promise.all(Array.from({ length: 300 }, () => locks.acquire("many", { mode: "shared" })));
  assert.equal(await locks.tryAcquire("one0"), undefined);
  await become(1);
  const waiting = Array.from({ length: 300 }, (_, n) => locks.acquire(`one${n}`).catch(() => {}));
  await until(
    async () => (await locks.query()).pending!.length === 300,
    () => "they do not all wait",
  );
  await become(2);
  await locks.close();
  await Promise.all(waiting);
  await become(0);
});

/** Bytes of the tables and their indexes. */
async function room(): Promise<number> {
  return Number(
    await server.sql(`SELECT sum(pg_total_relation_size(oid)) FROM pg_class
      WHERE relnamespace = 'holdfast'::regnamespace AND relkind = 'r'`),
  );
}

test("3 000 cycles, of one key and of a hundred, take no more room than the first", SLOW, async () => {
  await using locks = manager();
  const each = () =>
    Promise.all(
      Array.from({ length: 100 }, async (_, n) => await (await locks.acquire(`of ${n}`)).release()),
    );
  for (let round = 0; round < 3; round++) await each();
  const before = await room();
  for (let round = 0; round < 20; round++) await each();
  for (let cycle = 0; cycle < 1_000; cycle++) await (await locks.acquire("of 0")).release();
  assert.equal(await room(), before);
});

test("what a contended lock leaves is gone with the next vacuum", SLOW, async () => {
  await using locks = manager();
  const crowd = () =>
    Promise.all(Array.from({ length: 500 }, async () => await (await locks.acquire("worn")).release()));
  await crowd();
  await server.sql("VACUUM holdfast.claims");
  const before = await room();
  for (let round = 0; round < 3; round++) {
    await crowd();
    await server.sql("VACUUM holdfast.claims");
  }
  assert.ok(await room() <= before, `${await room()} after ${before}`);
});

test("queues that have been free for long are forgotten, as others are made", SLOW, async () => {
  const to = route(server.url, { schema: "swept" });
  const store = new Store(to, { ...to, trusted: false }, { memory: 1, warn() {}, deaf() {} });
  const lease = new QueueLease(request(TTL), (ears) => new PostgresQueues(store, request(TTL), ears));
  for (let n = 0; n < 1_500; n += 50) {
    await Promise.all(Array.from({ length: 50 }, async (_, m) => {
      const one = claim({ key: `holdfast/fresh${n + m}` });
      await lease.attempt(one, PATIENT);
      await lease.release(one, entered(PATIENT));
    }));
    await server.sql("VACUUM swept.claims");
  }
  const left = Number(
    await server.sql("SELECT count(*) FROM swept.claims"),
  );
  store.close();
  assert.ok(left < 750, `${left} of 1 500 are left`);
});
