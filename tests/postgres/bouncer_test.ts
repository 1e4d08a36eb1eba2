/** Behind PgBouncer, where a session is one's own for a transaction only. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { postgres } from "../../backends/postgres.ts";
import { LockManager } from "../../mod.ts";
import { PgBouncer, PostgresServer } from "../servers/postgres.ts";
import { Proxy } from "../servers/proxy.ts";
import { CALL, claim, enter, open, waiter } from "../support.ts";
import { everything } from "./scene.ts";

const SLOW = { timeout: 60_000 };

const server = await PostgresServer.start({ args: ["-c", "fsync=off"] });
after(() => server[Symbol.asyncDispose]());

/** One connection of the server for all, so that what one leaves there is what another finds. */
const bouncer = await PgBouncer.start(server, { settings: ["default_pool_size = 1"] });
after(() => bouncer[Symbol.asyncDispose]());

/** A logger, and the warnings that it was given. */
function logger(): { warnings: string[]; logger: { debug(): void; warn(message: string): void } } {
  const warnings: string[] = [];
  return { warnings, logger: { debug() {}, warn: (message) => void warnings.push(message) } };
}

test("in transaction mode, with `listen` at the server itself: everything, and pushed", SLOW, async () => {
  await everything(() => postgres(bouncer.url, { listen: server.url }));
  const { logger: log, warnings } = logger();
  await using a = new LockManager(postgres(bouncer.url, { listen: server.url }), {
    ttl: 60_000,
    logger: log,
  });
  await using b = new LockManager(postgres(bouncer.url, { listen: server.url }), {
    ttl: 60_000,
    logger: log,
  });
  const lock = await a.acquire("pushed");
  const { lock: waiting } = await waiter(b, "pushed");
  const since = performance.now();
  await lock.release();
  await (await waiting).release();
  assert.ok(performance.now() - since < 15_000, "not by a renewal");
  assert.deepEqual(warnings, []);
});

// Red if: a listener is believed that has no session of its own.
test("without `listen`: renewals tell who waits, and the logger is warned once", SLOW, async () => {
  await everything(() => postgres(bouncer.url), false);
  const { logger: log, warnings } = logger();
  await using backend = postgres(bouncer.url);
  await using a = new LockManager(backend, { ttl: 6_000, logger: log });
  await using b = new LockManager(backend, { ttl: 6_000, logger: log });
  for (const key of ["one", "two"]) {
    const lock = await a.acquire(key);
    const { lock: waiting } = await waiter(b, key);
    assert.equal(await lock.release(), true);
    await (await waiting).release();
  }
  const told = warnings.filter((warning) => !/heartbeat/.test(warning)); // which a slow machine costs
  assert.deepEqual(told.length, 1, warnings.join());
  assert.match(told[0]!, /a third of a ttl late.* give `listen` an address/);
});

test("without `listen`, watching is refused with what to do", async () => {
  await using backend = postgres(bouncer.url);
  await assert.rejects(backend.watch("holdfast/k", { changed() {}, failed() {} }, CALL), {
    message:
      /^Cannot watch a lock: Postgres tells nothing .* \(give `listen` an address without the pooler\)$/,
    retryable: false,
  });
  await using locks = new LockManager(backend);
  await assert.rejects(locks.watch("k").ready, /give `listen` an address/);
});

// Red if: a setting is for the session, or a statement has a name.
test("nothing is left on the server's connection", SLOW, async () => {
  const state =
    `SELECT (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_listening_channels()),
    (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'),
    (SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings
     WHERE name <> 'application_name'),
    current_setting('holdfast.matters', true)`;
  await bouncer.sql("DISCARD ALL");
  const before = (await bouncer.sql(state)).split("|");
  await everything(() => postgres(bouncer.url), false);
  await everything(() => postgres(bouncer.url, { listen: server.url }));
  const now = (await bouncer.sql(state)).split("|");
  assert.deepEqual(now, before);
  assert.deepEqual(now.slice(0, 3), ["0", "0", "0"]);
  assert.match(now[3]!, /lock_timeout=0 .*synchronous_commit=on .*transaction_isolation=read committed/);
});

// Red if: an error that the pooler makes up is taken for a refusal by the server.
test(
  "a connection to the server that breaks behind the pooler: what was asked is in doubt",
  SLOW,
  async () => {
    await using proxy = await Proxy.start(server);
    await using bouncer = await PgBouncer.start(proxy);
    await using backend = postgres(bouncer.url, { listen: server.url });
    const { lease } = await open(backend);
    await enter(lease, claim({ key: "holdfast/warm" }));
    const one = claim({ key: "holdfast/doubt", wait: false });
    const lost = proxy.loseReply({ request: (chunk) => chunk.includes(".enter(") });
    await assert.rejects(lease.attempt(one, CALL));
    await lost;
    assert.equal((await backend.list(one.key, CALL)).length, 1, "it had arrived");
    assert.equal(await lease.release(one, CALL), true);
    assert.deepEqual(await backend.list(one.key, CALL), []);
  },
);

test("a restart of PgBouncer: locks are kept, who waits is served", SLOW, async () => {
  await using bouncer = await PgBouncer.start(server);
  const target = () => postgres(bouncer.url, { listen: server.url });
  await using a = new LockManager(target(), { ttl: 60_000, retryFor: 60_000 });
  await using b = new LockManager(target(), { ttl: 60_000, retryFor: 60_000 });
  const lock = await a.acquire("restarted");
  const { lock: waiting } = await waiter(b, "restarted");
  await bouncer.restart();
  while (lock.held && !await lock.renew().then(() => true, () => false));
  assert.ok(lock.held);
  assert.equal(await lock.release(), true);
  await using next = await waiting;
  assert.ok(next.token > lock.token);
});

test("in session mode, everything: pushed, if `listen` says that it may be trusted", SLOW, async () => {
  await using bouncer = await PgBouncer.start(server, { mode: "session" });
  await everything(() => postgres(bouncer.url, { listen: bouncer.url }));
  await everything(() => postgres(bouncer.url), false);
});
