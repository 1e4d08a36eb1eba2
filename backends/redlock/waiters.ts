import { clearTimeout, setTimeout } from "node:timers";
import type { Call, Claim } from "../../internal/backend.ts";
import { type AwaitsDeparture, departure } from "../shared/departure.ts";
import { RECHECK } from "./ballots.ts";
import type { Node } from "./client/node.ts";
import type { Quorum } from "./client/quorum.ts";
import { votesKey } from "./names.ts";

/** A claim that waits. */
export interface Waiter extends AwaitsDeparture<void> {
  readonly claim: Claim;
  /** Woken while it did not wait to be. */
  called: boolean;
}

/** The claims of this process that wait, by key: of each key the first asks the nodes, for all behind it. */
export class Waiters {
  readonly #quorum: Quorum;
  readonly #lines = new Map<string, Line>();

  constructor(quorum: Quorum) {
    this.#quorum = quorum;
  }

  /**
   * Whether the claim has its turn only after others of this process. It stands in line then.
   *
   * @throws what the last one has met who asked, until one is answered
   */
  behind(waiter: Waiter): boolean {
    return this.#lines.get(waiter.claim.key)?.behind(waiter) ?? false;
  }

  /**
   * The claim was refused, and waits from now on; it is worth another try after so many milliseconds. Whether
   * something may have been missed before.
   */
  add(waiter: Waiter, recheck: number, call: Call): Promise<boolean> {
    const { key } = waiter.claim;
    const line = this.#lines.get(key) ?? new Line(votesKey(key), this.#quorum);
    this.#lines.set(key, line);
    return line.add(waiter, recheck, call);
  }

  /** Resolves once the claim is woken, or was since its last attempt; rejects once `signal` aborts. */
  woken(waiter: Waiter, call: Call): Promise<void> {
    if (waiter.called) return Promise.resolve();
    return departure(waiter, call);
  }

  /** The claim has asked, and was answered or met with a failure. */
  asked(waiter: Waiter, failure?: unknown): void {
    this.#lines.get(waiter.claim.key)?.asked(waiter, failure);
  }

  /** The claim waits no longer: it holds, or is over. */
  remove(waiter: Waiter, holds: boolean): void {
    const { key } = waiter.claim;
    const line = this.#lines.get(key);
    line?.remove(waiter, holds);
    if (line?.empty) this.#lines.delete(key);
  }

  /** Forgets them all: the connections are closed. */
  clear(): void {
    for (const line of this.#lines.values()) line.close();
    this.#lines.clear();
  }
}

/**
 * The claims that wait for one key, in order of arrival. When a vote is taken back somewhere, and at the latest
 * after a while, one of them asks, the first: all at once would only split the votes, and cost the nodes the more the
 * more there are. Who comes later is told what that one has met, a refusal or a failure, without asking.
 */
class Line {
  readonly #votes: string;
  readonly #quorum: Quorum;
  readonly #ears = new Map<Node, AsyncDisposable>();
  /** Where one of them has just begun to listen, for all. */
  readonly #opening = new Map<Node, Promise<void>>();
  readonly #waiting = new Set<Waiter>();
  /** Those whose turn it is, until they have asked. */
  readonly #woken = new Set<Waiter>();
  /** Something has changed since the last of them was woken. */
  #again = false;
  #timer: NodeJS.Timeout | undefined;
  /** What the last one has met who asked. */
  #failure: unknown;

  constructor(votes: string, quorum: Quorum) {
    this.#votes = votes;
    this.#quorum = quorum;
  }

  get empty(): boolean {
    return this.#waiting.size === 0;
  }

  behind(waiter: Waiter): boolean {
    if (this.#first === waiter || this.#woken.has(waiter)) return false;
    this.#waiting.add(waiter);
    if (this.#failure !== undefined) throw this.#failure;
    return true;
  }

  async add(waiter: Waiter, recheck: number, call: Call): Promise<boolean> {
    this.#waiting.add(waiter);
    if (this.#first === waiter) this.#wakeIn(recheck);
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

  asked(waiter: Waiter, failure: unknown): void {
    if (failure === undefined) this.#failure = undefined;
    else if (this.#waiting.has(waiter)) {
      this.#failure = failure;
      for (const other of this.#waiting) if (other !== waiter) wake(other);
    }
    this.#done(waiter);
  }

  remove(waiter: Waiter, holds: boolean): void {
    const wasFirst = this.#first === waiter;
    this.#waiting.delete(waiter);
    if (this.empty) return this.close();
    if (wasFirst && !holds) this.#again = true;
    else if (wasFirst) {
      this.#wakeIn(RECHECK * (0.5 + Math.random() / 2));
      // The next one hears of the end of who holds alone; or is to ask now, and to listen after that.
      if (waiter.claim.limit === 1) this.#again = this.#deaf;
      else this.#wakeReaders();
    }
    this.#done(waiter);
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const ear of this.#ears.values()) void ear[Symbol.asyncDispose]();
    this.#ears.clear();
  }

  /** A lock may be released without any of these nodes having voted for it. */
  get #deaf(): boolean {
    return this.#ears.size < this.#quorum.majority;
  }

  get #first(): Waiter | undefined {
    return this.#waiting.values().next().value;
  }

  #listen(node: Node, call: Call): Promise<void> {
    const open = async () => {
      const ear = await node.listen(this.#votes, {
        heard: (text) => {
          if (text === "left") this.#wake();
        },
        deaf: () => {
          this.#ears.delete(node);
          if (this.#deaf) this.#wake(); // who asks will listen anew
        },
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

  /** Something has changed: it is the first one's turn. */
  #wake(): void {
    this.#again = true;
    this.#next();
  }

  /** The turn of one is over. */
  #done(waiter: Waiter): void {
    this.#woken.delete(waiter);
    this.#next();
  }

  #next(): void {
    const first = this.#first;
    if (!this.#again || this.#woken.size > 0 || first === undefined) return;
    this.#again = false;
    this.#turn(first);
  }

  /** Those in front, who hold together. */
  #wakeReaders(): void {
    for (const next of this.#waiting) {
      if (next.claim.limit === 1) break;
      this.#turn(next);
    }
  }

  #wakeIn(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#wake(), ms);
    this.#timer.unref(); // whoever waits keeps the process alive, not this
  }

  #turn(waiter: Waiter): void {
    this.#woken.add(waiter);
    wake(waiter);
  }
}

function wake(waiter: Waiter): void {
  if (waiter.wake) waiter.wake();
  else waiter.called = true;
}
