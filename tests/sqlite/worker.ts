/**
 * A process that does as it is told by lines of JSON on its input: `{ id, act, key, options }`. Answers
 * `{ id, at, ... }`, and reports what it hears in between without an id. Times are wall times with
 * fractions, so that processes can be compared.
 */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import cluster from "node:cluster";
import process from "node:process";
import { createInterface } from "node:readline";
import { sqlite } from "../../backends/sqlite.ts";
import { type Lock, LockManager } from "../../mod.ts";

const [path, retryFor] = process.argv.slice(2) as [string, string?];
const manager = new LockManager(sqlite(path), retryFor === undefined ? {} : { retryFor: Number(retryFor) });
manager.addEventListener("waiting", ({ key }) => say({ heard: "waiting", key }));
const locks = new Map<string, Lock>();
const descriptors: number[] = [];
const at = () => performance.timeOrigin + performance.now();

function say(line: Record<string, unknown>): void {
  console.log(JSON.stringify({ at: at(), ...line }));
}

function got(key: string, lock: Lock | undefined): Record<string, unknown> {
  if (lock === undefined) return { held: false };
  locks.set(key, lock);
  lock.addEventListener("lost", ({ reason }) => say({ heard: "lost", key, reason }));
  return { held: lock.held, token: String(lock.token) };
}

async function act(name: string, key: string, options: object): Promise<Record<string, unknown>> {
  switch (name) {
    case "acquire":
      return got(key, await manager.acquire(key, options));
    case "tryAcquire":
      return got(key, await manager.tryAcquire(key, options));
    case "release": {
      const since = at();
      return { since, released: await locks.get(key)!.release() };
    }
    case "look":
      return { held: locks.get(key)!.held, aborted: locks.get(key)!.signal.aborted };
    case "watch": {
      const watch = manager.watch(key);
      watch.addEventListener("locked", ({ token }) => say({ heard: "locked", key, token: String(token) }));
      watch.addEventListener("unlocked", () => say({ heard: "unlocked", key }));
      await watch.ready;
      return {};
    }
    case "block": { // until a file is there, and says so before
      say({ heard: "blocking" });
      while (!existsSync(key));
      return {};
    }
    case "exhaust": { // its file descriptors, but for some
      // Deno takes two for signals before long, and panics if there are none (2.9, whatever it runs).
      process.once("SIGUSR2", () => {});
      try {
        for (;;) descriptors.push(openSync("/dev/null", "r"));
      } catch {
        for (const each of descriptors.splice(0, Number(key) || 0)) closeSync(each);
        return {};
      }
    }
    case "relent":
      for (const each of descriptors.splice(0)) closeSync(each);
      return {};
    case "churn": { // opens, counts under the lock, and closes, so many times
      const { times } = options as { times: number };
      for (let time = 0; time < times; time++) {
        await using other = new LockManager(sqlite(path));
        await using lock = await other.acquire(key);
        const [count, token] = readFileSync(`${path}.count`, "utf8").split(" ").map(BigInt) as [
          bigint,
          bigint,
        ];
        if (lock.token <= token) throw new Error(`Token ${lock.token} after ${token}`);
        await undefined;
        writeFileSync(`${path}.count`, `${count + 1n} ${lock.token}`);
      }
      return {};
    }
    case "compete": // for as long as it lives; says each time that it has had the lock
      void (async () => {
        for (;;) {
          try {
            const lock = await manager.acquire(key, options);
            say({ heard: "had", token: String(lock.token) });
            await new Promise((resolve) => setTimeout(resolve, 20));
            await lock.release();
          } catch {
            // Again.
          }
        }
      })();
      return {};
    case "inspect":
      return { holders: (await manager.inspect(key))?.holders.length ?? 0 };
    case "visit": { // by another manager, which closes then
      await using other = new LockManager(sqlite(path));
      return got("visited", await other.tryAcquire(key));
    }
    case "backup": { // as a program does that copies its own data folder
      for (const name of readdirSync(dirname(path), { recursive: true, encoding: "utf8" })) {
        const file = join(dirname(path), name);
        if (statSync(file).isFile()) readFileSync(file);
      }
      return {};
    }
    case "become": { // another user, of a group, with a umask that leaves nobody else a right
      const [uid, gid] = key.split(":").map(Number) as [number, number];
      process.umask(0o077);
      process.setegid!(gid);
      process.seteuid!(uid);
      return {};
    }
    case "disconnect": // a worker of `node:cluster` from its primary
      await new Promise<void>((resolve) => {
        cluster.worker!.once("disconnect", resolve);
        cluster.worker!.disconnect();
      });
      return {};
    case "exit": // without a word to anybody
      process.exit(0);
      break;
    case "cpu": {
      const { user, system } = process.cpuUsage();
      return { cpu: (user + system) / 1_000 };
    }
    default:
      await manager.close();
      return {};
  }
}

/** Milliseconds that it stays after its parent, at most: a parent that was killed ends nobody. */
const PATIENCE = 30_000;

const orders = createInterface({ input: process.stdin });
orders.on("close", () => setTimeout(() => process.exit(1), PATIENCE).unref());
orders.on("line", async (line) => {
  const { id, act: name, key, options } = JSON.parse(line);
  say({ id, ...await act(name, key, options).catch((error) => ({ error: String(error) })) });
});
say({ heard: "ready", pid: process.pid });
