import type { Claim } from "./backend.ts";
import { inBatches } from "./calls.ts";

/** What the debts of a lease need of it. */
export interface Debtor {
  /** Elapsed milliseconds. */
  now(): number;
  /** Releases one claim in the store. */
  settle(claim: Claim): Promise<boolean>;
  /** One try more in vain. */
  failed(claim: Claim, error: unknown): void;
}

/**
 * Claims that may still be in the store although nobody wants them any more: failed releases,
 * abandoned attempts, locks past their deadline. Each is released again until the store confirms, or
 * until it must have dropped the claim by itself.
 */
export class Debts {
  readonly #debtor: Debtor;
  readonly #owed = new Map<string, { claim: Claim; until: number }>();

  constructor(debtor: Debtor) {
    this.#debtor = debtor;
  }

  /** How many there are. */
  get size(): number {
    return this.#owed.size;
  }

  /** `until` when the store keeps the claim at most; for ever, where something else keeps it alive. */
  owe(claim: Claim, until: number): void {
    if (!this.#owed.has(claim.id)) this.#owed.set(claim.id, { claim, until });
  }

  /** The store has confirmed. */
  settled({ id }: Claim): void {
    this.#owed.delete(id);
  }

  /** The store has none of them any more. */
  forgive(): void {
    this.#owed.clear();
  }

  /** Tries them all once; never rejects. */
  async settle(): Promise<void> {
    const now = this.#debtor.now();
    for (const { claim, until } of this.#owed.values()) if (until <= now) this.settled(claim);
    await inBatches([...this.#owed.values()], async ({ claim }) => {
      await this.#debtor.settle(claim);
      this.settled(claim);
    }, ({ claim }, error) => this.#debtor.failed(claim, error));
  }
}
