import type { Claim, LossReason, Outcome } from "../../internal/backend.ts";
import { holders } from "../../internal/queue.ts";
import { nameOf, pathOf, type Placed } from "./names.ts";
import type { Told } from "./watches.ts";

/** What a session knows of one of its claims. */
export class Seat {
  /** The claim. */
  readonly claim: Claim;
  /** Of its key. */
  readonly parent: string;
  /** Of its node, once the server has answered. */
  name: string | undefined;
  /** Its node's first transaction. */
  token = 0n;
  /** A creation was sent whose answer was lost: the node may be there. */
  doubtful: boolean;
  /** The creation under way. */
  entering: Promise<readonly string[]> | undefined;
  /** Nobody wants it any more: nothing may be created for it. */
  withdrawn = false;
  /** `true`: its watch stands; as long as nothing is heard, the node is there. `false`: it was asked for. */
  watched: boolean | undefined;
  /** Hears of its node's end. */
  told: Told | undefined;
  /** The store has said that it holds. Final: nothing enters ahead of it. */
  held = false;
  /** It was taken away, and how. */
  gone: LossReason | undefined;
  /** Whom it waits for, by path. */
  readonly watching = new Map<string, Told>();
  #ahead: Placed[] | undefined;
  #news = Promise.withResolvers<Outcome | void>();

  /** For a claim in the folder `chroot`. */
  constructor(claim: Claim, chroot: string) {
    this.claim = claim;
    this.parent = pathOf(chroot, claim.key);
    this.doubtful = claim.progress !== "new";
  }

  /** Its path, once it has one; without the sequence number before. */
  get path(): string {
    return `${this.parent}/${this.name ?? nameOf(this.claim)}`;
  }

  /** The server has given it a node. */
  enter(name: string, czxid: bigint): void {
    this.doubtful = false;
    this.name = name;
    this.token = czxid;
  }

  /** As last heard. */
  get outcome(): Outcome {
    if (this.gone) return { state: "gone", why: this.gone };
    return this.held ? { state: "granted", token: this.token } : { state: "contended" };
  }

  /** Resolves when {@linkcode wake} is called, or was since {@linkcode wait}. */
  get news(): Promise<Outcome | void> {
    return this.#news.promise;
  }

  /** It waits. `ahead`: all the claims it waits for, if each one's end will be {@linkcode passed}. */
  wait(ahead: Placed[] | undefined): void {
    this.#ahead = ahead;
    this.#news = Promise.withResolvers();
  }

  /** A claim ahead has gone. If all those ahead are watched, that may be a grant, without asking. */
  passed(name: string): void {
    this.#ahead = this.#ahead?.filter((other) => other.name !== name);
    if (!this.#ahead || !this.watched || this.withdrawn || this.gone) return this.wake();
    if (holders([...this.#ahead, this.claim]) <= this.#ahead.length) return this.wake();
    this.held = true;
    this.wake(this.outcome);
  }

  /** It is worth asking again, unless the outcome is known. */
  wake(outcome?: Outcome): void {
    this.#news.resolve(outcome);
  }
}
