/** What scripts reply of a claim, and how that is read. */
import type { LossReason, Outcome } from "../../../internal/backend.ts";
import { numbers, unexpected, whole } from "../client/replies.ts";

/** What a script says that a claim is. */
export const STATE = {
  granted: 1,
  contended: 0,
  stolen: -1,
  revoked: -2,
  expired: -3,
  /** The attempt came too late to enter. */
  late: -4,
  /** There is so much to take out of the queue first that it has to be asked again. */
  unsettled: -5,
} as const;

/** The reply to an attempt: recheck in milliseconds, time in microseconds, and 1 if there is more to do. */
export type Standing = [state: number, token: number, recheck: number, time: number, more: number];

/**
 * Milliseconds after which a waiter asks again at the latest that is not the first in line: the claim ahead may have
 * ended without a message.
 */
const RECHECK = 5_000;

const WHY: { readonly [state: number]: LossReason | undefined } = {
  [STATE.stolen]: "stolen",
  [STATE.revoked]: "revoked",
  [STATE.expired]: "expired",
};

/** Reads the reply to an attempt. */
export function standing(reply: unknown): Standing {
  const said = Array.isArray(reply) ? numbers(reply, 5) : [STATE.granted, whole(reply), 0, 0, 0];
  const [state, token] = said as Standing;
  if (state === STATE.granted ? token > 0 : state >= STATE.unsettled && state < STATE.granted) {
    return said as Standing;
  }
  throw unexpected(reply);
}

/** What a state means for a claim of that ttl; `undefined`: the claim has not entered. */
export function outcomeOf(ttl: number, state: number, token: number, recheck: number): Outcome | undefined {
  if (state === STATE.granted) return { state: "granted", token: BigInt(token) };
  if (state === STATE.contended) return { state: "contended", recheck: recheck || Math.min(ttl, RECHECK) };
  const why = WHY[state];
  return why && { state: "gone", why };
}
