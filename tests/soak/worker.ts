/**
 * Takes locks of all modes at random, over and over, until its standard input ends. Says of each hold when
 * it began, how long it is proven, and when it ended, in lines of JSON.
 *
 * `node worker.ts ADDRESS TTL LEDGER`
 */
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { type AcquireOptions, type Lock, LockLostError, LockManager } from "../../mod.ts";
import { Ledger } from "../demo/ledger.ts";
import { open } from "../faults/address.ts";

/** What it says of a hold. */
export type Word =
  | {
    readonly is: "held";
    readonly id: string;
    readonly key: string;
    readonly limit: number | "shared";
    readonly token: string;
    readonly from: number;
    readonly until: number;
  }
  | { readonly is: "proven"; readonly id: string; readonly until: number }
  | { readonly is: "over"; readonly id: string; readonly at: number }
  | { readonly is: "error"; readonly message: string };

const [address, ttl, path] = process.argv.slice(2) as [string, string, string];
using ledger = new Ledger(path);
const backend = await open(JSON.parse(address));
await using locks = new LockManager(backend, { retryFor: 120_000, ttl: Number(ttl) });
const kinds: readonly (readonly [key: string, AcquireOptions])[] = [
  ["ledger", {}],
  ["document", { mode: "shared" }],
  ["document", { mode: "shared" }],
  ["document", {}],
  // Where a semaphore cannot be had, readers take its place.
  ["slots", backend.traits.semaphore ? { limit: 3 } : { mode: "shared" }],
];
let leaving = false;
process.stdin.on("end", () => leaving = true).resume();

function say(word: Word): void {
  process.stdout.write(JSON.stringify(word) + "\n");
}

async function acquire(key: string, options: AcquireOptions): Promise<Lock | undefined> {
  if (Math.random() < 0.1) return await locks.tryAcquire(key, options);
  if (Math.random() < 0.7) return await locks.acquire(key, options);
  const signal = AbortSignal.timeout(Math.ceil(Math.random() * 200));
  return await locks.acquire(key, { ...options, signal }).catch((error) => {
    if (error === signal.reason) return undefined;
    throw error;
  });
}

async function once(): Promise<void> {
  const [key, options] = kinds[Math.floor(Math.random() * kinds.length)]!;
  await using lock = await acquire(key, options);
  if (lock === undefined) return;
  const { id, token, remaining } = lock;
  const limit = lock.mode === "shared" ? "shared" : lock.limit;
  const now = Date.now();
  say({ is: "held", id, key, limit, token: `${token}`, from: now, until: now + remaining });
  lock.addEventListener("renewed", () => say({ is: "proven", id, until: Date.now() + lock.remaining }));
  lock.signal.addEventListener("abort", () => say({ is: "over", id, at: Date.now() }));
  const last = Date.now() + (Math.random() < 0.1 ? Number(ttl) : 30) * Math.random();
  do {
    await sleep(5);
    if (lock.signal.aborted) return;
    // Somebody who was stopped in the middle of a write has the ledger locked.
    if (key === "ledger" && !ledger.busy) ledger.append(token, id);
  } while (Date.now() < last && !leaving);
}

while (!leaving) {
  try {
    await once();
  } catch (error) {
    if (!(error instanceof LockLostError)) say({ is: "error", message: String(error) });
  }
}
