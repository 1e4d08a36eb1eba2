import type { Call } from "../../internal/backend.ts";
import type { Sleeper } from "../redis/sleeper.ts";
import type { Node } from "./node.ts";
import type { Quorum } from "./quorum.ts";

/** One who waits for a key. */
export interface Waiter extends Sleeper<void> {
  /** Woken while it did not listen. */
  called: boolean;
}

/**
 * Those of this process who wait for one key. When a vote is taken back somewhere, one of them is
 * woken, the first: all at once would only split the votes.
 */
export class Waiters {
  readonly #key: string;
  readonly #quorum: Quorum;
  readonly #ears = new Map<Node, AsyncDisposable>();
  /** Where one of them has just begun to listen, for all. */
  readonly #opening = new Map<Node, Promise<void>>();
  readonly #waiting = new Set<Waiter>();
  #woken: Waiter | undefined;
  #again = false;

  constructor(key: string, quorum: Quorum) {
    this.#key = key;
    this.#quorum = quorum;
  }

  /** Nobody waits. */
  get empty(): boolean {
    return this.#waiting.size === 0;
  }

  /** Takes one in. Whether something may have been missed before. */
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

  /** The attempt of one who may have been woken has come to an end. */
  done(waiter: Waiter): void {
    if (this.#woken !== waiter) return;
    this.#woken = undefined;
    if (!this.#again) return;
    this.#again = false;
    this.#call();
  }

  /** Lets one go. */
  leave(waiter: Waiter): void {
    this.#waiting.delete(waiter);
    this.done(waiter);
    if (!this.empty) return;
    for (const ear of this.#ears.values()) void ear[Symbol.asyncDispose]();
    this.#ears.clear();
  }

  #listen(node: Node, call: Call): Promise<void> {
    const open = async () => {
      const ear = await node.listen(this.#key, {
        heard: (text) => {
          if (text === "left") this.#call();
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

  #call(): void {
    const [first] = this.#waiting;
    if (this.#woken !== undefined) this.#again = true;
    else if (first !== undefined) {
      this.#woken = first;
      if (first.wake) first.wake();
      else first.called = true;
    }
  }
}
