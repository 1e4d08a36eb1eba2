import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Lock, LockManager } from "../../mod.ts";
import { Ledger } from "../demo/ledger.ts";
import type { Runtime } from "../runner/runtimes.ts";
import { open } from "./address.ts";
import { type Fault, type Outcome, promised } from "./faults.ts";
import type { Ground, Store } from "./grounds.ts";
import { HolderProcess } from "./holder_process.ts";

/** How a trial went. */
export interface Result {
  readonly store: string;
  readonly fault: string;
  readonly runtime: string;
  readonly outcome: Outcome;
  /** Milliseconds from the holder's last belief to the next one's grant; the promise is: above 0. */
  readonly lead: number | undefined;
  /** Writes with a stale token that the ledger had to refuse. */
  readonly refused: number;
}

/**
 * Milliseconds of ttl for a lock that has to survive: on a busy machine everything takes seconds, and the
 * restart or failover of a store the greater part of ten, of which a ttl has only what is left of it when
 * the store goes away.
 */
const KEEPS = 12_000;
const OUTLIVES = 30_000;

/** One fault to one holder, with the next in line and a ledger as witnesses. Throws if a promise is broken. */
export async function trial(store: Store, fault: Fault, ground: Ground, runtime: Runtime): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-trial-"));
  const path = join(folder, "ledger.db");
  const key = `trial-${crypto.randomUUID()}`;
  const outcome = promised(fault, store)!;
  const goesAway = fault.on === "restarting" || fault.on === "failing";
  const ttl = outcome === "kept" ? Math.max(store.ttl, goesAway ? OUTLIVES : KEEPS) : store.ttl;
  using ledger = new Ledger(path);
  try {
    await using route = fault.networked ? await ground.route!() : undefined;
    const address = route?.address ?? ground.address;
    if (route !== undefined) fault.before?.(route, key);
    await using holder = new HolderProcess({ runtime, address, key, ttl, ledger: path });
    await holder.hear("acquired");
    await using locks = new LockManager(await open(ground.address), { retryFor: 60_000 });
    const next = new Next(locks, key, ttl, ledger);
    // A holder with a short ttl that has stood still may be over before its fault: the promise is the same.
    await Promise.race([next.waiting, next.granted]);
    const scene = { ground, route, holder, ttl, file: join(folder, "go"), granted: next.granted };
    const state = () =>
      `"${fault.name}" on ${store.name}: next granted at ${next.grantedAt}, the holder said ` +
      JSON.stringify(holder.said);
    // Nothing is proven by a trial whose fault waits for ever.
    if (goesAway) await ground.secured?.(key);
    const limit = within(3 * ttl + store.lag + 20_000, state);
    await Promise.race([fault.during?.(scene), limit.passed]);
    if (outcome === "kept") {
      if (next.grantedAt !== undefined) throw new Error(`The lock was to be kept, ${state()}`);
      holder.order("release");
      if (route !== undefined) fault.release?.(route);
      const { released, error } = await Promise.race([holder.hear("released"), limit.passed]);
      if (released !== true) throw new Error(`The release said ${error ?? released}`);
    }
    await Promise.race([next.granted, limit.passed]);
    if (outcome === "handed on" || outcome === "told late") {
      await Promise.race([holder.hear("lost"), limit.passed]);
    }
    await next.write();
    limit.end();
    judge(ledger);
    const lead = outcome === "kept" ? undefined : next.grantedAt! - holder.believedUntil;
    if (outcome === "handed on" && !(lead! > 0)) {
      throw new Error(`The next had the lock ${-lead!} ms too early`);
    }
    const refused = holder.said.filter(({ event }) => event === "refused").length;
    return { store: store.name, fault: fault.name, runtime: runtime.name, outcome, lead, refused };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Who waits for the lock, by a way that the fault does not touch. */
class Next {
  readonly waiting: Promise<void>;
  readonly granted: Promise<void>;
  grantedAt: number | undefined;
  readonly #lock: Promise<Lock>;
  readonly #ledger: Ledger;

  constructor(locks: LockManager, key: string, ttl: number, ledger: Ledger) {
    this.#ledger = ledger;
    this.waiting = new Promise((resolve) => locks.addEventListener("waiting", () => resolve()));
    this.#lock = locks.acquire(key, { ttl });
    this.#lock.catch(() => {});
    this.granted = this.#lock.then((lock) => {
      this.grantedAt = Date.now();
      // A holder that was stopped in the middle of a write has the ledger locked, and comes first.
      if (!ledger.busy) ledger.append(lock.token, "next");
    });
    this.granted.catch(() => {});
  }

  /** It holds, for real: what it writes is taken. */
  async write(): Promise<void> {
    const { token } = await this.#lock;
    if (this.#ledger.append(token, "next").refusedBy !== undefined) {
      throw new Error("The next was fenced off");
    }
  }
}

/** In the ledger no token is smaller than the one before it, and none has two writers. */
function judge(ledger: Ledger): void {
  const lines = ledger.lines();
  for (const [index, { token, writer }] of lines.entries()) {
    const before = lines[index - 1];
    if (before === undefined || token > before.token) continue;
    if (token < before.token) throw new Error(`Token ${token} was written after ${before.token}`);
    if (writer !== before.writer) throw new Error(`Token ${token} was had by ${before.writer} and ${writer}`);
  }
}

function within(ms: number, state: () => string): { passed: Promise<never>; end(): void } {
  let timer: ReturnType<typeof setTimeout>;
  const passed = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Not over after ${ms} ms, ${state()}`)), ms);
  });
  passed.catch(() => {});
  return { passed, end: () => clearTimeout(timer) };
}
