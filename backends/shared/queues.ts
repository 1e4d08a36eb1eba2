import type { Call, LossReason, Outcome } from "../../internal/backend.ts";
import type { OwnClaim, Queued } from "./own_claim.ts";

/** A queue as of one moment: from as far ahead as decides, up to the claim's own entry, which is the last. */
export interface View<Q extends Queued = Queued> {
  /** In order of arrival. */
  readonly queue: readonly Q[];
  /** The claim's place in the order, and fencing token. */
  readonly token: bigint;
}

/** How a claim stands: a queue, for the rule to be applied to, or what the store itself makes of it. */
export type Found<Q extends Queued = Queued> = View<Q> | Outcome;

/**
 * Sends one attempt to enter, unless the claim has been given up, which throws. Every one goes through here: until
 * its answer has come, a copy may be under way. `doubt` is to be called for each further copy that is sent. What is
 * still to be found out after the answer is a part of the attempt: who asks meanwhile has to know that it may be there.
 */
export type Send = <T>(attempt: (doubt: () => void) => Promise<T>) => Promise<T>;

/**
 * The queues of a store, as one lease reaches them: what `QueueLease` makes a lease of. An adapter decides how a
 * step is done in its store, and never whether: it counts no doubts, withdraws nothing and repeats nothing that
 * has failed.
 *
 * A rejection leaves the outcome unknown, unless it is an error that says `unsent` or is not `retryable`: then
 * nothing was done.
 */
export interface Queues<Q extends Queued = Queued> {
  /** As of `Lease.ttl`. */
  readonly ttl: number;
  /**
   * Appends once, and reads in the same step; with `steal`, removes everyone ahead. "contended" to a claim that does
   * not wait: it is not in the queue. It may also have entered and wait (a View): then it is made to leave.
   */
  enter(own: OwnClaim<Q>, call: Call, send: Send): Promise<Found<Q>>;
  /** How a claim stands that has entered. `ahead` is empty once one of those has been found to be gone. */
  read(own: OwnClaim<Q>, call: Call): Promise<Found<Q>>;
  /**
   * Removes the claim's entry; `true`: this call, or a copy of it, has. Where there are doubts it sees to it as well
   * that no attempt that was sent before can enter any more.
   */
  leave(own: OwnClaim<Q>, call: Call): Promise<boolean>;
  /**
   * Resolves when it is worth asking again, or the signal aborts: with what is found, where the store tells it; else
   * with whether one of `ahead` has gone. Must not miss what has happened since the claim's View.
   */
  departure(own: OwnClaim<Q>, ahead: readonly Q[], signal: AbortSignal): Promise<Found<Q> | boolean>;
  /**
   * Whether `departure` hears of the lease's own claims too. Otherwise it is not asked after them: the lease knows
   * when they leave, but not how the others stand then, which takes a `read`.
   */
  readonly hearsOwn?: boolean;
  /** Restarts the store's timer, and tells how these claims stand. One that is left out is unknown. */
  renew(owns: readonly OwnClaim<Q>[], call: Call): Promise<Map<OwnClaim<Q>, Found<Q>>>;
  /** Ends the lease in the store, and listens no longer. */
  close(call: Call): Promise<void>;
  /** A grant has been told. */
  held?(own: OwnClaim<Q>): void;
}

/** What an adapter tells of by itself. */
export interface Ears<Q extends Queued = Queued> {
  /** The claims of the lease. */
  owned(): readonly OwnClaim<Q>[];
  /** The one whose entry has this name. */
  named(name: string): OwnClaim<Q> | undefined;
  /** Those on one key. */
  ownedOn(key: string): readonly OwnClaim<Q>[];
  /** The store says that the claim's entry is gone. */
  lost(own: OwnClaim<Q>, why: LossReason): void;
  /**
   * The store says that the lease is gone, and all its entries with it. An attempt that is rejected after this is
   * "gone", but where the lease had to be given up for a `failure`: another attempt would fail like it.
   */
  ended(why: LossReason, failure?: unknown): void;
}
