import type { KeptClaim } from "./kept_claim.ts";
import { Limiter } from "./limiter.ts";

/** What the debts of a lease need of it. */
export interface Debtor {
  /** Elapsed milliseconds. */
  now(): number;
  /** Releases one claim in the store. */
  release(kept: KeptClaim): Promise<boolean>;
  /** One try more in vain. */
  failed(kept: KeptClaim, error: unknown): void;
}

/** How many are released at once. */
const AT_ONCE = 16;

/**
 * Claims that may still be in the store although no caller wants them any more: failed releases,
 * abandoned attempts, locks past their deadline. Each is released again until the store confirms, or
 * until it must have dropped the claim by itself.
 */
export class Debts {
  readonly #debtor: Debtor;
  readonly #owed = new Map<KeptClaim, number>();

  constructor(debtor: Debtor) {
    this.#debtor = debtor;
  }

  /** How many there are. */
  get size(): number {
    return this.#owed.size;
  }

  /** `until` when the store keeps the claim at most; for ever, where something else keeps it alive. */
  owe(kept: KeptClaim, until: number): void {
    if (!this.#owed.has(kept)) this.#owed.set(kept, until);
  }

  /** The store has confirmed. */
  paid(kept: KeptClaim): void {
    this.#owed.delete(kept);
  }

  /** The store has none of them any more. */
  forgive(): void {
    this.#owed.clear();
  }

  /** Tries them all once; never rejects. */
  async pay(): Promise<void> {
    const now = this.#debtor.now();
    for (const [kept, until] of this.#owed) if (until <= now) this.paid(kept);
    const limiter = new Limiter(AT_ONCE);
    await Promise.all([...this.#owed.keys()].map(async (kept) => {
      try {
        await limiter.run(() => this.#debtor.release(kept));
        this.paid(kept);
      } catch (error) {
        this.#debtor.failed(kept, error);
      }
    }));
  }
}
