import type { Alarm, Alarms } from "./alarms.ts";
import { Member } from "./bag.ts";
import type { Claim, Grant, LossReason } from "./backend.ts";

/**
 * A claim that a lease keeps alive, and until when it is proven to be in the store. It waits, then
 * may hold, then is over; a loss is final.
 */
export class KeptClaim extends Member {
  /** What was asked of the store. */
  readonly claim: Claim;
  /** Whether the heartbeat renews it. */
  readonly renews: boolean;
  /**
   * "new": never sent. "unsure": sent, no answer; it may have entered, and a copy may still be under way.
   * "entered": the store has acknowledged its place.
   */
  progress: "new" | "unsure" | "entered" = "new";
  /** The fencing token, once it holds. */
  token: bigint | undefined;
  /** Send time of the latest call whose answer found it in the store. */
  seen: number = -Infinity;
  /** When it learned that it holds. */
  granted: number = Infinity;
  /** When to ask the store at the latest, while it waits: messages get lost. */
  recheck: number = -Infinity;
  /** Released, withdrawn or lost. */
  over = false;
  /** Why, if it was lost. */
  loss: LossReason | undefined;
  /** Told, while the claim waits, that the heartbeat has found it granted. */
  onGranted: ((grant: Grant) => void) | undefined;
  /** Told once, if the lock, or the place in the queue, is lost. */
  onLost: ((why: LossReason) => void) | undefined;
  /** Told of each renewal while it holds. */
  onRenewed: (() => void) | undefined;
  /** Told of each call about it that failed while it holds. */
  onError: ((error: unknown) => void) | undefined;

  readonly #alarms: Alarms;
  readonly #afterLoss: (kept: KeptClaim) => void;
  #since = -Infinity;
  #deadline = -Infinity;
  #alarm: Alarm | undefined;

  constructor(alarms: Alarms, claim: Claim, renews: boolean, afterLoss: (kept: KeptClaim) => void) {
    super();
    this.#alarms = alarms;
    this.#afterLoss = afterLoss;
    this.claim = claim;
    this.renews = renews;
  }

  /** D: when it can no longer be proven held. */
  get deadline(): number {
    return this.#deadline;
  }

  /** Holds, as far as the clocks can tell right now. */
  get held(): boolean {
    this.#expire();
    return this.token !== undefined && !this.over;
  }

  /**
   * An acknowledged call, sent at `since`, restarted the store's timer for this claim. Only the send
   * time counts, the latest one wins, and a deadline that has passed never moves.
   */
  prove(since: number, provenFor: number): void {
    if (since <= this.#since || this.over) return;
    if (this.token !== undefined && this.#expire()) return;
    this.#since = since;
    this.#deadline = since + provenFor;
    if (this.#alarm !== undefined && this.#deadline < this.#alarm.at) this.#guard();
  }

  /** It holds. `false`: too late to be proven. */
  grant(token: bigint): boolean {
    const now = this.#alarms.now();
    if (this.over || now >= this.#deadline) return false;
    this.token = token;
    this.granted = now;
    this.onGranted = undefined;
    this.#guard();
    return true;
  }

  /** The lock, or the place in the queue, is gone: by the clock, or because the store says so. */
  lose(why: LossReason): void {
    if (this.over) return;
    this.end();
    this.loss = why;
    this.#afterLoss(this);
    this.onLost?.(why);
  }

  /** Ends the claim on our side; the store may still hold it. */
  end(): void {
    this.over = true;
    if (this.#alarm !== undefined) this.#alarms.clear(this.#alarm);
    this.#alarm = undefined;
  }

  /** The alarm is not moved at every renewal: when it rings, it looks at where the deadline is by then. */
  #guard(): void {
    if (this.#alarm !== undefined) this.#alarms.clear(this.#alarm);
    this.#alarm = this.#alarms.set(this.#deadline, () => {
      this.#alarm = undefined;
      if (!this.#expire()) this.#guard();
    });
  }

  #expire(): boolean {
    if (this.over || this.token === undefined || this.#alarms.now() < this.#deadline) return this.over;
    this.lose("expired");
    return true;
  }
}
