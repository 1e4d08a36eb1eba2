/** The backend by itself: order numbers, expiry by the wall clock, a file that goes away, a busy file. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Grant, Outcome } from "../../internal/backend.ts";
import type { Row } from "../../backends/sqlite/tables.ts";
import { Lookouts } from "../../backends/sqlite/peers/lookouts.ts";
import { Registry } from "../../backends/sqlite/registry.ts";
import { Child } from "./child.ts";
import { CALL, claim, ENTERED, open } from "../support.ts";
import { Scene } from "./scene.ts";

const token = (outcome: Outcome | void): bigint => (outcome as Grant).token;

const isRising = (tokens: readonly bigint[]): boolean =>
  tokens.every((each, index) => index === 0 || each > tokens[index - 1]!);

/** Changes the file behind everybody's back. */
function sql(scene: Scene, statement: string): void {
  const database = new DatabaseSync(scene.path);
  database.exec("PRAGMA busy_timeout = 1000");
  database.exec(statement);
  database.close();
}

// Red if: the order number is a rowid or a maximum, which start again when the table is empty.
test("tokens rise over restarts, though nothing is left in the file", async () => {
  await using scene = new Scene();
  const tokens: bigint[] = [];
  for (let run = 0; run < 3; run++) {
    await using backend = scene.backend();
    const lease = await scene.lease(backend);
    for (const key of ["holdfast/a", "holdfast/b"]) {
      const each = claim({ key });
      tokens.push(token(await lease.attempt(each, CALL)));
      await lease.release(each, CALL);
    }
    await lease.close(CALL);
  }
  assert.ok(isRising(tokens), tokens.join());
});

// Red if: what the file remembers is all that tokens rise by.
test("tokens rise though the file was removed", async () => {
  await using scene = new Scene();
  const tokens: bigint[] = [];
  for (let run = 0; run < 3; run++) {
    await using backend = scene.backend();
    const lease = await scene.lease(backend);
    for (let count = 0; count < 5; count++) {
      tokens.push(token(await lease.attempt(claim({ key: `holdfast/${count}` }), CALL)));
    }
    await lease.close(CALL);
    await backend[Symbol.asyncDispose]();
    rmSync(scene.path);
  }
  assert.ok(isRising(tokens), tokens.join());
});

// Red if: an expiry further away than the ttl is believed, or is not written down as what it is.
test("a wall clock set back makes a claim last no longer than its ttl from then on", async () => {
  await using scene = new Scene();
  const [dead, heir] = [await scene.lease(scene.backend(), 1_000), await scene.lease()];
  const [first, second] = [claim({ ttl: 1_000 }), claim()];
  await dead.attempt(first, CALL);
  sql(scene, "UPDATE claims SET expires = expires + 3600000"); // as if it had been an hour later then
  const started = performance.now();
  while (performance.now() - started < 30_000) {
    const outcome = await heir.attempt(second, CALL);
    if (outcome.state === "granted") break;
    assert.equal(outcome.state, "contended");
    assert.ok(outcome.recheck! <= 1_001, `recheck in ${outcome.recheck} ms`);
    await sleep(outcome.recheck);
  }
  const waited = performance.now() - started;
  assert.ok(waited >= 990 && waited < 30_000, `granted after ${waited} ms`);
});

// Red if: a claim that has run out can be renewed, or a waiter holds beside one that was not removed.
test("what has expired is gone, and says so", async () => {
  await using scene = new Scene();
  const [ours, theirs] = [await scene.lease(scene.backend(), 100), await scene.lease()];
  const [first, second] = [claim(), claim()];
  await ours.attempt(first, CALL);
  await sleep(120);
  assert.deepEqual((await ours.renew([first], CALL)).get(first.id), { state: "gone", why: "expired" });
  assert.equal((await theirs.attempt(second, CALL)).state, "granted");
  assert.equal((await ours.attempt(first, ENTERED)).state, "gone");
});

/** So many that they are renewed in three parts. */
async function many(scene: Scene) {
  const lease = await scene.lease(scene.backend(), 60_000);
  const claims = Array.from({ length: 2_500 }, (_, n) => claim({ key: `holdfast/${n}` }));
  await Promise.all(claims.map((each) => lease.attempt(each, { ...CALL, timeout: 60_000 })));
  const isAll = (outcomes: Map<string, Outcome>) =>
    outcomes.size === claims.length && [...outcomes.values()].every(({ state }) => state === "granted");
  return { lease, claims, isAll };
}

// Red if: all are renewed in one transaction, or one right after the other.
test("others have their turn while thousands are renewed", async () => {
  await using scene = new Scene();
  const { lease, claims, isAll } = await many(scene);
  const renewing = lease.renew(claims, CALL);
  let turned = false;
  setTimeout(() => turned = true);
  assert.ok(isAll(await renewing));
  assert.ok(turned);
});

// Red if: what was renewed before counts for nothing, or what was not counts as renewed.
test("of thousands those that were renewed before the file was kept busy are, and no more", async () => {
  await using scene = new Scene();
  const { lease, claims, isAll } = await many(scene);
  using other = new DatabaseSync(scene.path);
  const renewing = lease.renew(claims, { ...CALL, timeout: 500 });
  setTimeout(() => other.exec("BEGIN IMMEDIATE"));
  const some = await renewing;
  assert.ok(some.size > 0 && some.size < claims.length, `${some.size} were renewed`);
  other.exec("ROLLBACK");
  assert.ok(isAll(await lease.renew(claims, CALL)));
});

// Red if: the end of a lease is told to nobody.
test("closing a lease hands on what it held", async () => {
  await using scene = new Scene();
  const [ours, theirs] = [await scene.lease(), await scene.lease()];
  const waiting = claim();
  const first = token(await ours.attempt(claim(), CALL));
  await theirs.attempt(waiting, CALL);
  const changed = theirs.changed(waiting, CALL);
  await sleep(20); // until it listens
  await ours.close(CALL);
  assert.ok(token(await changed) > first);
});

// Red if: who is woken has to write to find out that the lock is its own: half as much again for each hand-over.
test("a hand-over between claims of one lease is told without another attempt", async () => {
  await using scene = new Scene();
  const lease = await scene.lease();
  const [first, second] = [claim(), claim()];
  await lease.attempt(first, CALL);
  assert.equal((await lease.attempt(second, CALL)).state, "contended");
  const changed = lease.changed(second, CALL);
  await lease.release(first, CALL);
  assert.equal((await changed as Outcome).state, "granted");
});

// Red if: a lock of SQLite is waited for without letting go of the event loop, or fails at once.
test("while another program writes, calls wait and the event loop goes on", async () => {
  await using scene = new Scene();
  const lease = await scene.lease();
  await lease.attempt(claim({ key: "holdfast/other" }), CALL);
  const writer = new DatabaseSync(scene.path);
  writer.exec("BEGIN IMMEDIATE");
  const attempts = [1, 2, 3].map((key) => lease.attempt(claim({ key: `holdfast/${key}` }), CALL));
  let answered = false;
  Promise.allSettled(attempts).then(() => answered = true);
  for (let turns = 0; turns < 50; turns++) await sleep(1);
  assert.ok(!answered, "the event loop turns while they wait");
  writer.exec("COMMIT");
  writer.close();
  assert.ok(isRising((await Promise.all(attempts)).map(token)), "in the order they were asked for");
});

// Red if: an attempt that was given up while it waited for the file enters afterwards, or stays.
test("an attempt given up while the file is busy leaves nothing", async () => {
  await using scene = new Scene();
  const backend = scene.backend();
  const lease = await scene.lease(backend);
  await lease.attempt(claim({ key: "holdfast/other" }), CALL);
  const writer = new DatabaseSync(scene.path);
  writer.exec("BEGIN IMMEDIATE");
  const giveUp = new AbortController();
  const abandoned = claim();
  const attempt = lease.attempt(abandoned, { ...CALL, signal: giveUp.signal });
  await sleep(20);
  giveUp.abort(new Error("given up"));
  await assert.rejects(attempt, /given up/);
  const withdrawn = lease.release(abandoned, CALL);
  const copied = claim({ key: "holdfast/copied" });
  const copies = [lease.attempt(copied, CALL), lease.attempt(copied, CALL)];
  await sleep(0); // until both wait for the file
  const taken = lease.release(copied, CALL);
  const unsent = claim({ key: "holdfast/unsent" });
  const refused = assert.rejects(lease.attempt(unsent, CALL), /given up/);
  const given = lease.release(unsent, CALL);
  writer.exec("COMMIT");
  writer.close();
  assert.equal(await withdrawn, false);
  assert.equal(await taken, true);
  assert.equal(await given, false);
  await Promise.all([...copies, refused]);
  for (const late of [abandoned, copied, unsent]) {
    assert.equal((await lease.attempt(late, CALL)).state, "gone", "a late copy");
  }
  for (const key of ["k", "copied", "unsent"]) {
    assert.deepEqual(await backend.list(`holdfast/${key}`, CALL), [], key);
  }
});

// Red if: what is done again in another file is done for a lease that has ended with the first one, or nothing ends it.
test("an attempt that waits for a file which is removed is over with it", async () => {
  await using scene = new Scene();
  const backend = scene.backend();
  const { lease, lost } = await open(backend);
  await lease.attempt(claim({ key: "holdfast/other" }), CALL);
  const writer = new DatabaseSync(scene.path);
  writer.exec("BEGIN IMMEDIATE");
  const attempt = lease.attempt(claim(), CALL);
  await sleep(0); // until it waits for the file
  for (const end of ["", "-wal", "-shm"]) rmSync(scene.path + end);
  writer.exec("COMMIT");
  writer.close();
  assert.deepEqual(await attempt, { state: "gone", why: "revoked" });
  assert.deepEqual(lost, [["revoked"]]);
  assert.deepEqual(await backend.list("holdfast/", CALL), []);
});

// Red if: a file descriptor of the lock file is closed in this process while SQLite has the file open
// elsewhere in it: POSIX then drops SQLite's locks, and others believe that nobody uses the file.
test("opening the file again in a process leaves the locks on it alone", {
  skip: !existsSync("/proc/locks"),
}, async () => {
  await using scene = new Scene();
  await (await scene.lease()).attempt(claim(), CALL);
  const { ino } = statSync(scene.path);
  const locked = () => readFileSync("/proc/locks", "utf8").includes(`:${ino} `);
  assert.ok(locked(), "the file is locked while it is open");
  await using second = scene.backend();
  await (await scene.lease(second)).attempt(claim({ key: "holdfast/other" }), CALL);
  assert.ok(locked(), "opened twice");
  await second[Symbol.asyncDispose]();
  assert.ok(locked(), "closed once");
});

// Red if: sockets of processes that were killed are left for ever, or those of living ones removed.
test("what a killed process leaves behind is removed by whoever finds out", async () => {
  await using scene = new Scene();
  const lease = await scene.lease();
  await lease.attempt(claim({ key: "holdfast/other" }), CALL);
  const traces = () => readdirSync(`${scene.path}-peers`).length; // a file and a socket each
  await using child = await Child.start(scene.path);
  await child.does("acquire", "k", { ttl: 120_000 });
  assert.equal(traces(), 4);
  child.signal("SIGKILL");
  await child.ended;
  assert.equal((await lease.attempt(claim({ wait: false }), CALL)).state, "granted");
  assert.equal(traces(), 2);
});

// Red if: what keeps a process from being heard keeps its locks from being handed on.
test("where no socket can be had, locks are handed on and watched all the same", async () => {
  await using scene = new Scene();
  const long = join(scene.folder, "long".repeat(50), "locks.db"); // a socket's path cannot be as long
  const { TMPDIR } = process.env;
  process.env.TMPDIR = scene.path; // not a folder
  try {
    const [a, b] = [scene.backend(long), scene.backend(long)];
    const [ours, theirs] = [await scene.lease(a), await scene.lease(b)];
    const [first, second] = [claim(), claim()];
    await ours.attempt(first, CALL);
    const told = Promise.withResolvers<void>();
    await using _watch = await b.watch("holdfast/k", { changed: told.resolve, failed: told.reject }, CALL);
    assert.equal((await theirs.attempt(second, CALL)).state, "contended");
    const changed = theirs.changed(second, { ...CALL, timeout: Infinity });
    await ours.release(first, CALL);
    assert.equal((await changed as Outcome).state, "granted");
    await told.promise;
    assert.deepEqual(readdirSync(`${long}-peers`).filter((name) => name.endsWith(".sock")), []);
  } finally {
    if (TMPDIR === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = TMPDIR;
  }
});

// Red if: anything but the kernel's word for it proves that a process has ended.
test("a holder whose traces were removed keeps its lock", async () => {
  await using scene = new Scene();
  await (await scene.lease()).attempt(claim(), CALL);
  const folder = `${scene.path}-peers`;
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
  const other = await scene.lease();
  assert.equal((await other.attempt(claim({ wait: false }), CALL)).state, "contended");
  const waiting = claim();
  await other.attempt(waiting, CALL);
  const heard = new AbortController();
  const changed = other.changed(waiting, { signal: heard.signal, timeout: Infinity });
  assert.equal(await Promise.race([changed, sleep(200, "silence")]), "silence");
  heard.abort();
  assert.equal((await other.attempt(waiting, CALL)).state, "contended");
});

// Red if: a file by the name of a session is taken for that session's own.
test("an unlocked copy in the place of a holder's proof of life proves nothing", async () => {
  await using scene = new Scene();
  await (await scene.lease()).attempt(claim(), CALL);
  const folder = `${scene.path}-peers`;
  const name = readdirSync(folder).find((each) => !each.endsWith(".sock"))!;
  writeFileSync(join(folder, "copy"), "");
  renameSync(join(folder, "copy"), join(folder, name));
  rmSync(join(folder, `${name.slice(0, 16)}.sock`)); // nor does anybody answer there
  const other = await scene.lease();
  assert.equal((await other.attempt(claim({ wait: false }), CALL)).state, "contended");
});

// Red if: who comes while the last one is just leaving has looks of their own from then on.
test("however many come and go, there is one look for all of them", async () => {
  await using scene = new Scene();
  const session = new Registry(scene.path);
  await session.ready();
  let looks = 0;
  const slow = async () => (looks++, await sleep(20), false);
  const lookouts = new Lookouts(session.transactions, slow, 10);
  for (let time = 0; time < 20; time++) {
    const cancel = lookouts.add({ version: 0, session: "somebody's", seen() {} });
    await sleep(15); // it looks
    cancel();
  }
  looks = 0;
  const began = performance.now();
  const cancel = lookouts.add({ version: 0, session: "somebody's", seen() {} });
  await sleep(600);
  cancel();
  assert.ok(looks > 0 && looks <= (performance.now() - began) / 28 + 1, `${looks} looks`);
  await session.close();
});

// Red if: what goes on behind a session opens the file once more for itself, after it was closed.
test("a session that closes while it looks after an ended one stays closed", async () => {
  await using scene = new Scene();
  const session = new Registry(scene.path);
  await session.ready();
  await using child = await Child.start(scene.path);
  await child.does("acquire", "k", { ttl: 120_000 });
  const [{ session: ended }] = await session.transactions.read((claims) => claims.queue("holdfast/k")) as [
    Row,
  ];
  child.signal("SIGKILL");
  await child.ended;
  const burial = session.buryIfDead(ended);
  await session.close();
  assert.equal(await burial, false);
  const left = readdirSync(`${scene.path}-peers`);
  assert.deepEqual(left.filter((name) => !ended.startsWith(name.slice(0, 16))), []);
});

// Red if: something of a disposed backend stays open or in the file.
test("a backend that is disposed of leaves only the file", async () => {
  await using scene = new Scene();
  {
    await using backend = scene.backend();
    const lease = await scene.lease(backend);
    await lease.attempt(claim(), CALL);
    const watch = await backend.watch("holdfast/k", { changed() {}, failed() {} }, CALL);
    await watch[Symbol.asyncDispose]();
    await lease.close(CALL);
  }
  assert.deepEqual(readdirSync(scene.folder).toSorted(), ["locks.db", "locks.db-peers"]);
  assert.deepEqual(readdirSync(`${scene.path}-peers`), []);
  assert.ok(existsSync(scene.path));
  const database = new DatabaseSync(scene.path);
  for (const table of ["claims", "stolen", "watchers"]) {
    assert.deepEqual(database.prepare(`SELECT * FROM ${table}`).all(), [], table);
  }
  database.close();
});

// Red if: a call after disposal fails, or a lease of before still does something.
test("a backend that was disposed of can be used again", async () => {
  await using scene = new Scene();
  const backend = scene.backend();
  const before = await scene.lease(backend);
  await before.attempt(claim(), CALL);
  await before.close(CALL);
  await backend[Symbol.asyncDispose]();
  const after = await scene.lease(backend);
  assert.equal((await after.attempt(claim(), CALL)).state, "granted");
});
