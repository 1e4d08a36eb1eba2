import { Buffer } from "node:buffer";
import type { Compare, KeyValue, RangeRequest, RequestOp, TxnRequest, TxnResponse } from "./messages.ts";
import { EtcdError } from "./errors.ts";

/** The first key after all that start with `prefix`, whose last character is never the highest. */
export function endOf(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1]! += 1;
  return end;
}

/** Holds if the key has this create revision; 0: if it is absent. */
export function createdAt(key: string, revision: bigint): Compare {
  return { result: "Equal", target: "Create", key: Buffer.from(key), create_revision: `${revision}` };
}

/** Holds if everything that starts with `prefix` was created before `revision`; 1: if there is nothing. */
export function allCreatedBefore(prefix: string, revision: bigint): Compare {
  return {
    result: "Less",
    target: "Create",
    key: Buffer.from(prefix),
    range_end: endOf(prefix),
    create_revision: `${revision}`,
  };
}

/** Holds if the key was last modified then; 0: if it is absent. */
export function modifiedAt(key: string, revision: bigint): Compare {
  return { result: "Equal", target: "Mod", key: Buffer.from(key), mod_revision: `${revision}` };
}

/** Holds if the key is attached to the lease. */
export function attachedTo(key: string, lease: string): Compare {
  return { result: "Equal", target: "Lease", key: Buffer.from(key), lease };
}

/** Writes a key under a lease. */
export function put(key: string, value: string, lease: string): RequestOp {
  return { request_put: { key: Buffer.from(key), value: Buffer.from(value), lease } };
}

/** Deletes a key, or all from it up to `end`. */
export function remove(key: string, end?: Buffer): RequestOp {
  return { request_delete_range: { key: Buffer.from(key), ...(end && { range_end: end }) } };
}

/** Reads. */
export function read(request: RangeRequest): RequestOp {
  return { request_range: request };
}

/**
 * What a read in a transaction found.
 *
 * @throws {EtcdError} If there was none.
 */
export function found(reply: TxnResponse, index: number): readonly KeyValue[] {
  const range = reply.responses[index]?.response_range;
  if (range === undefined) throw EtcdError.unreadable("an answer to another question");
  return range.kvs;
}

/** What the keys of a request begin with, up to the first slash; `undefined` if it has none. */
export function prefixOfRequest(request: object): string | undefined {
  const { key, success = [] } = request as RangeRequest & TxnRequest;
  const [step] = success.flatMap((op) => op.request_put ?? op.request_range ?? op.request_delete_range ?? []);
  const name = (key ?? step?.key)?.toString();
  return name?.slice(0, name.indexOf("/") + 1) || undefined;
}
