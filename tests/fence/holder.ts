/**
 * The process that is stopped: takes the lock, writes, and at a line on its standard input writes once more, as
 * one who has looked at its signal before it was stopped. Says what it does as lines of JSON.
 *
 * `node holder.ts PLACE LOCKS KEY TTL`
 */
import { once } from "node:events";
import process from "node:process";
import { sqlite } from "../../backends/sqlite.ts";
import { StaleTokenError } from "../../fence.ts";
import { LockManager } from "../../mod.ts";
import { open } from "./resources.ts";

const [place, path, key, ttl] = process.argv.slice(2) as [string, string, string, string];
await using resource = await open(JSON.parse(place));
await using locks = new LockManager(sqlite(path));

function say(report: object): void {
  process.stdout.write(JSON.stringify(report) + "\n");
}

const lock = await locks.acquire(key, { ttl: Number(ttl) });
await resource.write(lock.key, lock.token, "of the first");
say({ event: "wrote", token: String(lock.token) });
await once(process.stdin, "data");
try {
  await resource.write(lock.key, lock.token, "of the first, late");
  say({ event: "wrote late" });
} catch (error) {
  if (!(error instanceof StaleTokenError)) throw error;
  const { code, key, token, seen } = error;
  say({ event: "refused", code, key, token: String(token), seen: String(seen) });
}
process.stdin.destroy();
