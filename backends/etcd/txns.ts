import { Buffer } from "node:buffer";
import type { Claim } from "../../internal/backend.ts";
import { holders } from "../../internal/queue.ts";
import { Marks, writeNotice } from "./marks.ts";
import type { RangeRequest, TxnRequest, WatchCreateRequest } from "./messages.ts";
import { prefixOf, readName } from "./names.ts";
import type { Entrant, Place } from "./place.ts";
import { allCreatedBefore, attachedTo, createdAt, endOf, modifiedAt, put, read, remove } from "./requests.ts";

/** The whole queue of a key, names only: with values, a thousand waiters would not fit in a message. */
export function wholeQueue(key: string): RangeRequest {
  return { key: Buffer.from(`${key}/`), range_end: endOf(`${key}/`), keys_only: true };
}

/** As much of its queue as tells how a claim stands. */
export function queueFor({ claim, created }: Place): RangeRequest {
  const queue = wholeQueue(claim.key);
  if (claim.limit > 1) return queue;
  // Whoever is before an exclusive claim keeps it waiting: itself and its predecessor are enough.
  return {
    ...queue,
    sort_target: "Create",
    sort_order: "Descend",
    limit: 2,
    ...(created !== undefined && { max_create_revision: `${created}` }),
  };
}

/**
 * Takes a place at the tail, once, and reads the queue. A claim that does not wait enters only if
 * everything in the queue was there before `before` (1: if it is empty). Otherwise: the claim itself,
 * for it may have entered by an earlier copy, and the marks, for the epoch may have moved.
 */
export function enter(place: Place, marks: Marks, lease: string, before: bigint): TxnRequest {
  const { claim, name, value } = place;
  return {
    compare: [
      createdAt(name, 0n),
      modifiedAt(marks.epochKey, marks.epoch),
      ...(claim.wait ? [] : [allCreatedBefore(`${claim.key}/`, before)]),
    ],
    success: [put(name, value, lease), read(queueFor(place))],
    failure: [
      read({ key: Buffer.from(name), keys_only: true }),
      read(marks.range),
      ...(claim.wait || claim.limit === 1 ? [] : [read(wholeQueue(claim.key))]),
    ],
  };
}

/** Reads how claims stand, at one revision. Linearizable, as every read is that does not ask for less. */
export function look(marks: Marks, queues: readonly RangeRequest[]): TxnRequest {
  return { success: [read(marks.range), ...queues.map(read)] };
}

/** What a thief leaves for a lease. */
export interface Notice {
  readonly key: string;
  readonly lease: string;
  /** The claims removed. */
  readonly victims: readonly Entrant[];
}

/**
 * What to tell those who hold in the queue that is to be robbed, one notice for each lease of ours.
 * Waiters find out by themselves, and so do holders beyond what fits in a transaction.
 */
export function noticesFor({ key }: Claim, queue: readonly Entrant[]): Notice[] {
  const victims = Map.groupBy(queue.slice(0, holders(queue)), ({ name }) => readName(name).lease);
  victims.delete(undefined);
  return [...victims].slice(0, 100).map(([lease, victims]) => ({
    key: Marks.noticeFor(prefixOf(key), lease!),
    lease: `${BigInt(`0x${lease}`)}`,
    victims,
  }));
}

/** Removes everyone from the queue, enters it, and tells those leases whose claims held. */
export function steal(
  place: Place,
  marks: Marks,
  lease: string,
  notices: readonly Notice[],
): TxnRequest {
  const { claim, name, value } = place;
  const queue = `${claim.key}/`;
  return {
    compare: [createdAt(name, 0n), modifiedAt(marks.epochKey, marks.epoch)],
    success: [
      // A lease that has just ended needs no notice, and a put under it would be refused.
      ...notices.map(({ key, lease, victims }) => ({
        request_txn: {
          compare: [attachedTo(victims[0]!.name, lease)],
          success: [put(key, writeNotice(victims), lease)],
        },
      })),
      put(name, value, lease),
      // Not in one range: a transaction may not write the same key twice.
      remove(queue, Buffer.from(name)),
      remove(`${name}\0`, endOf(queue)),
    ],
    failure: [read({ key: Buffer.from(name), keys_only: true }), read(marks.range)],
  };
}

/** Removes a claim: by its create revision, so that it can be no other. */
export function release({ name, created }: Place): TxnRequest {
  return { compare: [createdAt(name, created!)], success: [remove(name)] };
}

/** Moves the epoch: no attempt that was sent before enters any more. */
export function fence(marks: Marks, lease: string): TxnRequest {
  return { success: [put(marks.epochKey, "", lease)] };
}

/** Removes a claim of which copies may be under way, and keeps those out. */
export function withdraw({ name }: Place, marks: Marks, lease: string): TxnRequest {
  const { success: moved = [] } = fence(marks, lease);
  return { compare: [attachedTo(name, lease)], success: [remove(name), ...moved], failure: moved };
}

/** Watches for the end of a claim, from a revision on at which it was there. */
export function departure(name: string, since: bigint): WatchCreateRequest {
  return { key: Buffer.from(name), start_revision: `${since}`, filters: ["Noput"] };
}
