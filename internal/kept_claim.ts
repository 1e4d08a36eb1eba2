import type { Alarm, Alarms } from "./alarms.ts";
import type { Member } from "./bag.ts";
import type { Claim, Grant, LossReason } from "./backend.ts";

/** Whom a claim serves. */
export interface Listener {
  /** The heartbeat has found it granted, while it waits. */
  granted?(grant: Grant): void;
  /** The lock, or the place in the queue, is lost. Told once. */
  lost(why: LossReason): void;
  /** It has been renewed, and holds. */
  renewed?(): void;
  /** A call about it failed while it holds. */
  failed?(error: unknown): void;
}

/** Who keeps a claim. */
export interface Keeper {
  /** It is lost, and nobody has been told yet. */
  afterLoss(kept: KeptClaim): void;
}

/**
 * A claim that a lease keeps alive, and until when it is proven to be in the store. It waits, then
 * may hold, then is over; a loss is final.
 */
export class KeptClaim implements Member {
  /** See {@linkcode Member}. */
  slot: number = -1;
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
  /** Who is told what becomes of it. */
  listener: Listener | undefined;

  readonly #alarms: Alarms;
  readonly #keeper: Keeper;
  #since = -Infinity;
  #deadline = -Infinity;
  #alarm: Alarm | undefined;

  constructor(alarms: Alarms, claim: Claim, renews: boolean, keeper: Keeper) {
    this.#alarms = alarms;
    this.#keeper = keeper;
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
    this.#guard();
    return true;
  }

  /** The lock, or the place in the queue, is gone: by the clock, or because the store says so. */
  lose(why: LossReason): void {
    if (this.over) return;
    this.end();
    this.loss = why;
    this.#keeper.afterLoss(this);
    this.listener?.lost(why);
  }

  /** Ends the claim on our side; the store may still hold it. */
  end(): void {
    this.over = true;
    if (this.#alarm !== undefined) this.#alarms.clear(this.#alarm);
    this.#alarm = undefined;
  }

  /** The alarm of its deadline has rung. It is not moved at every renewal: the deadline may be later by now. */
  rung(): void {
    this.#alarm = undefined;
    if (!this.#expire()) this.#guard();
  }

  #guard(): void {
    if (this.#alarm !== undefined) this.#alarms.clear(this.#alarm);
    this.#alarms.add(this.#alarm = new Guard(this, this.#deadline));
  }

  #expire(): boolean {
    if (this.over || this.token === undefined || this.#alarms.now() < this.#deadline) return this.over;
    this.lose("expired");
    return true;
  }
}

/** The alarm of a deadline. */
class Guard implements Alarm {
  slot = -1;
  readonly at: number;
  readonly background = false;
  readonly #kept: KeptClaim;

  constructor(kept: KeptClaim, at: number) {
    this.#kept = kept;
    this.at = at;
  }

  ring(): void {
    this.#kept.rung();
  }
}
