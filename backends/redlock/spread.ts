import { clearTimeout, setTimeout } from "node:timers";
import type { Call } from "../../internal/backend.ts";
import type { RedlockBackend } from "./backend.ts";
import type { Track } from "./track.ts";

/** Milliseconds that a lock is held before it is worth more than a bare majority. */
const SOON = 20;
/** How long a node may take. No answer is waited for: a renewal does what could not be done now. */
const CALL: Call = { signal: new AbortController().signal, timeout: 1_000 };

/**
 * Locks that have the votes of a bare majority, and would be lost with one node of it. Most are released
 * within moments; those that are not are brought to the other nodes.
 */
export class Spread {
  readonly #backend: RedlockBackend;
  #granted: Track[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(backend: RedlockBackend) {
    this.#backend = backend;
  }

  /** A lock that has just been granted. */
  add(track: Track): void {
    this.#granted.push(track);
    if (this.#timer !== undefined) return;
    const since = performance.now();
    this.#timer = setTimeout(() => this.#all(since), SOON);
    this.#timer.unref(); // a lock that is held keeps the process alive, not this
  }

  /** Nothing is to be done any more. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#granted = [];
  }

  #all(since: number): void {
    const granted = this.#granted;
    this.clear();
    const slept = performance.now() - since;
    const { tracks, quorum } = this.#backend;
    for (const track of granted) {
      // It may be over by now, and not known to be.
      if (slept >= track.lease.ttl || track.withdrawn || tracks.get(track.claim.id) !== track) continue;
      for (const node of quorum.nodes) {
        if (!track.asked.has(node)) track.lease.adopt(track, node, CALL).catch(() => {});
      }
    }
  }
}
