import type { Claim, Outcome } from "../../internal/backend.ts";
import { type Names, names } from "./names.ts";
import type { Contender } from "./queue.ts";

/** What a lease knows of one of its claims. */
export interface Place {
  readonly id: string;
  readonly key: string;
  readonly limit: number;
  /** A number that it alone has, of the lease's claims on the key. */
  readonly slot: number;
  readonly names: Names;
  /** With metadata, which is kept apart. */
  readonly described: boolean;
  /** The last that the store said of it, if it has entered. */
  outcome: Outcome | undefined;
  /** Whom it waits for. */
  ahead: readonly Contender[];
  /** Of whom it was told that one has left, and how often in a row that was wrong. */
  hinted: readonly Contender[];
  misled: number;
  /** Attempts in progress. */
  attempts: number;
  /** Enters without an answer: they may yet arrive, at any time. */
  unanswered: number;
  /** It has been given up: nothing is sent for it any more. */
  withdrawn: boolean;
}

/** The claims of one lease, and who waits for one of them to leave. */
export class Places {
  readonly #root: string;
  readonly #session: string;
  readonly #places = new Map<string, Place>();
  readonly #byKey = new Map<string, Map<number, Place>>();
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor(root: string, session: string) {
    this.#root = root;
    this.#session = session;
  }

  get(id: string): Place | undefined {
    return this.#places.get(id);
  }

  /** The claims on a key, by slot. */
  on(key: string): Map<number, Place> {
    return this.#byKey.get(key) ?? new Map();
  }

  /** The place of a claim, made if there is none. */
  take(claim: Claim): Place {
    const { id, key, limit, metadata } = claim;
    const known = this.#places.get(id);
    if (known !== undefined) return known;
    const others = this.on(key);
    let slot = 0;
    while (others.has(slot)) slot++;
    const place: Place = {
      id,
      key,
      limit,
      slot,
      names: names(this.#root, claim, `${this.#session}.${slot}`),
      described: metadata !== undefined,
      outcome: undefined,
      ahead: [],
      hinted: [],
      misled: 0,
      attempts: 0,
      unanswered: 0,
      withdrawn: false,
    };
    this.#byKey.set(key, others.set(slot, place));
    this.#places.set(id, place);
    return place;
  }

  /** The claim is not in the store and cannot get there any more. */
  leave(place: Place): void {
    if (this.#places.get(place.id) !== place) return;
    this.#places.delete(place.id);
    const others = this.on(place.key);
    others.delete(place.slot);
    if (others.size === 0) this.#byKey.delete(place.key);
    for (const wake of this.#waiting.get(place.id) ?? []) wake();
    this.#waiting.delete(place.id);
  }

  /** All of them. */
  clear(): void {
    for (const place of [...this.#places.values()]) this.leave(place);
  }

  /** Resolves once the claim has left; with `false`, when the signal aborts. */
  left(id: string, signal: AbortSignal): Promise<boolean> {
    if (!this.#places.has(id)) return Promise.resolve(true);
    if (signal.aborted) return Promise.resolve(false);
    return new Promise((resolve) => {
      const wake = (): void => resolve(true);
      const waiting = this.#waiting.get(id) ?? new Set();
      this.#waiting.set(id, waiting.add(wake));
      signal.addEventListener("abort", () => {
        waiting.delete(wake);
        resolve(false);
      }, { once: true });
    });
  }
}
