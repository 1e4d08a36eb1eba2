/** What a holder and a waiter see of what is done to a Postgres server, or to a database in it. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { postgres } from "../../backends/postgres.ts";
import { BackendError } from "../../internal/errors.ts";
import { LockManager } from "../../mod.ts";
import { ServerClock } from "../servers/clock.ts";
import { PostgresPair, PostgresServer } from "../servers/postgres.ts";
import { run, until } from "../servers/process.ts";
import { Proxy } from "../servers/proxy.ts";
import { unprivileged } from "../servers/user.ts";
import { CALL, call, claim, enter, ENTERED, entered, open, waiter } from "../support.ts";
import { at, blocked, database, everything, fresh, session } from "./scene.ts";

const SLOW = { timeout: 120_000 };

/** What is not about the disk need not wait for it. */
const args = ["-c", "fsync=off"];
const server = await PostgresServer.start({ args });
after(() => server[Symbol.asyncDispose]());

for (const signal of ["SIGINT", "SIGKILL"] as const) {
  test(`a restart by ${signal}: locks are kept, waiters are served after it`, SLOW, async () => {
    await using server = await PostgresServer.start({ args });
    await using a = new LockManager(postgres(server.url), { ttl: 60_000, retryFor: 60_000 });
    await using b = new LockManager(postgres(server.url), { ttl: 60_000, retryFor: 60_000 });
    const lock = await a.acquire("k");
    const { lock: waiting } = await waiter(b, "k");
    await server.restart(signal);
    while (lock.held && !await lock.renew().then(() => true, () => false));
    assert.ok(lock.held);
    assert.equal(await b.tryAcquire("k"), undefined);
    assert.equal(await lock.release(), true);
    const next = await waiting;
    assert.ok(next.token > lock.token);
  });
}

// Red if: a grant or a renewal waits for the disk only where the database is set to.
test("synchronous_commit=off: grants and renewals are on disk, and a release need not be", SLOW, async () => {
  // What is not flushed by a commit itself stays in memory.
  const lazy = ["wal_writer_delay=10s", "autovacuum=off", "synchronous_commit=off"].flatMap((
    one,
  ) => ["-c", one]);
  await using server = await PostgresServer.start({ args: lazy });
  const { lease } = await open(postgres(server.url), 60_000);
  const [one, two] = [claim({ key: "holdfast/one" }), claim({ key: "holdfast/two" })];
  const unflushed = async () =>
    await server.sql("SELECT pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn()") === "t";
  let lazily = 0;
  for (let time = 0; time < 10 && lazily === 0; time++) {
    const gone = claim();
    await enter(lease, gone);
    await lease.release(gone, ENTERED);
    if (await unflushed()) lazily++;
  }
  assert.ok(lazily > 0, "no release waits for the disk");
  await enter(lease, one);
  const token = await enter(lease, two);
  const expiry = () => server.sql(`SELECT expires FROM holdfast.claims WHERE key = '${one.key}'`);
  await lease.renew([one], CALL);
  const renewed = await expiry();
  await server.restart("SIGKILL");
  assert.equal(await expiry(), renewed);
  await using backend = postgres(server.url);
  for (const { id, key } of [one, two]) {
    assert.deepEqual((await backend.list(key, CALL)).map((entry) => entry.id), [id]);
  }
  // Who waited is served by a release that is on disk, with the grant.
  const again = (await open(backend, 60_000)).lease;
  const waiting = claim({ key: two.key });
  assert.equal((await enter(again, waiting)).state, "contended");
  await until(() => lease.release(two, ENTERED).then(() => true, () => false), () => "not released");
  await server.restart("SIGKILL");
  const [holder] = await postgres(server.url).list(two.key, CALL);
  assert.equal(holder?.id, waiting.id);
  assert.ok(holder!.token! > (token as { token: bigint }).token);
});

// Red if: who has been told that its claim is over asks the store again.
test(
  "a release that a crash undoes: the claim is nobody's, and the next has a greater token",
  SLOW,
  async () => {
    await using server = await PostgresServer.start({
      args: [...args, "-c", "wal_writer_delay=10s", "-c", "autovacuum=off"],
    });
    await using backend = postgres(server.url);
    const { lease } = await open(backend, 60_000);
    const others = (await open(backend, 60_000)).lease;
    const undone = async () => {
      for (let time = 0; time < 10; time++) {
        const one = claim({ key: `holdfast/${time}` });
        const outcome = await enter(lease, one);
        assert.ok(outcome.state === "granted");
        assert.equal(await lease.release(one, ENTERED), true);
        await server.restart("SIGKILL");
        const list = () => backend.list(one.key, CALL);
        await until(() => list().then(() => true, () => false), () => "does not connect again");
        const [there] = await list();
        if (there !== undefined) return { one, token: outcome.token, there };
      }
      assert.fail("each release was on disk");
    };
    const { one, token, there } = await undone();
    assert.deepEqual([there.id, there.token], [one.id, token]);
    assert.equal((await lease.attempt(one, ENTERED)).state, "gone");
    assert.equal((await lease.renew([one], CALL)).get(one.id), undefined);
    const next = claim({ key: one.key });
    assert.equal((await enter(others, next)).state, "contended");
    await server.sql(`UPDATE holdfast.claims SET expires = 0, soonest = 0 WHERE id = '${one.id}'`);
    const granted = await enter(others, next);
    assert.ok(granted.state === "granted" && granted.token > token);
  },
);

const SETTINGS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  serializable: { default_transaction_isolation: "serializable" },
  repeatable: { default_transaction_isolation: "repeatable read", default_transaction_deferrable: "on" },
  read_only: { default_transaction_read_only: "on" },
  impatient: {
    statement_timeout: "10s",
    lock_timeout: "1s",
    idle_in_transaction_session_timeout: "50ms",
    idle_session_timeout: "5s", // a call that meets it fails, and not all are repeated
  },
  odd: {
    standard_conforming_strings: "off",
    search_path: "nowhere",
    escape_string_warning: "on",
    bytea_output: "escape",
    datestyle: "German",
    extra_float_digits: "-15",
    timezone: "Asia/Kathmandu",
    quote_all_identifiers: "on",
    array_nulls: "off",
    xmloption: "document",
    check_function_bodies: "off",
  },
};

for (const [name, settings] of Object.entries(SETTINGS)) {
  test(`a database with other defaults: ${Object.keys(settings).join(", ")}`, SLOW, async () => {
    const url = await database(server, name, settings);
    await everything(() => postgres(url));
  });
}

// Red if: a session that the server has ended is used again, or its end is taken for that of a lock.
test("a database that ends idle sessions: a lock is kept, and handed on", SLOW, async () => {
  const url = await database(server, "restless", { idle_session_timeout: "300ms" });
  const options = { ttl: 6_000, retryFor: 60_000 };
  await using a = new LockManager(postgres(url), options);
  await using b = new LockManager(postgres(url), options);
  const lock = await a.acquire("k");
  const { lock: waiting } = await waiter(b, "k");
  await sleep(3_000); // longer than a session may be idle, many times
  assert.ok(lock.held);
  assert.equal(await lock.release(), true);
  assert.ok((await waiting).token > lock.token);
});

// Red if: the defaults of the database hold for functions that have waited for a row.
test("no serialization failure is seen, whatever the database is set to", SLOW, async () => {
  const url = await database(server, "contended", { default_transaction_isolation: "serializable" });
  const backends = Array.from({ length: 6 }, () => postgres(url));
  let [inside, entries] = [0, 0];
  await Promise.all(backends.map(async (backend) => {
    await using locks = new LockManager(backend, { retryFor: 0, ttl: 60_000 });
    for (let time = 0; time < 20; time++) {
      await using _lock = await locks.acquire("k");
      assert.equal(++inside, 1);
      await sleep(1);
      inside--;
      entries++;
    }
  }));
  assert.equal(entries, 120);
  assert.doesNotMatch(server.process.log(10_000), /could not serialize/);
});

// Red if: a session is believed for ever to have the defaults that it was greeted with.
test("defaults that change under connections that stand cost no lock", SLOW, async () => {
  await using server = await PostgresServer.start({ args });
  const many = Array.from({ length: 4 }, () => new LockManager(postgres(server.url), { retryFor: 60_000 }));
  const lock = await many[0]!.acquire("held");
  let [inside, entries] = [0, 0];
  const contend = () =>
    Promise.all(many.map(async (locks) => {
      for (let time = 0; time < 15; time++) {
        await using _lock = await locks.acquire("k");
        assert.equal(++inside, 1);
        await sleep(1);
        inside--;
        entries++;
      }
    }));
  await contend();
  for (const [name, value] of [["isolation", "serializable"], ["read_only", "on"]]) {
    await server.sql(`ALTER SYSTEM SET default_transaction_${name} = '${value}'`);
    await server.sql("SELECT pg_reload_conf()");
    await until(
      async () => await server.sql(`SHOW default_transaction_${name}`) === value,
      () => "not loaded",
    );
    await contend();
    assert.ok(lock.held);
  }
  assert.equal(entries, 180);
  await lock.release();
  for (const locks of many) await locks.close();
});

// Red if: a connection goes on as it was greeted after a serialization failure.
test("a serialization failure is the last one of its connection", SLOW, async () => {
  await using server = await PostgresServer.start({ args });
  await using backend = postgres(server.url);
  const { lease } = await open(backend, 60_000);
  const mine = fresh();
  await enter(lease, mine);
  await using other = await session(server.url);
  /** It waits for a row, which another transaction changes. */
  const contended = async () => {
    await other.run(`BEGIN; UPDATE holdfast.claims SET last = last WHERE key = '${mine.key}'`);
    const answer = lease.attempt(mine, entered(call(60_000))).then(({ state }) => state, String);
    await blocked(server);
    await other.run("COMMIT");
    return await answer;
  };
  assert.equal(await contended(), "granted");
  await server.sql("ALTER SYSTEM SET default_transaction_isolation = 'serializable'");
  await server.sql("SELECT pg_reload_conf()");
  await until(async () => /could not serialize/.test(await contended()), () => "still read committed");
  assert.equal(await contended(), "granted");
});

// Red if: a list, or anything else, waits for a table without a limit.
test("a table locked by a migration: calls fail in time, and what is held outlasts it", SLOW, async () => {
  const url = await database(server, "migrated");
  await using locks = new LockManager(postgres(url), { ttl: 60_000, retryFor: 0 });
  await using backend = postgres(url);
  const { lease } = await open(backend, 60_000);
  const [one, two, three] = [fresh(), fresh(), fresh()];
  const lock = await locks.acquire("k");
  await enter(lease, one);
  await enter(lease, three);
  await using other = await session(url);
  await other.run("BEGIN; LOCK TABLE holdfast.claims IN ACCESS EXCLUSIVE MODE");
  const since = performance.now();
  const brief = () => call(3_000);
  const refusal =
    /Cannot ask Postgres at .*: canceling statement due to lock timeout \(another session has locked/;
  // Each in line behind the other ones, by the same connection.
  await assert.rejects(lease.attempt(two, brief()), refusal);
  await assert.rejects(lease.renew([one], brief()), refusal);
  await assert.rejects(lease.release(three, entered(brief())), refusal);
  await assert.rejects(backend.list(one.key, brief()), refusal);
  await assert.rejects(lease.renew([one], brief()), refusal);
  assert.ok(performance.now() - since < 15_000, "each in half of its time");
  await assert.rejects(locks.tryAcquire("k"), BackendError);
  await other.run("COMMIT");
  await lock.renew();
  assert.equal((await lease.renew([one], CALL)).get(one.id)?.state, "granted");
  assert.equal(await lease.release(three, ENTERED), true);
  assert.equal(await lock.release(), true);
});

test(
  "the primary stopped, its synchronous replica promoted: locks are kept, waiters stay in line",
  SLOW,
  async () => {
    await using pair = await PostgresPair.start({ synchronous: true, args });
    const url = `postgres://postgres@127.0.0.1:${pair.primary.port},127.0.0.1:${pair.replica.port}/postgres`;
    await using a = new LockManager(postgres(url), { ttl: 60_000, retryFor: 60_000 });
    await using b = new LockManager(postgres(url), { ttl: 60_000, retryFor: 60_000 });
    const lock = await a.acquire("k");
    const { lock: waiting } = await waiter(b, "k");
    await pair.primary.kill();
    await pair.promote();
    while (lock.held && !await lock.renew().then(() => true, () => false));
    assert.ok(lock.held);
    assert.equal(await b.tryAcquire("k"), undefined);
    assert.equal(await lock.release(), true);
    const next = await waiting;
    assert.ok(next.token > lock.token);
  },
);

// Red if: a token is the last one known and one more.
test(
  "an asynchronous replica that lacks the last grants: the holder is told, tokens rise",
  SLOW,
  async () => {
    await using primary = await PostgresServer.start({ args });
    await using link = await Proxy.start(primary);
    await using replica = await PostgresServer.follow(link, { args });
    const url = `postgres://postgres@127.0.0.1:${primary.port},127.0.0.1:${replica.port}/postgres`;
    await using a = new LockManager(postgres(url), { ttl: 60_000, retryFor: 60_000 });
    const before = await a.acquire("k");
    await before.release();
    const seen = `SELECT count(*) FROM holdfast.claims WHERE token = ${before.token} AND id IS NULL`;
    await until(() => replica.sql(seen).then((said) => said === "1", () => false), () => "does not follow");
    link.cut();
    const lock = await a.acquire("k");
    await primary.kill();
    await replica.sql("SELECT pg_promote()");
    await using b = new LockManager(postgres(url), { ttl: 60_000, retryFor: 60_000 });
    const next = await b.acquire("k");
    assert.ok(next.token > lock.token);
    let failed: unknown;
    do {
      failed = await lock.renew().then(() => "renewed", (error) => error);
    } while (failed instanceof BackendError);
    assert.equal((failed as { why?: string }).why, "revoked");
    assert.equal(await lock.release(), false);
    assert.ok(next.held);
  },
);

test(
  "the disk full: new claims are refused with the reason, old ones are renewed and released",
  SLOW,
  async () => {
    await using server = await PostgresServer.start({ args });
    const limit = async (bytes: number | "unlimited") => {
      // The soft limit of the server and of the sessions that it opens from then on.
      await run(...unprivileged("prlimit", [`--pid=${server.process.pid}`, `--fsize=${bytes}:unlimited`]));
      await server.sql(
        "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE application_name = 'holdfast'",
      );
      await until(() => kept.renew().then(() => true, () => false), () => "does not connect again");
    };
    await using locks = new LockManager(postgres(server.url), { ttl: 60_000, retryFor: 0 });
    const kept = await locks.acquire("kept");
    const alone = await locks.acquire("alone");
    const queued = await locks.acquire("queued");
    const { lock: waiting } = await waiter(locks, "queued");
    // A limit for the sizes of files: half a block more than that of the table, which is larger than what the
    // log is kept in.
    await server.sql(
      "INSERT INTO holdfast.claims (key, place) SELECT 'full' || n, 0 FROM generate_series(1, 100000) n",
    );
    const size = Number(await server.sql("SELECT pg_relation_size('holdfast.claims')"));
    assert.ok(size > 16_777_216, `${size}`);
    await limit(size + 4_096);
    await assert.rejects(async () => {
      for (let n = 0; n < 1_000; n++) await locks.acquire(`new-${n}`);
    }, (error: BackendError) => {
      assert.match(
        error.message,
        /could not extend file .*: (wrote only .*\(the server's disk is full\)|File too large)/,
      );
      assert.equal(error.retryable, true);
      return true;
    });
    await alone.renew();
    await queued.renew();
    assert.equal(await alone.release(), true);
    assert.equal(await queued.release(), true);
    await using handed = await waiting;
    await handed.renew();
    await limit("unlimited");
    assert.ok((await locks.acquire("after")).held);
  },
);

test(
  "the server's clock an hour ahead: the next is let in, the holder is told, tokens rise",
  SLOW,
  async () => {
    const clock = await ServerClock.create();
    await using server = await PostgresServer.start({ args, env: clock.env });
    await using locks = new LockManager(postgres(server.url), { ttl: 60_000 });
    await using others = new LockManager(postgres(server.url), { ttl: 60_000 });
    const lock = await locks.acquire("k");
    clock.step(3_600_000);
    const next = await others.acquire("k");
    assert.ok(next.token > lock.token);
    await assert.rejects(lock.renew(), { name: "LockLostError" });
    assert.ok(next.held);
    assert.equal(await next.release(), true);
  },
);

// Red if: a time before which nobody can have expired is believed in after the clock was set back.
test(
  "the server's clock an hour back: locks are kept, the dead do not stay for an hour, tokens rise",
  SLOW,
  async () => {
    const clock = await ServerClock.create();
    await using server = await PostgresServer.start({ args, env: clock.env });
    await using proxy = await Proxy.start(server);
    await using locks = new LockManager(postgres(server.url), { ttl: 60_000 });
    await using others = new LockManager(postgres(server.url), { ttl: 60_000 });
    await using doomed = new LockManager(postgres(at(proxy.port)), { ttl: 3_000, retryFor: 30_000 });
    const kept = await locks.acquire("kept");
    const [one, two] = [await doomed.acquire("one"), await doomed.acquire("two")];
    proxy.cut();
    clock.step(-3_600_000);
    await kept.renew();
    assert.ok(kept.held);
    assert.equal(await others.tryAcquire("kept"), undefined);
    const next = await others.acquire("one");
    assert.ok(one.signal.aborted, "before the server could give it to another");
    assert.ok(next.token > one.token);
    let tried = await others.tryAcquire("two");
    await until(async () => (tried ??= await others.tryAcquire("two")) !== undefined, () => "stays");
    assert.ok(two.signal.aborted);
    assert.ok(tried!.token > two.token);
    assert.equal(await kept.release(), true);
    const again = await locks.acquire("kept");
    assert.ok(again.token > kept.token);
    proxy.heal();
  },
);

test(
  "a crowd that acquires, releases, steals and renews the same keys: no deadlock, and no error",
  SLOW,
  async () => {
    const url = await database(server, "crowded");
    const managers = Array.from(
      { length: 4 },
      () => new LockManager(postgres(url), { retryFor: 60_000, ttl: 30_000 }), // calls have more time so
    );
    const errors: unknown[] = [];
    for (const locks of managers) locks.addEventListener("error", ({ error }) => void errors.push(error));
    const long = "\u00fc".repeat(500); // too long for an index
    const keys = Array.from({ length: 40 }, (_, n) => n % 4 === 0 ? `${long}${n}` : `key-${n}`);
    const inside = new Map<string, number>();
    await Promise.all(managers.map(async (locks, turn) => {
      const held = await Promise.all(
        Array.from({ length: 150 }, (_, n) => locks.acquire(`held-${n}`, { mode: "shared", ttl: 29_000 })),
      );
      await Promise.all(keys.map(async (_, slot) => {
        for (let time = 0; time < 6; time++) {
          const key = keys[(slot * (turn + 1) + time * 7) % keys.length]!;
          const lock = await locks.acquire(key, { ttl: time % 2 ? 30_000 : 31_000 });
          assert.equal((inside.get(key) ?? 0) + 1, 1);
          inside.set(key, 1);
          if (slot % 8 === 0) await held[slot]!.renew();
          inside.set(key, 0);
          await lock.release();
          const names = [keys[slot]!, keys[(slot + 5) % keys.length]!, `held-${slot}`];
          if (time === 3) await (await locks.acquire(names, { mode: "shared" })).release();
        }
      }));
      await Promise.all(held.map((lock) => lock.release()));
    }));
    await Promise.all(managers.map((locks) => locks.close()));
    assert.deepEqual(errors, []);
    assert.doesNotMatch(server.process.log(100_000), /deadlock detected/);
  },
);

// Red if: two statements lock rows in different orders.
test("hundreds of claims renewed while others come and go: no deadlock, and no error", SLOW, async () => {
  const url = await database(server, "renewed");
  const backends = Array.from({ length: 3 }, () => postgres(url));
  const [a, ...others] = await Promise.all(backends.map((backend) => open(backend, 60_000)));
  const claims = Array.from({ length: 120 }, fresh);
  await Promise.all(claims.map((one) => enter(a!.lease, one)));
  let isOver = false;
  const renewing = (async () => {
    while (!isOver) assert.equal((await a!.lease.renew(claims, call(30_000))).size, claims.length);
  })();
  await Promise.all(others.map(async ({ lease }) => {
    for (let time = 0; time < 6; time++) {
      const waiting = claims.map(({ key }) => claim({ key }));
      await Promise.all(waiting.map((one) => lease.attempt(one, call(60_000))));
      await Promise.all(waiting.map((one) => lease.release(one, entered(call(60_000)))));
    }
  }));
  isOver = true;
  await renewing;
  for (const backend of backends) await backend[Symbol.asyncDispose]();
  assert.doesNotMatch(server.process.log(100_000), /deadlock detected/);
});
