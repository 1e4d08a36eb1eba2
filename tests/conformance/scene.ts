import type { Backend, Traits } from "../../internal/backend.ts";
import { encodeKey } from "../../internal/keys.ts";
import { use } from "../../internal/users.ts";
import { type Lock, LockManager } from "../../mod.ts";
import { fail, PATIENCE, within } from "./assert.ts";
import { FaultyBackend } from "./faulty.ts";
import type { Harness, Partition } from "./harness.ts";

/** As the manager takes them. */
export type ManagerOptions = NonNullable<ConstructorParameters<typeof LockManager>[1]>;
/** As an acquisition takes them. */
export type AcquireOptions = NonNullable<Parameters<LockManager["acquire"]>[1]>;

/** Milliseconds. A machine that is busy takes a second for what else takes one thousandth of it. */
const SHORT = 3_000;
const STEADY = 8_000;

/** The world of one case: managers over one store, under a prefix that nobody else uses. */
export class Scene {
  /** What the store promises. */
  readonly traits: Traits;
  /** Of every manager, unless it is given another. */
  readonly prefix: string = `test ${crypto.randomUUID()}`;
  /** For cases that wait for an expiry, and for nothing else. */
  readonly ttl: number;
  /** For cases that wait for longer than a ttl with a lock that must not be lost. */
  readonly steady: number;
  /** For cases in which nothing may be left to an expiry: longer than they have patience. */
  readonly long: number;
  /** For cases in which a revocation has to be heard of. */
  readonly heard: number;
  readonly #harness: Harness;
  readonly #leave: () => Promise<void>;
  readonly #managers: LockManager[] = [];
  readonly #partitions: Partition[] = [];

  private constructor(harness: Harness, spare: Backend) {
    this.#harness = harness;
    this.#leave = use(spare);
    this.traits = spare.traits;
    this.ttl = harness.ttl ?? Math.max(SHORT, this.traits.minTtl);
    this.steady = Math.max(STEADY, this.ttl);
    this.long = Math.min(10 * PATIENCE, this.traits.maxTtl);
    this.heard = harness.tells === false ? this.steady : this.long;
  }

  /** Plays one case and clears up after it. */
  static async play(harness: Harness, play: (scene: Scene) => Promise<void>): Promise<void> {
    const backend = await harness.open();
    const scene = new Scene(harness, backend);
    const alive = setInterval(() => {}, PATIENCE); // a case that waits in vain has to come to its bound
    const failure = await within(play(scene), "the case to end", 4 * PATIENCE).then(() => undefined, caught);
    const unclear = await within(scene.#clear(), "the managers to close").then(() => undefined, caught);
    clearInterval(alive);
    const worst = failure ?? unclear;
    if (worst !== undefined) throw worst.error;
  }

  /** A manager over a backend of its own, or over the one given. */
  async manager(options: ManagerOptions = {}, backend?: Backend): Promise<LockManager> {
    const manager = new LockManager(backend ?? await this.#harness.open(), {
      prefix: this.prefix,
      ...options,
    });
    this.#managers.push(manager);
    return manager;
  }

  /** Two managers, each over a backend of its own. */
  pair(options: ManagerOptions = {}): Promise<[LockManager, LockManager]> {
    return Promise.all([this.manager(options), this.manager(options)]);
  }

  /** The real backend behind a network that loses, delays and duplicates. */
  async faulty(): Promise<FaultyBackend> {
    const faulty = new FaultyBackend(await this.#harness.open());
    this.#partitions.push(faulty);
    return faulty;
  }

  /** A backend that can be cut off from its store; by the harness, if it knows how. */
  async severable(): Promise<Partition> {
    if (this.#harness.partition === undefined) return this.faulty();
    const partition = await this.#harness.partition();
    this.#partitions.push(partition);
    return partition;
  }

  /** Removes the holders from the store behind everyone's back. */
  async revoke(key: string): Promise<void> {
    if (this.#harness.revoke === undefined) fail("the case asks for a revocation without declaring it");
    await this.#harness.revoke(encodeKey(this.prefix, key));
  }

  /** Whether a semaphore can be had; where it cannot, cases use readers in its place. */
  get plural(): Pick<AcquireOptions, "mode" | "limit"> {
    return this.traits.semaphore ? { limit: 2 } : { mode: "shared" };
  }

  async #clear(): Promise<void> {
    for (const partition of this.#partitions) await partition.heal();
    await Promise.all(this.#managers.map((manager) => manager.close()));
    for (const partition of this.#partitions) {
      if (!(partition instanceof FaultyBackend)) await partition[Symbol.asyncDispose]();
      else if (partition.disposals === 0) await partition[Symbol.asyncDispose]();
    }
    await this.#leave();
  }
}

/** `undefined` may be thrown, too. */
function caught(error: unknown): { error: unknown } {
  return { error };
}

/** Watches over the locks of a case: of two that exclude each other, never both believe they hold. */
export class Witness {
  readonly #live = new Map<Lock, string>();

  /** A lock was granted. Everyone it excludes must know by now that it is over. */
  enter(lock: Lock): void {
    for (const [other, key] of this.#live) {
      if (key !== lock.key || (other.limit > 1 && lock.limit > 1)) continue;
      if (!other.signal.aborted && !lock.signal.aborted) {
        fail(`two holders of ${JSON.stringify(key)} at once, with tokens ${other.token} and ${lock.token}`);
      }
      if (lock.token <= other.token) fail(`token ${lock.token} was granted after ${other.token}`);
    }
    this.#live.set(lock, lock.key);
  }

  /** It is about to be released. */
  leave(lock: Lock): void {
    this.#live.delete(lock);
  }
}
