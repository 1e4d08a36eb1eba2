import { Buffer } from "node:buffer";
import type { Claim } from "../../internal/backend.ts";
import { holders } from "../../internal/queue.ts";
import type { RangeRequest, TxnRequest, WatchCreateRequest } from "./client/messages.ts";
import { allCreatedBefore, attachedTo, createdAt, endOf, put, read, remove } from "./client/requests.ts";
import type { EtcdQueued } from "./entries.ts";
import type { Fence } from "./fence.ts";
import { homeOf, prefixOf, readName } from "./names.ts";
import { noticeFor, writeNotice } from "./notices.ts";

/** What enters a queue, under which lease, and the fence that it passes. */
export interface Entering {
  readonly claim: Claim;
  readonly name: string;
  readonly lease: string;
  readonly fence: Fence;
  /** The range of the lease's own keys. */
  readonly home: RangeRequest;
}

/** The whole queue of a key, names only: with values, a thousand waiters would not fit in a message. */
export function wholeQueue(key: string): RangeRequest {
  return { key: Buffer.from(`${key}/`), range_end: endOf(`${key}/`), keys_only: true };
}

/** The claim of this name, without its queue: etcd reads a queue as a whole whatever part of it is asked for. */
export function itself(name: string): RangeRequest {
  return { key: Buffer.from(name), keys_only: true };
}

/** As much of its queue as tells how a claim stands that was created then, if that is known. */
export function queueFor({ key, limit }: Claim, created: bigint | undefined): RangeRequest {
  const queue = wholeQueue(key);
  if (limit > 1) return queue;
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
 * for it may have entered by an earlier copy, and the lease's own keys, for the fence may have been raised.
 */
export function enter({ claim, name, lease, fence, home }: Entering, before: bigint): TxnRequest {
  return {
    compare: [
      createdAt(name, 0n),
      fence.guard(),
      ...(claim.wait ? [] : [allCreatedBefore(`${claim.key}/`, before)]),
    ],
    success: [put(name, value(claim), lease), read(queueFor(claim, undefined))],
    failure: [
      read(itself(name)),
      read(home),
      ...(claim.wait || claim.limit === 1 ? [] : [read(wholeQueue(claim.key))]),
    ],
  };
}

/** What others may know of a claim. */
function value({ id, client, metadata }: Claim): string {
  return JSON.stringify({ id, client, metadata });
}

/** Reads how claims stand, at one revision. Linearizable, as every read is that does not ask for less. */
export function look(home: RangeRequest, queues: readonly RangeRequest[]): TxnRequest {
  return { success: [read(home), ...queues.map(read)] };
}

/** What a thief leaves for a lease. */
export interface Notice {
  readonly key: string;
  readonly lease: string;
  /** The claims removed. */
  readonly victims: readonly EtcdQueued[];
}

/**
 * What to tell those who hold in the queue that is to be robbed, one notice for each lease of ours.
 * Waiters find out by themselves, and so do holders beyond what fits in a transaction.
 */
export function noticesFor({ key }: Claim, queue: readonly EtcdQueued[]): Notice[] {
  const victims = Map.groupBy(queue.slice(0, holders(queue)), ({ name }) => readName(name).lease);
  victims.delete(undefined);
  return [...victims].slice(0, 100).map(([lease, victims]) => ({
    key: noticeFor(homeOf(prefixOf(key), lease!)),
    lease: `${BigInt(`0x${lease}`)}`,
    victims,
  }));
}

/** Removes everyone from the queue, enters it, and tells those leases whose claims held. */
export function steal(
  { claim, name, lease, fence, home }: Entering,
  notices: readonly Notice[],
): TxnRequest {
  const queue = `${claim.key}/`;
  return {
    compare: [createdAt(name, 0n), fence.guard()],
    success: [
      // A lease that has just ended needs no notice, and a put under it would be refused.
      ...notices.map(({ key, lease, victims }) => ({
        request_txn: {
          compare: [attachedTo(victims[0]!.name, lease)],
          success: [put(key, writeNotice(victims), lease)],
        },
      })),
      put(name, value(claim), lease),
      // Not in one range: a transaction may not write the same key twice.
      remove(queue, Buffer.from(name)),
      remove(`${name}\0`, endOf(queue)),
    ],
    failure: [read(itself(name)), read(home)],
  };
}

/** Removes a claim: by its create revision, so that it can be no other. */
export function release(name: string, created: bigint): TxnRequest {
  return { compare: [createdAt(name, created)], success: [remove(name)] };
}

/** Removes a claim of which copies may be under way, and keeps those out. */
export function withdraw(name: string, fence: Fence, lease: string): TxnRequest {
  const raised = fence.raise(lease);
  return { compare: [attachedTo(name, lease)], success: [remove(name), raised], failure: [raised] };
}

/** Watches for the end of a claim, from a revision on at which it was there. */
export function departure({ name, since }: EtcdQueued): WatchCreateRequest {
  return { key: Buffer.from(name), start_revision: `${since}`, filters: ["Noput"] };
}
