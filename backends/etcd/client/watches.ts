import type { WatchCreateRequest, WatchResponse } from "./messages.ts";
import type { Connection, Hearer, Watching, WatchStream } from "./port.ts";
import { prefixOfRequest } from "./requests.ts";
import { EtcdError, PERMISSION_DENIED, refusal } from "./errors.ts";

/** gRPC's FAILED_PRECONDITION: not worth another connection. */
const REFUSED = 9;

/** One watch on the stream. */
interface Watch {
  readonly request: WatchCreateRequest;
  readonly listener: Hearer;
  /** Its number on the stream, from 0. */
  number: number;
  readonly begun: PromiseWithResolvers<void>;
  /** Assigned by the server, once it watches. */
  id: string | undefined;
  cancelled: boolean;
}

/**
 * Any number of watches on one stream, opened for the first and closed after the last. Nothing is
 * resumed: when the stream ends, every listener is told.
 */
export class Watches {
  readonly #connection: Connection;
  readonly #user: string | undefined;
  readonly #lost: (error: unknown) => void;
  #stream: WatchStream | undefined;
  #opening = false;
  /** In the order in which they were sent, which need not be that of the answers. */
  readonly #unanswered: Watch[] = [];
  /** How many have been sent on this stream. */
  #sent = 0;
  /** How many streams in a row were refused. */
  #refusals = 0;
  readonly #live = new Map<string, Watch>();
  readonly #waiting = new Set<Watch>();

  /** `lost` hears why a stream broke. */
  constructor(connection: Connection, user: string | undefined, lost: (error: unknown) => void) {
    this.#connection = connection;
    this.#user = user;
    this.#lost = lost;
  }

  /** Starts a watch. */
  add(request: WatchCreateRequest, listener: Hearer): Watching {
    const begun = Promise.withResolvers<void>();
    begun.promise.catch(() => {}); // the listener is told, too
    const watch: Watch = { request, listener, number: 0, begun, id: undefined, cancelled: false };
    if (this.#stream !== undefined) this.#create(this.#stream, watch);
    else {
      this.#waiting.add(watch);
      if (!this.#opening) void this.#connect();
    }
    return { ready: begun.promise, cancel: () => this.#cancel(watch) };
  }

  /** Ends the stream; every listener hears `error`. */
  fail(error: unknown): void {
    const watches = [...this.#waiting, ...this.#unanswered, ...this.#live.values()];
    this.#waiting.clear();
    this.#unanswered.length = 0;
    this.#live.clear();
    this.#hangUp();
    for (const watch of watches) failed(watch, error, false);
  }

  async #connect(): Promise<void> {
    this.#opening = true;
    try {
      // Until the stream is ours, nothing is heard on it, except that it has ended.
      const heard: { stream?: WatchStream; end?: { error: unknown } } = {};
      const stream = await this.#connection.watch(
        (response) =>
          heard.stream !== undefined && this.#stream === heard.stream && this.#heard(heard.stream, response),
        (error) => {
          heard.end = { error };
          if (heard.stream !== undefined && this.#stream === heard.stream) this.#broke(error);
        },
      );
      heard.stream = stream;
      if (heard.end !== undefined) throw heard.end.error;
      this.#opening = false;
      this.#stream = stream;
      this.#sent = 0;
      const waiting = [...this.#waiting];
      this.#waiting.clear();
      for (const watch of waiting) this.#create(stream, watch);
      this.#closeIfIdle();
    } catch (error) {
      this.#opening = false;
      this.#broke(error);
    }
  }

  #broke(error: unknown): void {
    this.fail(error);
    this.#lost(error);
  }

  #create(stream: WatchStream, watch: Watch): void {
    watch.number = this.#sent++;
    this.#unanswered.push(watch);
    stream.send({ create_request: watch.request });
  }

  #heard(stream: WatchStream, response: WatchResponse): void {
    if (response.header === undefined) return this.#broke(EtcdError.unreadable("a message without a header"));
    if (response.created) {
      const watch = this.#answered(response.watch_id);
      if (watch === undefined) return;
      if (response.canceled) {
        failed(watch, this.#refused(watch, response.cancel_reason), false);
        // Perhaps because the login of the stream has expired. All start again, with another.
        this.#connection.refused();
        return this.fail(new EtcdError(REFUSED, "another watch was refused"));
      }
      this.#refusals = 0;
      if (watch.cancelled) {
        stream.send({ cancel_request: { watch_id: response.watch_id } });
      } else {
        watch.id = response.watch_id;
        this.#live.set(watch.id, watch);
        watch.begun.resolve();
      }
      return this.#closeIfIdle();
    }
    const watch = this.#live.get(response.watch_id);
    if (watch === undefined) return;
    if (response.canceled) {
      this.#live.delete(response.watch_id);
      const compacted = response.compact_revision !== "0";
      const why = compacted ? "its history is gone" : response.cancel_reason;
      failed(watch, new EtcdError(REFUSED, `the watch was cancelled: ${why}`), compacted);
      this.#closeIfIdle();
    } else if (response.events.length > 0) {
      const put = response.events.flatMap(({ type, kv }) =>
        type === "Put" && kv !== undefined ? [kv.value] : []
      );
      watch.listener.changed(put, BigInt(response.header.revision));
    }
  }

  /**
   * Whose creation this answers. Servers count the watches of a stream from 0, and etcd answers in
   * order; `etcd grpc-proxy` answers sooner for what another of its clients watches already.
   */
  #answered(id: string): Watch | undefined {
    const index = this.#unanswered.findIndex(({ number }) => `${number}` === id);
    return this.#unanswered.splice(Math.max(index, 0), 1)[0];
  }

  /** A second refusal is not for a login that has expired. */
  #refused({ request }: Watch, reason: string): Error {
    const error = new EtcdError(REFUSED, `the watch was refused: ${reason}`);
    if (++this.#refusals < 2 || !reason.includes("etcdserver: permission denied")) return error;
    const asked = { user: this.#user, prefix: prefixOfRequest(request) };
    return refusal(new EtcdError(PERMISSION_DENIED, "etcdserver: permission denied"), asked) ?? error;
  }

  #cancel(watch: Watch): void {
    if (watch.cancelled) return;
    watch.cancelled = true;
    watch.begun.reject(new Error("the watch was cancelled"));
    this.#waiting.delete(watch);
    if (watch.id !== undefined && this.#live.delete(watch.id)) {
      this.#stream?.send({ cancel_request: { watch_id: watch.id } });
    }
    this.#closeIfIdle();
  }

  #closeIfIdle(): void {
    if (this.#waiting.size + this.#unanswered.length + this.#live.size === 0) this.#hangUp();
  }

  #hangUp(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    stream?.close();
  }
}

function failed(watch: Watch, error: unknown, compacted: boolean): void {
  if (watch.cancelled) return;
  watch.cancelled = true;
  watch.begun.reject(error);
  watch.listener.failed(error, compacted);
}
