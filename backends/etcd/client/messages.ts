import type { Buffer } from "node:buffer";

/**
 * etcd's messages as they are used here: 64-bit integers as decimal strings, enums by name. These are
 * parts of the package `etcd3`'s own types, so that its client can send them too.
 */

/** What every answer begins with. */
export interface Header {
  readonly cluster_id: string;
  readonly revision: string;
  readonly raft_term: string;
}

/** A key as it was read. */
export interface KeyValue {
  readonly key: Buffer;
  readonly create_revision: string;
  readonly mod_revision: string;
  readonly value: Buffer;
  readonly lease: string;
}

/** A read, linearizable. */
export interface RangeRequest {
  key: Buffer;
  range_end?: Buffer;
  limit?: number;
  revision?: string;
  sort_order?: "Ascend" | "Descend";
  sort_target?: "Create";
  keys_only?: boolean;
  count_only?: boolean;
  max_create_revision?: string;
}

/** Its answer. */
export interface RangeResponse {
  readonly header: Header;
  readonly kvs: KeyValue[];
  readonly more: boolean;
}

/** A condition of a transaction. */
export interface Compare {
  result: "Equal" | "Less";
  target: "Create" | "Mod" | "Lease";
  key: Buffer;
  range_end?: Buffer;
  create_revision?: string;
  mod_revision?: string;
  lease?: string;
}

/** A step of a transaction: one of these. */
export interface RequestOp {
  request_range?: RangeRequest;
  request_put?: { key: Buffer; value: Buffer; lease: string };
  request_delete_range?: { key: Buffer; range_end?: Buffer };
  request_txn?: TxnRequest;
}

/** A transaction. */
export interface TxnRequest {
  compare?: Compare[];
  success?: RequestOp[];
  failure?: RequestOp[];
}

/** Its answer: one response for each step of the branch that was taken. */
export interface TxnResponse {
  readonly header: Header;
  readonly succeeded: boolean;
  readonly responses: { readonly response_range?: Pick<RangeResponse, "kvs"> }[];
}

/** A lease was granted. */
export interface LeaseGrantResponse {
  readonly header: Header;
  readonly ID: string;
  readonly TTL: string;
}

/** A lease was kept alive; TTL 0, or -1 by a proxy: there is none. */
export interface LeaseKeepAliveResponse {
  readonly header: Header;
  readonly ID: string;
  readonly TTL: string;
}

/** What a lease has left, and its keys; TTL -1: there is none. */
export interface LeaseTimeToLiveResponse {
  readonly header: Header;
  readonly TTL: string;
  readonly grantedTTL: string;
  readonly keys: Buffer[];
}

/** What to watch. */
export interface WatchCreateRequest {
  key: Buffer;
  range_end?: Buffer;
  start_revision?: string;
  filters?: ("Noput" | "Nodelete")[];
}

/** What is sent on a watch stream: one of these. */
export interface WatchRequest {
  create_request?: WatchCreateRequest;
  cancel_request?: { watch_id: string };
}

/** What comes back on it. */
export interface WatchResponse {
  readonly header: Header | undefined;
  readonly watch_id: string;
  readonly created: boolean;
  readonly canceled: boolean;
  readonly compact_revision: string;
  readonly cancel_reason: string;
  readonly events: { readonly type: "Put" | "Delete"; readonly kv: KeyValue | undefined }[];
}

/** What a member says of itself. Its numbers count bytes; a quota is told since etcd 3.6. */
export interface StatusResponse {
  readonly header: Header;
  readonly version: string;
  readonly dbSize: string;
  readonly dbSizeQuota: string;
  /** The id of the member that leads; "0": none. */
  readonly leader: string;
  /** Alarms, and whatever else is wrong. */
  readonly errors: string[];
}

/** The members of the cluster. */
export interface MemberListResponse {
  readonly header: Header;
  readonly members: { readonly name: string; readonly clientURLs: string[]; readonly isLearner: boolean }[];
}
