import type { Call, Claim } from "../../internal/backend.ts";
import { type AwaitsDeparture, departure } from "../shared/departure.ts";
import type { Node } from "./client/node.ts";
import type { Quorum } from "./client/quorum.ts";
import { votesKey } from "./names.ts";

/** A claim that waits. */
export interface Waiter extends AwaitsDeparture<void> {
  readonly claim: Claim;
  /** Woken while it did not wait to be. */
  called: boolean;
}

/** The claims of this process that wait, by key. */
export class Waiters {
  readonly #quorum: Quorum;
  readonly #lines = new Map<string, Line>();

  constructor(quorum: Quorum) {
    this.#quorum = quorum;
  }

  /** The claim waits from now on. Whether something may have been missed before. */
  add(waiter: Waiter, call: Call): Promise<boolean> {
    const { key } = waiter.claim;
    const line = this.#lines.get(key) ?? new Line(votesKey(key), this.#quorum);
    this.#lines.set(key, line);
    return line.add(waiter, call);
  }

  /** Resolves once the claim is woken, or was since its last attempt; rejects once `signal` aborts. */
  woken(waiter: Waiter, call: Call): Promise<void> {
    if (waiter.called) return Promise.resolve();
    return departure(waiter, call);
  }

  /** An attempt of a claim that may have been woken for it has come to an end. */
  attempted(waiter: Waiter): void {
    this.#lines.get(waiter.claim.key)?.attempted(waiter);
  }

  /** The claim waits no longer. */
  remove(waiter: Waiter): void {
    const { key } = waiter.claim;
    const line = this.#lines.get(key);
    line?.remove(waiter);
    if (line?.empty) this.#lines.delete(key);
  }

  /** Forgets them all: the connections are closed. */
  clear(): void {
    this.#lines.clear();
  }
}

/**
 * The claims that wait for one key. When a vote is taken back somewhere, one of them is
 * woken, the first: all at once would only split the votes.
 */
class Line {
  readonly #votes: string;
  readonly #quorum: Quorum;
  readonly #ears = new Map<Node, AsyncDisposable>();
  /** Where one of them has just begun to listen, for all. */
  readonly #opening = new Map<Node, Promise<void>>();
  readonly #waiting = new Set<Waiter>();
  #woken: Waiter | undefined;
  #again = false;

  constructor(votes: string, quorum: Quorum) {
    this.#votes = votes;
    this.#quorum = quorum;
  }

  get empty(): boolean {
    return this.#waiting.size === 0;
  }

  async add(waiter: Waiter, call: Call): Promise<boolean> {
    this.#waiting.add(waiter);
    const missing = this.#quorum.nodes.filter((node) => !this.#ears.has(node));
    if (missing.length === 0) return false;
    const before = this.#ears.size;
    const { majority } = this.#quorum;
    await this.#quorum.poll(
      call,
      (node) => this.#listen(node, call),
      (_, silent) => this.#ears.size >= majority || silent === 0 ? true : undefined,
      missing,
    );
    return this.#ears.size > before;
  }

  attempted(waiter: Waiter): void {
    if (this.#woken !== waiter) return;
    this.#woken = undefined;
    if (!this.#again) return;
    this.#again = false;
    this.#wake();
  }

  remove(waiter: Waiter): void {
    this.#waiting.delete(waiter);
    this.attempted(waiter);
    if (!this.empty) return;
    for (const ear of this.#ears.values()) void ear[Symbol.asyncDispose]();
    this.#ears.clear();
  }

  #listen(node: Node, call: Call): Promise<void> {
    const open = async () => {
      const ear = await node.listen(this.#votes, {
        heard: (text) => {
          if (text === "left") this.#wake();
        },
        deaf: () => void this.#ears.delete(node),
      }, call);
      if (this.empty) await ear[Symbol.asyncDispose]();
      else this.#ears.set(node, ear);
    };
    let opening = this.#opening.get(node);
    if (opening === undefined) {
      opening = open().finally(() => this.#opening.delete(node));
      this.#opening.set(node, opening);
    }
    return opening;
  }

  #wake(): void {
    const [first] = this.#waiting;
    if (this.#woken !== undefined) this.#again = true;
    else if (first !== undefined) {
      this.#woken = first;
      if (first.wake) first.wake();
      else first.called = true;
    }
  }
}
