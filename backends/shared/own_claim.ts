import type { Claim, Outcome } from "../../internal/backend.ts";

/** One entry of a queue, as the queue rule looks at it. */
export interface Queued {
  /** Its name in the store. */
  readonly name: string;
  /** As of {@linkcode Claim.limit}. */
  readonly limit: number;
  /** Milliseconds until the store drops it unless it is renewed, where that is known. */
  readonly remaining?: number;
}

/** What a lease knows of one of its claims. Only the lease writes it; a store's adapter reads it. */
export interface OwnClaim<Q extends Queued = Queued> {
  /** What was asked for. */
  readonly claim: Claim;
  /** A number that no other claim of the lease on this key has, nor one of which anything may be under way. */
  readonly number: number;
  /** Its entry's name, once the store has told. */
  readonly name: string | undefined;
  /** Its place in the order and fencing token, while its entry is known to be in the queue. */
  readonly token: bigint | undefined;
  /** Attempts whose answer never came: as many copies may yet arrive, at any time. */
  readonly doubts: number;
  /** Whom the claim waits for, as far as nothing has been heard of them since the last look. */
  readonly ahead: readonly Q[];
  /** Whether it holds once the one it waits for has left, if that one has held alone: then nobody else was ahead. */
  readonly next: boolean;
  /** That has happened, as the lease knows of its own claims. All that is open is whether this one is still there. */
  readonly inherits: boolean;
  /** The last that the store has said of the claim. */
  readonly outcome: Outcome | undefined;
}

/** Whether this was a claim that nobody was ahead of when it was granted, and so nobody ever will be. */
export function heldAlone({ claim, outcome }: OwnClaim): boolean {
  return claim.limit === 1 && outcome?.state === "granted";
}

/** The same for the one who writes it. */
export interface Kept<Q extends Queued> extends OwnClaim<Q> {
  name: string | undefined;
  token: bigint | undefined;
  doubts: number;
  ahead: readonly Q[];
  next: boolean;
  inherits: boolean;
  outcome: Outcome | undefined;
  /** Given up: no attempt may be sent any more. */
  withdrawn: boolean;
  /** It was made to leave by its name, for which nobody knows more of it: copies of that may be under way as well. */
  fenced: boolean;
  /** Who waits for its end. */
  waiting: Set<(left: OwnClaim) => void> | undefined;
}

/** The claims of one lease. */
export class OwnClaims<Q extends Queued> {
  readonly #byId = new Map<string, Kept<Q>>();
  readonly #byName = new Map<string, Kept<Q>>();
  /** `undefined` for a number that must not be used again: something that bears it may be under way. */
  readonly #byKey = new Map<string, Map<number, Kept<Q> | undefined>>();

  /** The claim of this id. */
  get(id: string): Kept<Q> | undefined {
    return this.#byId.get(id);
  }

  /** The claim whose entry has this name. */
  named(name: string): Kept<Q> | undefined {
    return this.#byName.get(name);
  }

  /** All of them. */
  values(): Kept<Q>[] {
    return [...this.#byId.values()];
  }

  /** Those on one key. */
  on(key: string): Kept<Q>[] {
    return [...this.#byKey.get(key)?.values() ?? []].filter((own) => own !== undefined);
  }

  /** Takes a claim in. A number is used again as soon as may be: stores remember each name there ever was. */
  add(claim: Claim): Kept<Q> {
    const { id, key } = claim;
    const numbers = this.#byKey.get(key) ?? new Map();
    let number = numbers.size;
    while (numbers.has(number)) number--; // so many numbers cannot be all those up to there
    const own: Kept<Q> = {
      claim,
      number,
      name: undefined,
      token: undefined,
      doubts: 0,
      ahead: [],
      next: false,
      inherits: false,
      outcome: undefined,
      withdrawn: false,
      fenced: false,
      waiting: undefined,
    };
    this.#byKey.set(key, numbers.set(number, own));
    this.#byId.set(id, own);
    return own;
  }

  /** The store has told the name of its entry. */
  name(own: Kept<Q>, name: string): void {
    if (own.name === name || this.#byId.get(own.claim.id) !== own) return;
    own.name = name;
    this.#byName.set(name, own);
  }

  /** The claim is over. Wakes who waits for that. */
  drop(own: Kept<Q>): void {
    own.withdrawn = true;
    const { id, key } = own.claim;
    if (this.#byId.get(id) !== own) return;
    this.#byId.delete(id);
    if (own.name !== undefined && this.#byName.get(own.name) === own) this.#byName.delete(own.name);
    const numbers = this.#byKey.get(key)!;
    if (own.doubts > 0 || own.fenced) numbers.set(own.number, undefined);
    else if (numbers.delete(own.number) && numbers.size === 0) this.#byKey.delete(key);
    for (const wake of own.waiting ?? []) wake(own);
  }
}
