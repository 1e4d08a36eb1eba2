/** The embedded default: against the same work done by hand, against lock files, and between processes. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import lockfile from "proper-lockfile";
import { sqlite } from "../backends/sqlite.ts";
import { LockManager } from "../mod.ts";
import { Child } from "../tests/sqlite/child.ts";
import { type Figure, median, ratio, type Round } from "./figures.ts";

const HANDOVERS = 100;
const WAITERS = 100;
/** Milliseconds over which idle waiters are watched: a few heartbeats. */
const IDLE = 10_000;

/** Each in a folder of its own. */
export async function run(): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-bench-"));
  try {
    return [...await cycles(folder), await handOver(join(folder, "b.db")), await idle(join(folder, "c.db"))];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function cycles(folder: string): Promise<Figure[]> {
  await using locks = new LockManager(sqlite(join(folder, "a.db")));
  using database = new DatabaseSync(join(folder, "hand.db"));
  const file = join(folder, "file");
  writeFileSync(file, "");
  const ours: Round = async () => await (await locks.acquire("key")).release();
  const theirs: Round = async () => await (await lockfile.lock(file))();
  return [
    {
      what: "sqlite: acquire + release against its two write transactions by hand",
      value: await ratio(ours, byHand(database)),
      unit: "x",
      bound: { most: 2 },
    },
    {
      what: "sqlite: acquire + release against proper-lockfile",
      value: await ratio(ours, theirs),
      unit: "x",
    },
  ];
}

/** A lock table as one would write it: the same durability, prepared statements, no queue. */
function byHand(database: DatabaseSync): Round {
  database.exec(`
    PRAGMA journal_mode = WAL;
    CREATE TABLE counter (last INTEGER);
    INSERT INTO counter VALUES (0);
    CREATE TABLE locks (key TEXT PRIMARY KEY, token INTEGER, owner TEXT, expires INTEGER) WITHOUT ROWID;
  `);
  const begin = database.prepare("BEGIN IMMEDIATE");
  const commit = database.prepare("COMMIT");
  const look = database.prepare("SELECT * FROM locks WHERE key = ?");
  const next = database.prepare("UPDATE counter SET last = last + 1 RETURNING last");
  const insert = database.prepare("INSERT INTO locks VALUES (?, ?, ?, ?)");
  const remove = database.prepare("DELETE FROM locks WHERE key = ? AND owner = ?");
  return () => {
    const owner = crypto.randomUUID();
    database.exec("PRAGMA synchronous = FULL");
    begin.run();
    if (look.get("key") !== undefined) throw new Error("The lock is held");
    insert.run("key", next.get()!.last!, owner, Date.now() + 10_000);
    commit.run();
    database.exec("PRAGMA synchronous = NORMAL");
    begin.run();
    remove.run("key", owner);
    commit.run();
  };
}

/** From before the release in one process until the other one has its handle. */
async function handOver(path: string): Promise<Figure> {
  let [holder, waiter] = await Promise.all([Child.start(path), Child.start(path)]);
  const times: number[] = [];
  await holder.does("acquire");
  for (let round = -10; round < HANDOVERS; round++) {
    const next = waiter.does("acquire");
    await waiter.hears("waiting");
    await sleep(10); // until it listens
    const { since } = await holder.does("release");
    const { at } = await next;
    if (round >= 0) times.push(at - since!);
    [holder, waiter] = [waiter, holder];
  }
  await holder[Symbol.asyncDispose]();
  await waiter[Symbol.asyncDispose]();
  return {
    what: "sqlite: hand-over to a waiting process, p50",
    value: median(times),
    unit: "ms",
    bound: { most: 2 },
  };
}

/** What waiting costs, the holder's renewals included. */
async function idle(path: string): Promise<Figure> {
  await using holder = await Child.start(path);
  await using waiter = await Child.start(path);
  await holder.does("acquire");
  for (let count = 0; count < WAITERS; count++) waiter.does("acquire").catch(() => {});
  await waiter.does("cpu");
  await sleep(2_000); // until all stand in the queue
  const spent = async () => (await holder.does("cpu")).cpu! + (await waiter.does("cpu")).cpu!;
  const before = await spent();
  await sleep(IDLE);
  return {
    what: `sqlite: ${WAITERS} idle waiters in another process, of one core`,
    value: (await spent() - before) / IDLE * 100,
    unit: "%",
    bound: { most: 2 },
  };
}
