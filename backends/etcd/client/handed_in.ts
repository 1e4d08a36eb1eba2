import { Buffer } from "node:buffer";
import type {
  LeaseGrantResponse,
  LeaseKeepAliveResponse,
  LeaseTimeToLiveResponse,
  RangeRequest,
  RangeResponse,
  TxnRequest,
  TxnResponse,
  WatchRequest,
  WatchResponse,
} from "./messages.ts";
import type { Bounds, Calls, Connection, WatchStream } from "./port.ts";
import { EtcdError, isStaleToken } from "./errors.ts";

/** What is set for a call. */
interface CallOptions {
  readonly deadline?: number;
  // deno-lint-ignore no-explicit-any -- gRPC's own types are not ours to depend on
  readonly interceptors?: any[];
}

/** gRPC's streams, as far as they are used. */
interface Duplex<Sent, Heard> {
  on(event: "data", listener: (message: Heard) => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "end", listener: () => void): unknown;
  write(message: Sent): void;
  end(): void;
  cancel(): void;
}

/** A client of the package `etcd3`, told by its parts; what is used of them is the transport. */
export interface Etcd3Like {
  /** Its keys. */
  readonly kv: object;
  /** Its leases. */
  readonly leaseClient: object;
  /** Its watches. */
  readonly watchClient: object;
}

/** What is used of it. */
interface Etcd3 {
  readonly kv: {
    range(request: RangeRequest, options?: CallOptions): Promise<RangeResponse>;
    txn(request: TxnRequest, options?: CallOptions): Promise<TxnResponse>;
  };
  readonly leaseClient: {
    leaseGrant(request: { TTL: number }, options?: CallOptions): Promise<LeaseGrantResponse>;
    leaseRevoke(request: { ID: string }, options?: CallOptions): Promise<unknown>;
    leaseKeepAlive(options?: CallOptions): Promise<Duplex<{ ID: string }, LeaseKeepAliveResponse>>;
    leaseTimeToLive(
      request: { ID: string; keys?: boolean },
      options?: CallOptions,
    ): Promise<LeaseTimeToLiveResponse>;
  };
  readonly watchClient: { watch(options?: CallOptions): Promise<Duplex<WatchRequest, WatchResponse>> };
}

/**
 * The connection of a client that was handed in: transport only. None of the client's own
 * retries, leases and watches is used, and it is never closed.
 */
export class HandedIn implements Connection {
  readonly ready: Promise<void> = Promise.resolve();
  readonly #client: Etcd3;

  constructor(client: Etcd3Like) {
    this.#client = client as Etcd3;
  }

  async call<M extends keyof Calls>(method: M, request: Calls[M][0], bounds: Bounds): Promise<Calls[M][1]> {
    const options = bounds.timeout === Infinity ? {} : { deadline: Date.now() + bounds.timeout };
    try {
      return await this.#send(method, request as never, options) as Calls[M][1];
    } catch (error) {
      throw translated(error);
    }
  }

  async watch(
    hear: (response: WatchResponse) => void,
    ended: (error: unknown) => void,
  ): Promise<WatchStream> {
    const { kv, watchClient } = this.#client;
    // It renews an expired token for calls only: a stream opened with an old one is refused everything.
    await kv.range({ key: Buffer.from([0]), count_only: true }).catch(() => {});
    const stream = await watchClient.watch(NEEDS_LEADER);
    let closed = false;
    stream.on("data", (response) => closed || hear(response));
    stream.on("error", (error) => closed || ended(translated(error)));
    stream.on("end", () => closed || ended(EtcdError.unavailable("etcd has ended the watch stream")));
    return {
      send: (request) => stream.write(request),
      close() {
        closed = true;
        // Ended first: the client takes a stream that is cancelled in the open for a broken server.
        stream.end();
        stream.cancel();
      },
    };
  }

  /** Each stream renews its login. */
  refused(): void {}

  close(): void {}

  #send(method: keyof Calls, request: never, options: CallOptions): Promise<unknown> {
    const { kv, leaseClient } = this.#client;
    if (method === "leaseKeepAlive") return this.#keepAlive(request, options);
    return method === "txn" || method === "range"
      ? kv[method](request, options)
      : leaseClient[method](request, options);
  }

  async #keepAlive(request: { ID: string }, options: CallOptions): Promise<LeaseKeepAliveResponse> {
    try {
      return await this.#keepAliveOnce(request, options);
    } catch (error) {
      if (!isStaleToken(translated(error))) throw error;
      await this.#client.leaseClient.leaseTimeToLive(request, options);
      return await this.#keepAliveOnce(request, options);
    }
  }

  async #keepAliveOnce(request: { ID: string }, options: CallOptions): Promise<LeaseKeepAliveResponse> {
    const stream = await this.#client.leaseClient.leaseKeepAlive(options);
    const { promise, resolve, reject } = Promise.withResolvers<LeaseKeepAliveResponse>();
    stream.on("data", resolve);
    stream.on("error", reject);
    stream.on("end", () => reject(new Error("14 UNAVAILABLE: etcd has ended the keep-alive stream")));
    stream.write(request);
    try {
      return await promise;
    } finally {
      stream.end();
    }
  }
}

/**
 * Asks the member to end the stream when it has no leader. The header is that of etcd's own clients'
 * `WithRequireLeader`; an interceptor is the one way to it.
 */
const NEEDS_LEADER: CallOptions = {
  // deno-lint-ignore no-explicit-any -- as above
  interceptors: [(options: any, next: (options: any) => any) => {
    const call = next(options);
    const start = call.start.bind(call);
    // deno-lint-ignore no-explicit-any -- as above
    call.start = (metadata: any, listener: unknown) => {
      metadata.set("hasleader", "true");
      start(metadata, listener);
    };
    return call;
  }],
};

/** gRPC's error behind the client's, whose classes keep of it only the text: "14 UNAVAILABLE: ...". */
function translated(error: unknown): EtcdError {
  if (error instanceof EtcdError) return error;
  const said = error instanceof Error ? error.message : String(error);
  const [, code = "2", message = said] = /\b(\d{1,2}) [A-Z_]+: (.*)$/s.exec(said) ?? [];
  return new EtcdError(Number(code), message, { cause: error });
}
