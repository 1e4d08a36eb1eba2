import type { Compare, KeyValue, RequestOp } from "./client/messages.ts";
import { modifiedAt, put } from "./client/requests.ts";

/**
 * A key of the lease, made when first needed and gone with it, whose mod revision (0 while there is none) every
 * attempt to enter compares. To keep out those that may be under way it is enough to write it again: they are
 * refused whenever they arrive. Attempts of other claims that this hits learn that they had no effect, and are sent
 * again.
 */
export class Fence {
  /** Its name. */
  readonly key: string;
  /** The latest revision at which it is known to have been written. */
  #epoch = 0n;

  /** `home` is what the names of the lease's own keys begin with. */
  constructor(home: string) {
    this.key = `${home}epoch`;
  }

  /** What an attempt compares now. */
  get epoch(): bigint {
    return this.#epoch;
  }

  /** Holds for what is sent before the next withdrawal. */
  guard(): Compare {
    return modifiedAt(this.key, this.#epoch);
  }

  /** Keeps out every attempt sent before. */
  raise(lease: string): RequestOp {
    return put(this.key, "", lease);
  }

  /** It was written at this revision. */
  raised(revision: bigint): void {
    if (revision > this.#epoch) this.#epoch = revision;
  }

  /** Takes in a read of the lease's own keys. `false`: somebody has deleted it, and it has to be raised again. */
  learn(keys: readonly KeyValue[]): boolean {
    const found = keys.find(({ key }) => key.toString() === this.key);
    if (found !== undefined) this.raised(BigInt(found.mod_revision));
    return found !== undefined || this.#epoch === 0n;
  }
}
