import { heldAlone, type OwnClaim } from "../shared/own_claim.ts";
import type { Found, View } from "../shared/queues.ts";
import type { Told } from "./client/watches.ts";
import { queueOf, type ZooKeeperQueued } from "./names.ts";

/** A claim of ours. */
export type Own = OwnClaim<ZooKeeperQueued>;

/** The node of one of our claims, from when the server has told of it until it is known to be gone. */
export class OwnNode {
  /** The claim. */
  readonly own: Own;
  /** The path of its key. */
  readonly parent: string;
  /** With the sequence number. */
  readonly name: string;
  /** The transaction that created it. */
  readonly token: bigint;
  /** Given up, or gone. */
  over = false;
  /** `true`: its guard stands; as long as nothing is heard, the node is there. `false`: it was asked for. */
  guarded: boolean | undefined;
  /** Hears of the node's end. */
  guard: Told | undefined;
  /** Whom the claim waits for, by path. */
  readonly watching = new Map<string, Told>();
  /** The queue up to the node, less those heard to be gone, if the end of each one ahead is heard of. */
  queue: readonly ZooKeeperQueued[] | undefined;
  /** Ends the wait for a departure. */
  heard: (found: Found<ZooKeeperQueued> | boolean) => void = () => {};

  /** As the server has told. */
  constructor(own: Own, parent: string, name: string, token: bigint) {
    this.own = own;
    this.parent = parent;
    this.name = name;
    this.token = token;
  }

  /** Where it is. */
  get path(): string {
    return `${this.parent}/${this.name}`;
  }

  /**
   * One of those ahead has gone, whose claim it was if it was ours. How this one stands, if that is known without
   * asking; else `true`.
   */
  passed(name: string, gone: Own | undefined): View<ZooKeeperQueued> | true {
    const { ahead, next } = this.own;
    this.queue = gone && next && heldAlone(gone) && ahead.some((other) => other.name === name)
      ? queueOf([this.name])
      : this.queue?.filter((other) => other.name !== name);
    if (this.queue === undefined || !this.guarded || this.over) return true;
    return { queue: this.queue, token: this.token };
  }
}
