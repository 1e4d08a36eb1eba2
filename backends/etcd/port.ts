import type { Call } from "../../internal/backend.ts";
import type {
  Header,
  LeaseGrantResponse,
  LeaseKeepAliveResponse,
  LeaseTimeToLiveResponse,
  RangeRequest,
  RangeResponse,
  TxnRequest,
  TxnResponse,
  WatchCreateRequest,
  WatchRequest,
  WatchResponse,
} from "./messages.ts";
import type { EtcdError } from "./status.ts";

/** What a call needs to know of its {@linkcode Call}, and whether it goes before all others. */
export interface Bounds extends Pick<Call, "timeout"> {
  readonly urgent?: boolean;
  /** Milliseconds of the timeout that a silent member may take; the rest is for others. */
  readonly share?: number;
  /** Called when another copy is sent because nobody knows what has become of the last one. */
  readonly doubt?: () => void;
}

/** The calls to etcd that locks are made of: what is asked, and what is answered. */
export interface Calls {
  range: [RangeRequest, RangeResponse];
  txn: [TxnRequest, TxnResponse];
  leaseGrant: [{ TTL: number }, LeaseGrantResponse];
  leaseRevoke: [{ ID: string }, { readonly header: Header }];
  leaseKeepAlive: [{ ID: string }, LeaseKeepAliveResponse];
  leaseTimeToLive: [{ ID: string; keys?: boolean }, LeaseTimeToLiveResponse];
}

/** Who is told of what a watch sees. */
export interface Listener {
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
  /** Watches a range until cancelled. It is never resumed by itself: whoever watches reads again. */
  watch(request: WatchCreateRequest, listener: Listener): Watching;
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
  /** Closes it, if it was opened by us; what is under way fails with this. */
  close(error: EtcdError): void;
}
