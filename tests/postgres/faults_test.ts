/** What a holder and a waiter see when the way to a Postgres server, or one of its backends, misbehaves. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import postgresJs from "postgres";
import { postgres } from "../../backends/postgres.ts";
import { route } from "../../backends/postgres/address.ts";
import { Connection } from "../../backends/postgres/client/connection.ts";
import { CLOCK } from "../../backends/postgres/client/literal.ts";
import { schemaSql, VERSION } from "../../backends/postgres/scripts/schema.ts";
import type { Claim } from "../../internal/backend.ts";
import { LockManager } from "../../mod.ts";
import { PostgresServer } from "../servers/postgres.ts";
import { until } from "../servers/process.ts";
import { Proxy } from "../servers/proxy.ts";
import { CALL, call, claim, enter, ENTERED, entered, next, open, waiter } from "../support.ts";
import { at, blocked, database, fresh, session } from "./scene.ts";

const SLOW = { timeout: 120_000 };

const server = await PostgresServer.start({ args: ["-c", "fsync=off"] });
after(() => server[Symbol.asyncDispose]());

/** Ends the sessions of Holdfast that a condition is true of. */
const terminate = (which = "true") =>
  server.sql(
    `SELECT count(pg_terminate_backend(pid, 30000)) FROM pg_stat_activity
     WHERE application_name = 'holdfast' AND ${which}`,
  );

/** Of messages: a function that is called. */
const calls = (name: string) => (chunk: string) => chunk.includes(`.${name}(`);

/** What a message asks the server to do. */
function statements(message: string): string {
  assert.match(message, /^Q.{4}[^\0]*\0$/s);
  return message.slice(5, -1);
}

test("backends terminated: a lock stays held, a waiter is served a moment later", SLOW, async () => {
  await using a = new LockManager(postgres(server.url), { ttl: 60_000 });
  await using b = new LockManager(postgres(server.url), { ttl: 60_000 });
  const lock = await a.acquire("terminated");
  const { lock: waiting } = await waiter(b, "terminated");
  await terminate();
  // One call may meet the end of the connection.
  while (lock.held && !await lock.renew().then(() => true, () => false));
  assert.ok(lock.held);
  const since = performance.now();
  assert.equal(await lock.release(), true);
  const next = await waiting;
  assert.ok(next.token > lock.token);
  assert.ok(performance.now() - since < 15_000, "not by a renewal, which comes after 20 s");
  await next.release();
});

test("the listener's backend terminated: who waits asks again, and hears again", SLOW, async () => {
  await using a = new LockManager(postgres(server.url), { ttl: 60_000 });
  await using b = new LockManager(postgres(server.url), { ttl: 60_000 });
  const watch = b.watch("deaf");
  await watch.ready;
  const lock = await a.acquire("deaf");
  const { lock: waiting } = await waiter(b, "deaf");
  const failed = next(watch, "error");
  await terminate("query LIKE '%LISTEN%' OR query = 'SELECT '''' AS a'");
  await failed;
  await until(
    async () =>
      await server.sql("SELECT ear <> '' FROM holdfast.claims WHERE key = 'holdfast/deaf' AND place > 0") ===
        "t",
    () => "does not listen",
  );
  await lock.release();
  await (await waiting).release();
  await watch[Symbol.asyncDispose]();
});

test("who is asked about again while it begins to listen takes no second place", SLOW, async () => {
  await using proxy = await Proxy.start(server);
  proxy.cut();
  await using holder = new LockManager(postgres(server.url));
  await using _held = await holder.acquire("once");
  await using backend = postgres(server.url, { listen: at(proxy.port) });
  const { lease } = await open(backend);
  const waits = claim({ key: "holdfast/once" });
  const places = () =>
    server.sql("SELECT count(*) FROM holdfast.claims WHERE key = 'holdfast/once' AND place > 0");
  const first = lease.attempt(waits, CALL);
  await until(async () => await places() === "1", () => "has not entered");
  const again = lease.attempt(waits, CALL);
  proxy.heal();
  for (const { state } of await Promise.all([first, again])) assert.equal(state, "contended");
  assert.equal(await places(), "1");
  assert.equal(await lease.release(waits, ENTERED), true);
  assert.equal(await places(), "0");
});

// Red if: who listens does not look whether it has the lock that tells others so.
test("who listens again while others look for it is not taken for gone", SLOW, async () => {
  await using locks = new LockManager(postgres(server.url));
  await using watch = locks.watch("listened");
  await watch.ready;
  await using other = await session(server.url);
  const ear = await server.sql("SELECT ear FROM holdfast.watchers WHERE key = 'holdfast/listened'");
  // As a change does that finds the listener gone, but for longer.
  const looking = other.run(`BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('${ear}', 0))`);
  await blocked(server);
  await terminate("query LIKE '%LISTEN%'");
  await looking;
  const isBack =
    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND application_name = 'holdfast'";
  await until(async () => await server.sql(isBack) === "1", () => "does not listen again");
  await other.run("COMMIT");
  const isThere =
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted";
  await until(async () => await server.sql(isThere) === "1", () => "has no lock");
});

test("the backend of a call terminated in its middle: the repeat is right", SLOW, async () => {
  await using backend = postgres(server.url);
  const { lease } = await open(backend);
  await using other = await session(server.url);
  const one = fresh();
  await enter(lease, one); // so that there is a row to be locked
  await lease.release(one, ENTERED);
  const two = claim({ key: one.key });
  const inTheMiddle = async <T>(start: () => Promise<T>) => {
    await other.run(`BEGIN; SELECT FROM holdfast.claims WHERE key = '${one.key}' FOR UPDATE`);
    const broken = assert.rejects(start(), /terminating connection/);
    await blocked(server);
    await terminate("wait_event_type = 'Lock'");
    await broken;
    await other.run("COMMIT");
  };
  await inTheMiddle(() => lease.attempt(two, call(60_000)));
  const outcome = await enter(lease, two);
  assert.equal(outcome.state, "granted");
  await inTheMiddle(() => lease.renew([two], call(60_000)));
  assert.deepEqual((await lease.renew([two], CALL)).get(two.id), outcome);
  await inTheMiddle(() => lease.release(two, entered(call(60_000))));
  assert.equal(await lease.release(two, ENTERED), true);
  assert.deepEqual(await backend.list(one.key, CALL), []);
});

test("a lost reply to an attempt: the repeat finds the place and the same token", async () => {
  await using proxy = await Proxy.start(server);
  await using backend = postgres(at(proxy.port));
  const { lease } = await open(backend);
  const [holder, waiting] = [fresh(), fresh()];
  await enter(lease, holder);
  for (const one of [fresh(), { ...waiting, key: holder.key }]) {
    const lost = proxy.loseReply({ request: calls("enter") });
    await assert.rejects(lease.attempt(one, CALL), /Cannot (ask|listen to) Postgres/);
    await lost;
    const before = (await backend.list(one.key, CALL)).find(({ id }) => id === one.id);
    assert.ok(before, "it had arrived");
    const outcome = await lease.attempt(one, CALL);
    assert.deepEqual(outcome.state, before.held ? "granted" : "contended");
    const after = await backend.list(one.key, CALL);
    assert.equal(after.length, one.key === holder.key ? 2 : 1);
    if (outcome.state === "granted") assert.equal(outcome.token, before.token);
  }
});

// Red if: an attempt whose reply was lost is taken for one that had no effect.
test("a lost reply to a try: nothing is left of it", async () => {
  await using proxy = await Proxy.start(server);
  await using backend = postgres(at(proxy.port));
  const { lease } = await open(backend);
  await lease.attempt(fresh(), CALL);
  const one = { ...fresh(), wait: false };
  const lost = proxy.loseReply({ request: calls("enter") });
  await assert.rejects(lease.attempt(one, CALL));
  await lost;
  assert.equal(await lease.release(one, CALL), true);
  assert.deepEqual(await backend.list(one.key, CALL), []);
});

test("lost replies to renewals and releases: the repeats are harmless", async () => {
  await using proxy = await Proxy.start(server);
  await using backend = postgres(at(proxy.port));
  const { lease } = await open(backend);
  const one = fresh();
  const outcome = await lease.attempt(one, CALL);
  let lost = proxy.loseReply({ request: calls("renew") });
  await assert.rejects(lease.renew([one], CALL));
  await lost;
  assert.deepEqual((await lease.renew([one], CALL)).get(one.id), outcome);
  lost = proxy.loseReply({ request: calls("leave") });
  await assert.rejects(lease.release(one, ENTERED));
  await lost;
  assert.equal(await lease.release(one, ENTERED), false, "it was gone already");
  assert.deepEqual(await backend.list(one.key, CALL), []);
});

test("lost replies to lists and watches: asked again, and nobody is left watching", async () => {
  await using proxy = await Proxy.start(server);
  await using locks = new LockManager(postgres(at(proxy.port)));
  await (await locks.acquire("watched")).release();
  let lost = proxy.loseReply({ request: calls("list") });
  await locks.inspect("watched").catch(() => {});
  await lost;
  assert.equal(await locks.inspect("watched"), undefined);
  lost = proxy.loseReply({ request: calls("watch") });
  const watch = locks.watch("watched");
  await Promise.all([lost, watch.ready]);
  const locked = next(watch, "locked");
  await using _lock = await locks.acquire("watched");
  await locked;
  await watch[Symbol.asyncDispose]();
  assert.equal(
    await server.sql("SELECT count(*) FROM holdfast.watchers WHERE key = 'holdfast/watched'"),
    "0",
  );
});

test("calls reject at once when the connection breaks, and the next one connects again", async () => {
  await using proxy = await Proxy.start(server);
  await using backend = postgres(at(proxy.port));
  const { lease } = await open(backend);
  const one = fresh();
  await lease.attempt(one, CALL);
  proxy.cut("down");
  const started = performance.now();
  const hanging = lease.renew([one], call(60_000));
  hanging.catch(() => {});
  await sleep(50);
  proxy.reset();
  proxy.heal();
  await assert.rejects(hanging);
  assert.ok(performance.now() - started < 30_000, "not by its time limit");
  assert.equal((await lease.renew([one], CALL)).get(one.id)?.state, "granted");
});

test("a connection that swallows everything is given up once a call has timed out", async () => {
  await using proxy = await Proxy.start(server);
  await using backend = postgres(at(proxy.port));
  const { lease } = await open(backend, 60_000);
  const one = fresh();
  const brief = () => call(300);
  await lease.attempt(one, CALL);
  const [doomed] = proxy.connections;
  proxy.cut("both", (connection) => connection === doomed);
  const since = performance.now();
  const renewed = async () => {
    return await lease.renew([one], brief()).then(
      (said) => said.get(one.id)?.state === "granted",
      () => false,
    );
  };
  lease.renew([one], brief()).catch(() => {});
  await sleep(400);
  await until(renewed, () => "the connection is still waited for");
  assert.ok(performance.now() - since < 15_000);
});

// Red if: nothing is ever sent over it.
test("a listener that swallows everything is given up, and who waits asks again", SLOW, async () => {
  await using proxy = await Proxy.start(server);
  await using a = new LockManager(postgres(server.url), { ttl: 60_000 });
  await using b = new LockManager(postgres(server.url, { listen: at(proxy.port) }), { ttl: 60_000 });
  const lock = await a.acquire("swallowed");
  const { lock: waiting } = await waiter(b, "swallowed");
  const [doomed] = proxy.connections;
  proxy.cut("both", (connection) => connection === doomed);
  const since = performance.now();
  await lock.release();
  await using _next = await waiting;
  assert.ok(performance.now() - since < 18_000, "not by a renewal, which comes after 20 s");
});

test("an attempt that arrives after its time does not enter", async () => {
  await using proxy = await Proxy.start(server);
  await using backend = postgres(at(proxy.port));
  const { lease } = await open(backend);
  await lease.attempt(fresh(), CALL);
  proxy.cut("up");
  const one = fresh();
  const late = lease.attempt(one, { ...CALL, timeout: 100 });
  late.catch(() => {});
  await sleep(3_000); // so slow may the answer have been by which it knows the server's clock
  proxy.heal();
  await assert.rejects(late, /arrived too late/);
  assert.deepEqual(await backend.list(one.key, CALL), []);
});

test("a claim whose place has come and gone unheard of does not take a second one", async () => {
  await using proxy = await Proxy.start(server);
  await using backend = postgres(at(proxy.port));
  const { lease } = await open(backend, 500);
  await lease.attempt(fresh(), CALL);
  const one: Claim = fresh();
  const lost = proxy.loseReply({ request: calls("enter") });
  await assert.rejects(lease.attempt(one, CALL));
  await lost;
  let message = "";
  const held = proxy.loseRequest((chunk) => calls("enter")(chunk) && (message = chunk) !== "");
  await assert.rejects(lease.attempt(one, call(60_000)));
  await held;
  await sleep(700);
  await using network = await session(server.url);
  await network.run(statements(message));
  assert.deepEqual(await backend.list(one.key, CALL), [], "nor by an attempt that was on its way");
  assert.equal((await lease.attempt(one, CALL)).state, "gone");
  assert.deepEqual(await backend.list(one.key, CALL), []);
});

// Red if: the server's clock is believed to be known better than its answers tell.
test("not even where the server has been slow to tell its time", SLOW, async () => {
  await using proxy = await Proxy.start(server);
  await using backend = postgres(at(proxy.port));
  const { lease } = await open(backend, 500);
  const one = fresh();
  proxy.delay(700);
  await backend.list(one.key, call(60_000)); // connects
  proxy.heal();
  const lost = proxy.loseReply({ request: calls("enter") });
  await assert.rejects(lease.attempt(one, CALL));
  await lost;
  const isOver = `SELECT count(*) FROM holdfast.claims WHERE id = '${one.id}' AND expires > ${CLOCK}`;
  await until(async () => await server.sql(isOver) === "0", () => "does not expire");
  assert.equal((await lease.attempt(one, CALL)).state, "gone");
  assert.deepEqual(await backend.list(one.key, CALL), []);
});

// Red if: what was given up is not written down, or not looked for.
test("a claim withdrawn while its attempt is on the way never enters", async () => {
  await using proxy = await Proxy.start(server);
  await using backend = postgres(at(proxy.port));
  const { lease } = await open(backend, 60_000);
  await using network = await session(server.url);
  const busy = fresh();
  await enter(lease, busy);
  const free = fresh();
  await enter(lease, free);
  await lease.release(free, ENTERED);
  for (const one of [fresh(), claim({ key: free.key }), claim({ key: busy.key, steal: true })]) {
    let message = "";
    const held = proxy.loseRequest((chunk) => calls("enter")(chunk) && (message = chunk) !== "");
    await assert.rejects(lease.attempt(one, call(60_000)));
    await held;
    // The withdrawal goes by a new connection and overtakes the attempt.
    assert.equal(await lease.release(one, CALL), false);
    assert.equal(await lease.release(one, CALL), false, "saying it again changes nothing");
    await network.run(statements(message));
    const queue = await backend.list(one.key, CALL);
    assert.deepEqual(queue.map(({ id }) => id), one.steal ? [busy.id] : []);
  }
});

// Red if: a queue is forgotten the moment its fence is over.
test("what was withdrawn is kept out although its attempt, come in time, is held up", SLOW, async () => {
  const name = "held_up";
  await using backend = postgres(await database(server, name));
  const { key } = fresh();
  await backend.list(key, CALL); // so that there is a schema
  const clock = await server.sql(`SELECT ${CLOCK}`, name);
  await server.sql(`SELECT holdfast.leave('${key}', '${key}', 0, ${clock})`, name);
  const left = async (memory: number) => {
    await server.sql(`SELECT holdfast.sweep(${memory})`, name);
    return await server.sql("SELECT count(*) FROM holdfast.claims", name);
  };
  assert.equal(await left(60_000_000), "1");
  assert.equal(await left(0), "0");
});

// Red if: the store does not remember whom a theft has removed.
test("a grant that a theft overtakes on its way: told late, with its old token, and lost", SLOW, async () => {
  await using proxy = await Proxy.start(server);
  const options = { ttl: 60_000, retryFor: 60_000 };
  await using victims = new LockManager(postgres(at(proxy.port)), options);
  await using others = new LockManager(postgres(server.url), options);
  const key = "overtaken";
  await (await victims.acquire(key)).release(); // so that there is a connection
  proxy.cut("down");
  const acquiring = victims.acquire(key);
  await until(async () => await others.inspect(key) !== undefined, () => "has not been granted");
  const thief = await others.acquire(key, { steal: true });
  assert.equal(await thief.release(), true);
  const next = await others.acquire(key);
  assert.equal(await next.release(), true);
  proxy.heal();
  const late = await acquiring;
  assert.ok(late.token < thief.token && thief.token < next.token, "in the order of the store");
  await assert.rejects(late.renew(), { name: "LockLostError", why: "stolen" });
  assert.equal(await late.release(), false);
});

test("two copies of every call are as good as one", async () => {
  await using backend = postgres(server.url);
  const { lease } = await open(backend);
  const one = fresh();
  const twice = <T>(call: () => Promise<T>): Promise<[T, T]> => Promise.all([call(), call()]);
  const [first, second] = await twice(() => lease.attempt(one, CALL));
  assert.deepEqual(first, second);
  await twice(() => lease.renew([one], CALL));
  assert.deepEqual(await twice(() => lease.release(one, ENTERED)), [true, false]);
  const thief = { ...fresh(), steal: true };
  const [stolen, again] = await twice(() => lease.attempt(thief, CALL));
  assert.deepEqual(stolen, again);
});

// Red if: a call counts from when it has begun, and not from when it gets to the claim.
test("a call that is held up takes nothing from a renewal that overtakes it", SLOW, async () => {
  await using backend = postgres(server.url);
  const { lease } = await open(backend, 60_000);
  await using other = await session(server.url);
  const holder = fresh();
  const waiting = claim({ key: holder.key });
  for (const one of [holder, waiting]) await enter(lease, one);
  const row = `FROM holdfast.claims WHERE key = '${waiting.key}' AND id = '${waiting.id}'`;
  const look = async () => {
    const [found] = await other.run(`SELECT token, expires ${row}`) as { token: string; expires: string }[];
    return { token: found!.token, expires: BigInt(found!.expires) };
  };
  const { token } = await look();
  const asks = [
    () => lease.renew([waiting], call(60_000)),
    () => lease.attempt(waiting, entered(call(60_000))),
  ];
  for (const ask of asks) {
    await other.run(`BEGIN; SELECT ${row} FOR UPDATE`);
    const late = ask();
    await blocked(server);
    await other.run(`SELECT holdfast.renew(60000000, '{${waiting.key}}', '{${token}}', '{${waiting.id}}')`);
    const proven = await look();
    await other.run("COMMIT");
    await late;
    assert.ok((await look()).expires >= proven.expires, "its process relies on what was acknowledged");
  }
});

// Red if: what was sent beside it is rejected with the very error of the statement that has ended the link.
test("a statement that was sent beside one that fails for good may have been done", async () => {
  const to = route(server.url);
  const connection = new Connection(to, { version: VERSION, sql: schemaSql('"holdfast"') });
  await connection.query("SELECT 1", CALL);
  const [failed, other] = await Promise.all([
    connection.query("SELECT nosuch()", CALL).catch((error) => error),
    connection.query("SELECT pg_sleep(10)::text", CALL).catch((error) => error),
  ]);
  assert.equal(failed.unsent, true); // the server has rolled it back
  assert.notEqual(other.unsent, true);
  assert.equal(other.retryable, true);
  connection.close();
});

// Red if: an error of a client that connects again by itself is taken for the answer to what was asked.
test("an error from a postgres() that was handed in proves nothing", async () => {
  const client = postgresJs(server.url, { max: 1 });
  const connection = new Connection(route(client), { version: VERSION, sql: schemaSql('"holdfast"') });
  const error = await connection.query("SELECT nosuch()", CALL).catch((error) => error);
  assert.notEqual(error.unsent, true);
  assert.match(error.message, /nosuch/);
  connection.close();
  await client.end();
});
