/** What is written under a lock, in its own database, is written by its holder or not at all. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import client from "postgres";
import pg from "pg";
import { guarded, postgres } from "../../backends/postgres.ts";
import { LockManager } from "../../mod.ts";
import { until } from "../servers/process.ts";
import { PostgresServer } from "../servers/postgres.ts";
import { script } from "../servers/script.ts";
import { next, over, waiter } from "../support.ts";

const server = await PostgresServer.start({ args: ["-c", "fsync=off"] });
const sql = client(server.url, { max: 5, onnotice: () => {} });
const pool = new pg.Pool({ connectionString: server.url, max: 5 });
pool.on("error", () => {});
after(async () => {
  await sql.end({ timeout: 1 });
  await pool.end();
  await server[Symbol.asyncDispose]();
});
await sql`CREATE TABLE ledger (n serial, token bigint, writer text)`;

const open = () => new LockManager(postgres(server.url));
const writers = async () => (await sql`SELECT writer FROM ledger ORDER BY n`).map(({ writer }) => writer);
const reset = () => sql`DELETE FROM ledger`;

test("the work is committed, whichever client begins the transaction, and its result returned", async () => {
  await reset();
  await using locks = open();
  await using lock = await locks.acquire(["a", "b"]);
  const done = await guarded(sql, lock, async (tx) => {
    await tx`INSERT INTO ledger (writer) VALUES ('postgres')`;
    return 1;
  });
  const also = await guarded(pool, lock, async (tx) => {
    await tx.query("INSERT INTO ledger (writer) VALUES ('pg')");
    return 2;
  });
  assert.deepEqual([done, also, await writers()], [1, 2, ["postgres", "pg"]]);
  const { SQL } = (globalThis as { Bun?: { SQL: new (url: string) => typeof sql } }).Bun ?? {};
  if (SQL === undefined) return;
  await using bun = new SQL(server.url) as typeof sql & AsyncDisposable;
  await guarded(bun, lock, (tx) => tx`INSERT INTO ledger (writer) VALUES ('bun')`);
  assert.deepEqual(await writers(), ["postgres", "pg", "bun"]);
});

test("what the work throws is thrown, and nothing is written", async () => {
  await reset();
  await using locks = open();
  await using lock = await locks.acquire("k");
  for (const begin of [sql, pool]) {
    const work = async (tx: unknown) => {
      const text = "INSERT INTO ledger (writer) VALUES ('nobody')";
      if (begin === sql) await (tx as client.TransactionSql).unsafe(text);
      else await (tx as pg.PoolClient).query(text);
      throw new Error("no");
    };
    await assert.rejects(guarded(begin as typeof sql, lock, work), { message: "no" });
  }
  assert.deepEqual(await writers(), []);
});

// Red if: the answer to COMMIT is not looked at: pg takes a ROLLBACK for success.
test("work that goes on after a statement has failed is not committed, and that is said", async () => {
  await reset();
  await using locks = open();
  await using lock = await locks.acquire("k");
  await assert.rejects(guarded(sql, lock, (tx) => tx`SELECT 1/0`.catch(() => {})));
  const swallowed = guarded(pool, lock, (tx) => tx.query("SELECT 1/0").catch(() => {}));
  await assert.rejects(swallowed, { name: "BackendError", message: /rolled back/, retryable: false });
  await guarded(pool, lock, (tx) => tx.query("SELECT 1"));
});

// Red if: the connection that a pool lends has no listener for errors: the process would end.
test("the server may end the transaction at any moment", async () => {
  await using locks = open();
  await using lock = await locks.acquire("k");
  for (const begin of [sql, pool]) {
    const ended = guarded(begin as typeof sql, lock, async () => {
      const text = "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction'";
      const pid = await server.sql(text);
      await server.sql(`SELECT pg_terminate_backend(${pid})`);
      await until(async () => await server.sql(text) === "", () => "it goes on");
    });
    await assert.rejects(ended);
  }
  await guarded(pool, lock, (tx) => tx.query("SELECT 1"));
});

// Red if: `guard` does not ask for the claim, its token or its time.
test("a lock that is not held lets nothing be written", async () => {
  await reset();
  await using locks = open();
  await using thief = open();
  const stolen = await locks.acquire("k");
  await using _ = await thief.acquire("k", { steal: true });
  const write = (tx: client.TransactionSql) => tx`INSERT INTO ledger (writer) VALUES ('nobody')`;
  // The victim may not have heard of it yet.
  await assert.rejects(guarded(sql, stolen, write), { name: "LockLostError", why: "stolen" });
  await over(stolen);
  await assert.rejects(guarded(sql, stolen, write), { name: "LockLostError", why: "stolen" });
  const released = await locks.acquire("other");
  await released.release();
  await assert.rejects(guarded(pool, released, () => Promise.resolve()), { name: "LockReleasedError" });
  const expired = await locks.acquire("k2", { ttl: 500, renew: false });
  await over(expired);
  // A little later than its holder, the server takes it for expired as well.
  const answer = async () =>
    (await sql`SELECT holdfast.guard('holdfast/k2', ${String(expired.token)}, ${expired.id})`)[0]!.guard;
  await until(async () => await answer() === "missing", () => "it does not expire");
  assert.deepEqual(await writers(), []);
});

// Red if: whoever expired is taken out without a look at whether a transaction works under it.
test("nobody is given an expired lock before the transaction has ended", async () => {
  await reset();
  await using locks = open();
  await using others = open();
  assert.ok(await others.tryAcquire("other")); // it is connected by now
  const lock = await locks.acquire("k", { ttl: 6_000, renew: false });
  const { lock: second } = await waiter(others, "k");
  let granted = false;
  const written = second.then(async (lock) => {
    granted = true;
    await sql`INSERT INTO ledger (token, writer) VALUES (${String(lock.token)}, 'second')`;
    await lock.release();
  });
  await guarded(sql, lock, async (tx) => {
    await tx`INSERT INTO ledger (token, writer) VALUES (${String(lock.token)}, 'first')`;
    await over(lock);
    // Somebody has looked at the queue since, and has not taken the holder out.
    const queue = async () =>
      (await sql`SELECT soonest, expires FROM holdfast.claims WHERE key = 'holdfast/k'`)[0]!;
    await until(async () => {
      await others.tryAcquire("k");
      const { soonest, expires } = await queue();
      return BigInt(soonest) === BigInt(expires);
    }, () => "nobody looks");
    assert.equal(granted, false);
  }, { timeout: 60_000 });
  await written;
  assert.deepEqual(await writers(), ["first", "second"]);
});

test("a thief and a release wait for the transaction", async () => {
  await reset();
  // A release waits for half of the time of a call.
  await using locks = new LockManager(postgres(server.url), { ttl: 60_000, retryFor: 60_000 });
  await using others = open();
  const lock = await locks.acquire("k");
  let theft: Promise<unknown>;
  await guarded(pool, lock, async (tx) => {
    await tx.query("INSERT INTO ledger (writer) VALUES ('first')");
    const failed = next(others, "error");
    theft = others.acquire("k", { steal: true }).then(async (thief) => {
      await sql`INSERT INTO ledger (writer) VALUES ('thief')`;
      return await thief.release();
    });
    await failed; // tried in vain, and tried again
  });
  assert.equal(await theft!, true);
  const again = await locks.acquire("k");
  let released: Promise<boolean>;
  await guarded(sql, again, async (tx) => {
    await tx`INSERT INTO ledger (writer) VALUES ('again')`;
    released = again.release();
    assert.equal(await others.tryAcquire("k"), undefined);
  });
  assert.equal(await released!, true);
  await using last = await others.acquire("k");
  assert.ok(last.token > again.token);
  assert.deepEqual(await writers(), ["first", "thief", "again"]);
});

// Red if: a renewal waits for the transaction, or changes what it has locked.
test("renewals go on beside the transaction", async () => {
  await using locks = open();
  await using lock = await locks.acquire("k", { ttl: 60_000 });
  await guarded(sql, lock, async (tx) => {
    await tx`SELECT 1`;
    for (let time = 0; time < 3; time++) {
      await lock.renew();
      assert.ok(lock.held);
    }
  });
  assert.equal(await lock.release(), true);
});

test("a holder stopped between its writes and its commit, past its ttl, comes before the next", async () => {
  await reset();
  await using locks = open();
  const child = await Stopped.start("60000");
  let granted = false;
  const second = locks.acquire("k").then(async (lock) => {
    granted = true;
    await sql`INSERT INTO ledger (token, writer) VALUES (${String(lock.token)}, 'second')`;
    await lock.release();
  });
  await child.expired();
  assert.equal(granted, false);
  child.continue();
  assert.equal(await child.outcome, "committed");
  await second;
  assert.deepEqual(await writers(), ["child", "second"]);
});

test("and one that stays stopped is ended by the server, and nothing of it written", async () => {
  await reset();
  await using locks = open();
  const child = await Stopped.start("5000");
  await using lock = await locks.acquire("k");
  await sql`INSERT INTO ledger (token, writer) VALUES (${String(lock.token)}, 'second')`;
  child.continue();
  assert.notEqual(await child.outcome, "committed");
  assert.deepEqual(await writers(), ["second"]);
});

test("work that takes too long is rolled back", async () => {
  await reset();
  await using locks = open();
  await using lock = await locks.acquire("k");
  for (const begin of [sql, pool]) {
    const never = guarded(begin as typeof sql, lock, () => new Promise<never>(() => {}), { timeout: 50 });
    await assert.rejects(never, { name: "TimeoutError" });
  }
  await guarded(pool, lock, (tx) => tx.query("SELECT 1"));
});

test("the wait for a connection counts, and nothing is done after it", async () => {
  await reset();
  await using locks = open();
  await using lock = await locks.acquire("k");
  const one = new pg.Pool({ connectionString: server.url, max: 1 });
  const single = client(server.url, { max: 1, onnotice: () => {} });
  const lent = await one.connect();
  const reserved = await single.reserve();
  const write = (tx: unknown) => {
    const text = "INSERT INTO ledger (writer) VALUES ('late')";
    return "query" in (tx as object)
      ? (tx as pg.PoolClient).query(text)
      : (tx as client.TransactionSql).unsafe(text);
  };
  for (const begin of [one, single]) {
    const late = guarded(begin as unknown as typeof sql, lock, write as never, { timeout: 50 });
    await assert.rejects(late, { name: "TimeoutError" });
  }
  lent.release();
  reserved.release();
  await one.query("SELECT 1"); // after what waited before it
  await single`SELECT 1`;
  assert.deepEqual(await writers(), []);
  await one.end();
  await single.end({ timeout: 1 });
});

test("bad input is refused", async () => {
  await using locks = open();
  await using lock = await locks.acquire("k");
  const nothing = () => Promise.resolve();
  await assert.rejects(guarded(sql, lock, nothing, { timeout: 0 }), RangeError);
  await assert.rejects(guarded(sql, lock, nothing, { timout: 5 } as object), {
    name: "TypeError",
    message: /timeout/,
  });
  await assert.rejects(guarded({} as typeof sql, lock, nothing), TypeError);
  await assert.rejects(guarded(sql, {} as typeof lock, nothing), TypeError);
  await assert.rejects(guarded(null as never, lock, nothing), {
    name: "TypeError",
    message: /begin a transaction/,
  });
  await assert.rejects(guarded(sql, lock, 5 as never), { name: "TypeError", message: /work.*function/ });
  await assert.rejects(guarded(sql, lock, nothing, { schema: "pg_x" }), TypeError);
});

/** A holder in a process of its own, stopped when it has written and not committed. */
class Stopped {
  readonly #process;
  readonly outcome: Promise<string>;

  private constructor(process: ReturnType<typeof spawn>, outcome: Promise<string>) {
    this.#process = process;
    this.outcome = outcome;
  }

  static async start(timeout: string): Promise<Stopped> {
    const args = [server.url, "3000", timeout];
    const child = spawn(...script(new URL("./guarded_child.ts", import.meta.url), args), {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator](); // which misses none
    assert.equal((await lines.next()).value, "written");
    process.kill(child.pid!, "SIGSTOP");
    return new Stopped(child, lines.next().then(({ value }) => value!));
  }

  /** Its ttl is over by the server's clock, and others have looked. */
  async expired(): Promise<void> {
    await until(async () => {
      const [row] = await sql`SELECT expires < extract(epoch FROM clock_timestamp()) * 1e6 - 500000 AS is
        FROM holdfast.claims WHERE key = 'holdfast/k' AND place = 0`;
      return row!.is;
    }, () => "it does not expire");
  }

  continue(): void {
    process.kill(this.#process.pid!, "SIGCONT");
    this.#process.stdin!.write("commit\n");
  }
}
