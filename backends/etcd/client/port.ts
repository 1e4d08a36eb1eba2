import type {
  Header,
  LeaseGrantResponse,
  LeaseKeepAliveResponse,
  LeaseTimeToLiveResponse,
  MemberListResponse,
  RangeRequest,
  RangeResponse,
  StatusResponse,
  TxnRequest,
  TxnResponse,
  WatchCreateRequest,
  WatchRequest,
  WatchResponse,
} from "./messages.ts";
import type { EtcdError } from "./errors.ts";

/** How long a call may take, and whether it goes before all others. */
export interface Bounds {
  /** Milliseconds, from now. */
  readonly timeout: number;
  /** The call waits for no turn. */
  readonly urgent?: boolean;
  /** Milliseconds of the timeout that a silent member may take; the rest is for others. */
  readonly share?: number;
  /** Called when another copy is sent although the last one may have arrived. */
  readonly doubt?: () => void;
}

/** Calls to etcd: what is asked, and what is answered. */
export interface Calls {
  range: [RangeRequest, RangeResponse];
  txn: [TxnRequest, TxnResponse];
  leaseGrant: [{ TTL: number }, LeaseGrantResponse];
  leaseRevoke: [{ ID: string }, { readonly header: Header }];
  leaseKeepAlive: [{ ID: string }, LeaseKeepAliveResponse];
  leaseTimeToLive: [{ ID: string; keys?: boolean }, LeaseTimeToLiveResponse];
}

/** What a member is asked as well, about itself and the others. */
export interface MemberCalls extends Calls {
  status: [Record<never, never>, StatusResponse];
  memberList: [Record<never, never>, MemberListResponse];
}

/** Who is told of what a watch sees. */
export interface Hearer {
  /** Something in the range has changed; with the values that were put, in order. */
  changed(put: readonly Uint8Array[], revision: bigint): void;
  /** The watch has ended by itself. `compacted`: the history it was to start from is gone. */
  failed(error: unknown, compacted: boolean): void;
}

/** A watch under way. */
export interface Watching {
  /** Resolves once the server watches; rejects if it never will. */
  readonly ready: Promise<void>;
  /** Ends it; the listener hears nothing more. */
  cancel(): void;
}

/** etcd, wherever it is and however it is reached. Errors are `EtcdError`s, or final `BackendError`s. */
export interface Port {
  /**
   * Asks, and asks the next member if the first is silent or its connection breaks: each call may arrive
   * several times. An error leaves the outcome unknown, unless it says that there was none.
   */
  call<M extends keyof Calls>(method: M, request: Calls[M][0], bounds: Bounds): Promise<Calls[M][1]>;
  /** Watches a range until cancelled. A watch that has ended is not resumed: whoever watches reads again. */
  watch(request: WatchCreateRequest, listener: Hearer): Watching;
  /** Closes what it opened. A later call connects again. */
  close(): void;
}

/** A watch stream. */
export interface WatchStream {
  send(request: WatchRequest): void;
  /** Ends it; nothing more is heard. */
  close(): void;
}

/** One connection. */
export interface Connection {
  /** As {@linkcode Port.call}, but asks once. */
  call: Port["call"];
  /** Resolves once it can be used. */
  readonly ready: Promise<void>;
  /** Opens a watch stream; the server ends it when it has no leader. */
  watch(hear: (response: WatchResponse) => void, ended: (error: unknown) => void): Promise<WatchStream>;
  /** A watch was refused: the next stream needs another login. */
  refused(): void;
  /** Closes the connection, if it was opened by us; what is under way fails with this. */
  close(error: EtcdError): void;
}
