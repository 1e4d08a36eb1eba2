import { type Field, Message, type Type } from "./protobuf.ts";

/** etcd's messages, as in its `rpc.proto` and `kv.proto`; only the fields that are used here. */

const one = (number: number, type: Type): Field => [number, type];
const many = (number: number, type: Type): Field => [number, type, "repeated"];

const Header: Message = new Message({
  cluster_id: one(1, "int64"),
  revision: one(3, "int64"),
  raft_term: one(4, "int64"),
});

const KeyValue: Message = new Message({
  key: one(1, "bytes"),
  create_revision: one(2, "int64"),
  mod_revision: one(3, "int64"),
  value: one(5, "bytes"),
  lease: one(6, "int64"),
});

/** A read. */
export const RangeRequest: Message = new Message({
  key: one(1, "bytes"),
  range_end: one(2, "bytes"),
  limit: one(3, "int64"),
  revision: one(4, "int64"),
  sort_order: one(5, ["None", "Ascend", "Descend"]),
  sort_target: one(6, ["Key", "Version", "Create", "Mod", "Value"]),
  keys_only: one(8, "bool"),
  count_only: one(9, "bool"),
  max_create_revision: one(13, "int64"),
});
export const RangeResponse: Message = new Message({
  header: one(1, () => Header),
  kvs: many(2, () => KeyValue),
  more: one(3, "bool"),
});

const PutRequest: Message = new Message({
  key: one(1, "bytes"),
  value: one(2, "bytes"),
  lease: one(3, "int64"),
});
const DeleteRangeRequest: Message = new Message({ key: one(1, "bytes"), range_end: one(2, "bytes") });

const Compare: Message = new Message({
  result: one(1, ["Equal", "Greater", "Less", "NotEqual"]),
  target: one(2, ["Version", "Create", "Mod", "Value", "Lease"]),
  key: one(3, "bytes"),
  create_revision: one(5, "int64"),
  mod_revision: one(6, "int64"),
  lease: one(8, "int64"),
  range_end: one(64, "bytes"),
});

const RequestOp: Message = new Message({
  request_range: one(1, () => RangeRequest),
  request_put: one(2, () => PutRequest),
  request_delete_range: one(3, () => DeleteRangeRequest),
  request_txn: one(4, () => TxnRequest),
});
const ResponseOp: Message = new Message({ response_range: one(1, () => RangeResponse) });

/** A transaction. */
export const TxnRequest: Message = new Message({
  compare: many(1, () => Compare),
  success: many(2, () => RequestOp),
  failure: many(3, () => RequestOp),
});
export const TxnResponse: Message = new Message({
  header: one(1, () => Header),
  succeeded: one(2, "bool"),
  responses: many(3, () => ResponseOp),
});

/** Leases. */
export const LeaseGrantRequest: Message = new Message({ TTL: one(1, "int64") });
export const LeaseGrantResponse: Message = new Message({
  header: one(1, () => Header),
  ID: one(2, "int64"),
  TTL: one(3, "int64"),
});
export const LeaseRevokeRequest: Message = new Message({ ID: one(1, "int64") });
export const LeaseRevokeResponse: Message = new Message({ header: one(1, () => Header) });
export const LeaseKeepAliveRequest: Message = new Message({ ID: one(1, "int64") });
export const LeaseKeepAliveResponse: Message = new Message({
  header: one(1, () => Header),
  ID: one(2, "int64"),
  TTL: one(3, "int64"),
});
export const LeaseTimeToLiveRequest: Message = new Message({ ID: one(1, "int64"), keys: one(2, "bool") });
export const LeaseTimeToLiveResponse: Message = new Message({
  header: one(1, () => Header),
  TTL: one(3, "int64"),
  grantedTTL: one(4, "int64"),
  keys: many(5, "bytes"),
});

const WatchCreateRequest: Message = new Message({
  key: one(1, "bytes"),
  range_end: one(2, "bytes"),
  start_revision: one(3, "int64"),
  filters: many(5, ["Noput", "Nodelete"]),
});
const WatchCancelRequest: Message = new Message({ watch_id: one(1, "int64") });
const Event: Message = new Message({ type: one(1, ["Put", "Delete"]), kv: one(2, () => KeyValue) });

/** A watch. */
export const WatchRequest: Message = new Message({
  create_request: one(1, () => WatchCreateRequest),
  cancel_request: one(2, () => WatchCancelRequest),
});
export const WatchResponse: Message = new Message({
  header: one(1, () => Header),
  watch_id: one(2, "int64"),
  created: one(3, "bool"),
  canceled: one(4, "bool"),
  compact_revision: one(5, "int64"),
  cancel_reason: one(6, "string"),
  events: many(11, () => Event),
});

/** A login. */
export const AuthenticateRequest: Message = new Message({
  name: one(1, "string"),
  password: one(2, "string"),
});
export const AuthenticateResponse: Message = new Message({ token: one(2, "string") });

/** A member about itself, and about the others. */
export const StatusRequest: Message = new Message({});
export const StatusResponse: Message = new Message({
  header: one(1, () => Header),
  version: one(2, "string"),
  dbSize: one(3, "int64"),
  leader: one(4, "int64"),
  errors: many(8, "string"),
  dbSizeQuota: one(12, "int64"),
});
const ClusterMember: Message = new Message({
  name: one(2, "string"),
  clientURLs: many(4, "string"),
  isLearner: one(5, "bool"),
});
export const MemberListRequest: Message = new Message({});
export const MemberListResponse: Message = new Message({
  header: one(1, () => Header),
  members: many(2, () => ClusterMember),
});
