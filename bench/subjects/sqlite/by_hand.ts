import { DatabaseSync } from "node:sqlite";
import type { Open } from "../subject.ts";

/** A lock table as one would write it: the same durability, prepared statements, no queue. */
export const open: Open = (address, ttl) => {
  const database = new DatabaseSync(`${new URL(address).pathname}-by-hand`);
  database.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA busy_timeout = 5000;
    CREATE TABLE IF NOT EXISTS counter (last INTEGER);
    CREATE TABLE IF NOT EXISTS locks (key TEXT PRIMARY KEY, token INTEGER, owner TEXT, expires INTEGER) WITHOUT ROWID;
    INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT * FROM counter);
  `);
  const begin = database.prepare("BEGIN IMMEDIATE");
  const commit = database.prepare("COMMIT");
  const look = database.prepare("SELECT * FROM locks WHERE key = ?");
  const next = database.prepare("UPDATE counter SET last = last + 1 RETURNING last");
  const insert = database.prepare("INSERT INTO locks VALUES (?, ?, ?, ?)");
  const remove = database.prepare("DELETE FROM locks WHERE key = ? AND owner = ?");
  return Promise.resolve({
    acquire(key) {
      const owner = crypto.randomUUID();
      database.exec("PRAGMA synchronous = FULL");
      begin.run();
      if (look.get(key) !== undefined) throw new Error("The lock is held");
      insert.run(key, next.get()!.last!, owner, Date.now() + ttl);
      commit.run();
      return Promise.resolve(() => {
        database.exec("PRAGMA synchronous = NORMAL");
        begin.run();
        remove.run(key, owner);
        commit.run();
        return Promise.resolve();
      });
    },
    close: () => Promise.resolve(database.close()),
  });
};
