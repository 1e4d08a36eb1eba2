import type { Lock } from "../../mod.ts";
import type { Oracle } from "./oracle.ts";
import type { SimProcess } from "./process.ts";
import type { World } from "./world.ts";

/** A write that is under way. */
interface Write {
  readonly process: SimProcess;
  readonly lock: Lock;
  readonly key: string;
  readonly token: bigint;
}

/**
 * What the locks protect: it refuses an exclusive token smaller than the greatest it has seen, and
 * judges itself whether that was right.
 */
export class Resource {
  readonly #world: World;
  readonly #oracle: Oracle;
  readonly #greatest = new Map<string, bigint>();
  /** The latest grant, in the store's order, whose write was accepted. */
  readonly #latest = new Map<string, number>();
  /** How many writes were accepted, and refused. */
  readonly counts = { accepted: 0, refused: 0 };

  constructor(world: World, oracle: Oracle) {
    this.#world = world;
    this.#oracle = oracle;
  }

  /** Code that has just seen its signal unaborted writes; that takes a while. */
  write(process: SimProcess, lock: Lock, delay: number): void {
    if (lock.limit !== 1) return;
    for (const [key, token] of lock.tokens) {
      this.#world.at(this.#world.now + delay, () => this.#arrive({ process, lock, key, token }), false);
    }
  }

  #arrive({ process, lock, key, token }: Write): void {
    const order = this.#oracle.order(key, token);
    if (token < (this.#greatest.get(key) ?? 0n)) {
      this.counts.refused++;
      this.#world.note(process.name, `  write to ${key} with token ${token} refused`);
      if (process.running && !this.#oracle.robbed(key, token) && !lock.signal.aborted) {
        this.#world.fail("no valid write is refused", `${process.name}, token ${token} of ${key}`);
      }
      return;
    }
    this.counts.accepted++;
    this.#greatest.set(key, token);
    if (order < (this.#latest.get(key) ?? -1)) {
      this.#world.fail("a stale token is refused", `${process.name}, token ${token} of ${key}, was accepted`);
    }
    this.#latest.set(key, Math.max(order, this.#latest.get(key) ?? -1));
  }
}
