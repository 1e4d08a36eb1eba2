/** The backend by itself: order numbers, expiry by the wall clock, a file that goes away, a busy file. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Grant, Outcome } from "../../internal/backend.ts";
import type { Row } from "../../backends/sqlite/claims.ts";
import { Lookouts } from "../../backends/sqlite/lookout.ts";
import { Session } from "../../backends/sqlite/session.ts";
import { Child } from "./child.ts";
import { call, claim, Scene } from "./support.ts";

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
      tokens.push(token(await lease.attempt(each, call)));
      await lease.release(each, call);
    }
    await lease.close(call);
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
      tokens.push(token(await lease.attempt(claim({ key: `holdfast/${count}` }), call)));
    }
    await lease.close(call);
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
  await dead.attempt(first, call);
  sql(scene, "UPDATE claims SET expires = expires + 3600000"); // as if it had been an hour later then
  const started = performance.now();
  while (performance.now() - started < 5_000) {
    const outcome = await heir.attempt(second, call);
    if (outcome.state === "granted") break;
    assert.equal(outcome.state, "contended");
    assert.ok(outcome.recheck! <= 1_001, `recheck in ${outcome.recheck} ms`);
    await sleep(outcome.recheck);
  }
  const waited = performance.now() - started;
  assert.ok(waited >= 990 && waited < 5_000, `granted after ${waited} ms`);
});

// Red if: a claim that has run out can be renewed, or a waiter holds beside one that was not removed.
test("what has expired is gone, and says so", async () => {
  await using scene = new Scene();
  const [ours, theirs] = [await scene.lease(scene.backend(), 100), await scene.lease()];
  const [first, second] = [claim(), claim()];
  await ours.attempt(first, call);
  first.progress = "entered";
  await sleep(120);
  assert.deepEqual((await ours.renew([first], call)).get(first.id), { state: "gone", why: "expired" });
  assert.equal((await theirs.attempt(second, call)).state, "granted");
  assert.deepEqual(await ours.attempt(first, call), { state: "gone", why: "expired" });
});

// Red if: the end of a lease is told to nobody.
test("closing a lease hands on what it held", async () => {
  await using scene = new Scene();
  const [ours, theirs] = [await scene.lease(), await scene.lease()];
  const waiting = claim();
  const first = token(await ours.attempt(claim(), call));
  await theirs.attempt(waiting, call);
  const changed = theirs.changed(waiting, call);
  await sleep(20); // until it listens
  await ours.close(call);
  assert.ok(token(await changed) > first);
});

// Red if: a lock of SQLite is waited for without letting go of the event loop, or fails at once.
test("while another program writes, calls wait and the event loop goes on", async () => {
  await using scene = new Scene();
  const lease = await scene.lease();
  await lease.attempt(claim({ key: "holdfast/other" }), call);
  const writer = new DatabaseSync(scene.path);
  writer.exec("BEGIN IMMEDIATE");
  const attempts = [1, 2, 3].map((key) => lease.attempt(claim({ key: `holdfast/${key}` }), call));
  let turns = 0;
  for (const started = performance.now(); performance.now() - started < 200; turns++) await sleep(1);
  assert.ok(turns > 5, `${turns} turns of the event loop in 200 ms`);
  writer.exec("COMMIT");
  writer.close();
  assert.ok(isRising((await Promise.all(attempts)).map(token)), "in the order they were asked for");
});

// Red if: an attempt that was given up while it waited for the file enters afterwards.
test("an attempt given up while the file is busy leaves nothing", async () => {
  await using scene = new Scene();
  const backend = scene.backend();
  const lease = await scene.lease(backend);
  await lease.attempt(claim({ key: "holdfast/other" }), call);
  const writer = new DatabaseSync(scene.path);
  writer.exec("BEGIN IMMEDIATE");
  const giveUp = new AbortController();
  const abandoned = claim();
  const attempt = lease.attempt(abandoned, { signal: giveUp.signal, timeout: 100 });
  await sleep(20);
  giveUp.abort(new Error("given up"));
  await assert.rejects(attempt, /given up/);
  abandoned.progress = "unsure";
  const withdrawn = lease.release(abandoned, call);
  writer.exec("COMMIT");
  writer.close();
  assert.equal(await withdrawn, false);
  assert.deepEqual(await backend.list("holdfast/k", call), []);
  assert.equal((await lease.attempt(abandoned, call)).state, "gone", "a late copy");
});

// Red if: a file descriptor of the lock file is closed in this process while SQLite has the file open
// elsewhere in it: POSIX then drops SQLite's locks, and others believe that nobody uses the file.
test("opening the file again in a process leaves the locks on it alone", {
  skip: !existsSync("/proc/locks"),
}, async () => {
  await using scene = new Scene();
  await (await scene.lease()).attempt(claim(), call);
  const { ino } = statSync(scene.path);
  const locked = () => readFileSync("/proc/locks", "utf8").includes(`:${ino} `);
  assert.ok(locked(), "the file is locked while it is open");
  await using second = scene.backend();
  await (await scene.lease(second)).attempt(claim({ key: "holdfast/other" }), call);
  assert.ok(locked(), "opened twice");
  await second[Symbol.asyncDispose]();
  assert.ok(locked(), "closed once");
});

// Red if: sockets of processes that were killed are left for ever, or those of living ones removed.
test("what a killed process leaves behind is removed by whoever finds out", async () => {
  await using scene = new Scene();
  const lease = await scene.lease();
  await lease.attempt(claim({ key: "holdfast/other" }), call);
  const traces = () => readdirSync(`${scene.path}-peers`).length; // a file and a socket each
  await using child = await Child.start(scene.path);
  await child.does("acquire", "k", { ttl: 120_000 });
  assert.equal(traces(), 4);
  child.signal("SIGKILL");
  await child.ended;
  assert.equal((await lease.attempt(claim({ wait: false }), call)).state, "granted");
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
    await ours.attempt(first, call);
    const told = Promise.withResolvers<void>();
    await using _watch = await b.watch("holdfast/k", { changed: told.resolve, failed: told.reject }, call);
    assert.equal((await theirs.attempt(second, call)).state, "contended");
    const changed = theirs.changed(second, { ...call, timeout: Infinity });
    await ours.release(first, call);
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
  await (await scene.lease()).attempt(claim(), call);
  const folder = `${scene.path}-peers`;
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
  const other = await scene.lease();
  assert.equal((await other.attempt(claim({ wait: false }), call)).state, "contended");
  const waiting = claim();
  await other.attempt(waiting, call);
  const heard = new AbortController();
  const changed = other.changed(waiting, { signal: heard.signal, timeout: Infinity });
  assert.equal(await Promise.race([changed, sleep(200, "silence")]), "silence");
  heard.abort();
  assert.equal((await other.attempt(waiting, call)).state, "contended");
});

// Red if: a file by the name of a session is taken for that session's own.
test("an unlocked copy in the place of a holder's proof of life proves nothing", async () => {
  await using scene = new Scene();
  await (await scene.lease()).attempt(claim(), call);
  const folder = `${scene.path}-peers`;
  const name = readdirSync(folder).find((each) => !each.endsWith(".sock"))!;
  writeFileSync(join(folder, "copy"), "");
  renameSync(join(folder, "copy"), join(folder, name));
  rmSync(join(folder, `${name.slice(0, 16)}.sock`)); // nor does anybody answer there
  const other = await scene.lease();
  assert.equal((await other.attempt(claim({ wait: false }), call)).state, "contended");
});

// Red if: who comes while the last one is just leaving has looks of their own from then on.
test("however many come and go, there is one look for all of them", async () => {
  await using scene = new Scene();
  const session = new Session(scene.path);
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
  const cancel = lookouts.add({ version: 0, session: "somebody's", seen() {} });
  await sleep(600);
  cancel();
  assert.ok(looks > 0 && looks <= 600 / 30 + 1, `${looks} looks`);
  await session.close();
});

// Red if: what goes on behind a session opens the file once more for itself, after it was closed.
test("a session that closes while it looks after an ended one stays closed", async () => {
  await using scene = new Scene();
  const session = new Session(scene.path);
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
    await lease.attempt(claim(), call);
    const watch = await backend.watch("holdfast/k", { changed() {}, failed() {} }, call);
    await watch[Symbol.asyncDispose]();
    await lease.close(call);
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
  await before.attempt(claim(), call);
  await before.close(call);
  await backend[Symbol.asyncDispose]();
  const after = await scene.lease(backend);
  assert.equal((await after.attempt(claim(), call)).state, "granted");
});
