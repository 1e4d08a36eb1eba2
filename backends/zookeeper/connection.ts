import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import { clearInterval, clearTimeout, setInterval, setTimeout } from "node:timers";
import { Reader, Writer } from "./jute.ts";
import {
  type Hello,
  hello,
  type Operation,
  ping,
  type Welcome,
  welcome,
  ZooKeeperError,
} from "./operations.ts";

/** One server. */
export interface Server {
  /** Name or address. */
  readonly host: string;
  /** TCP. */
  readonly port: number;
}

/** For messages, and to tell servers apart. */
export function nameOf({ host, port }: Server): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** What happens to nodes that are watched. */
export type WatchEvent = "created" | "deleted" | "data" | "children";

/** Whom a connection tells. */
export interface Listener {
  /** Once for each watch set; before any answer that shows the change. */
  event(type: WatchEvent, path: string): void;
  /** Once; every pending request has been rejected with the same error. */
  ended(error: Error): void;
}

/** The connection is gone, or of no use: what was pending may have been done or not. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
}

interface Pending {
  readonly operation: Operation<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

const EVENTS: readonly (WatchEvent | undefined)[] = [undefined, "created", "deleted", "data", "children"];
const NOTIFICATION = -1;
const PING = -2;
const LOOKS = 4;

/**
 * Our own, because the package that everybody uses cannot be trusted with a lock: `node-zookeeper-client`
 * 1.1.3 never notices a dead connection, sends late what was asked while disconnected, reads half a reply
 * of the last connection as the start of the next, and knows neither containers nor the removal of
 * watches (`tests/zookeeper/client_package_test.ts` shows each on a real server).
 *
 * One TCP connection to one server. Requests are sent at once, those of one turn in one write, and
 * are answered in order: behind a write that a follower without its leader cannot have done, reads
 * wait too. So if something is pending and no answer comes for `patience` milliseconds, the
 * connection is of no use and ends.
 */
export class Connection {
  /** The server, for messages. */
  readonly name: string;
  /** What the server granted. */
  readonly welcome: Welcome;
  /** The latest transaction seen. */
  lastZxid: bigint;
  /** Milliseconds that an answer may take. */
  patience: number;
  readonly #socket: Socket;
  readonly #listener: Listener;
  readonly #pending = new Map<number, Pending>();
  #unread: Buffer = Buffer.alloc(0);
  #unsent: Uint8Array[] = [];
  #xid = 0;
  /** Looks of the watchdog since the latest answer, or since there is something to answer. */
  #looks = 0;
  #watchdog: ReturnType<typeof setTimeout> | undefined;
  #pinger: ReturnType<typeof setInterval> | undefined;
  #ended: Error | undefined;

  private constructor(
    name: string,
    socket: Socket,
    greeting: Welcome,
    said: Hello,
    patience: number,
    listener: Listener,
  ) {
    this.name = name;
    this.welcome = greeting;
    this.lastZxid = said.lastZxid;
    this.#socket = socket;
    this.#listener = listener;
    this.patience = patience;
  }

  /**
   * Connects and says hello. Rejects with {@linkcode ConnectionLost} after `patience` milliseconds of
   * silence. The signal ends it then and later.
   */
  static open(
    server: Server,
    said: Hello,
    patience: number,
    listener: Listener,
    signal: AbortSignal,
  ): Promise<Connection> {
    const { host, port } = server;
    const name = nameOf(server);
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, noDelay: true });
      let connection: Connection | undefined;
      let greeting: Buffer = Buffer.alloc(0);
      const fail = (why: string, cause?: unknown): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", abandon);
        const error = new ConnectionLost(`${name} ${why}`, { cause });
        if (connection) connection.destroy(error);
        socket.destroy();
        reject(error);
      };
      const abandon = () => fail("is not needed any more");
      const timer = setTimeout(() => fail(`said nothing for ${Math.round(patience)} ms`), patience);
      signal.addEventListener("abort", abandon);
      if (signal.aborted) return abandon();
      socket.once("connect", () => {
        // The core's alarms keep the process alive, while something is asked, waited for or held.
        socket.unref();
        socket.write(hello(said));
      });
      socket.on("error", (error) => fail(`failed: ${error.message || error}`, error));
      socket.on("close", () => fail("hung up"));
      socket.on("data", (bytes: Buffer) => {
        if (connection) return connection.#read(bytes);
        greeting = greeting.length === 0 ? bytes : Buffer.concat([greeting, bytes]);
        if (greeting.length < 4) return;
        const end = 4 + greeting.readInt32BE(0);
        if (greeting.length < end) return;
        clearTimeout(timer);
        try {
          const answer = welcome(new Reader(greeting.subarray(4, end)));
          connection = new Connection(name, socket, answer, said, patience, listener);
        } catch (error) {
          return fail("does not speak ZooKeeper's protocol", error);
        }
        resolve(connection);
        if (greeting.length > end) connection.#read(greeting.subarray(end));
      });
    });
  }

  /** Whether it is of no use any more. */
  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /** Rejects with {@linkcode ZooKeeperError} if the server refused, else with {@linkcode ConnectionLost}. */
  request<T>(operation: Operation<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      if (this.#pending.size === 0) this.#looks = 0;
      const xid = operation === ping ? PING : ++this.#xid & 0x7fffffff;
      const pending: Pending = { operation, resolve: resolve as (value: unknown) => void, reject };
      this.#pending.set(xid, pending);
      const frame = new Writer().int(xid).int(operation.type);
      operation.write(frame);
      this.#send(frame.frame());
      if (this.#watchdog === undefined) this.#watch();
    });
  }

  /** From now on a ping goes out every `interval` milliseconds, so that silence is noticed. */
  keepAlive(interval: number): void {
    this.#pinger = setInterval(() => {
      if (!this.#pending.has(PING)) this.request(ping).catch(() => {});
    }, interval).unref();
  }

  /** Ends it, whatever is pending. */
  destroy(error: Error = new ConnectionLost(`the connection to ${this.name} was closed`)): void {
    if (this.#ended) return;
    this.#ended = error;
    clearTimeout(this.#watchdog);
    clearInterval(this.#pinger);
    this.#socket.destroy();
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) reject(error);
    this.#listener.ended(error);
  }

  #send(frame: Uint8Array): void {
    this.#unsent.push(frame);
    if (this.#unsent.length > 1) return;
    queueMicrotask(() => {
      const frames = this.#unsent;
      this.#unsent = [];
      if (!this.#ended) this.#socket.write(frames.length === 1 ? frames[0]! : Buffer.concat(frames));
    });
  }

  /** Counts looks rather than time: after a pause of this process, what has arrived is read first. */
  #watch(): void {
    this.#watchdog = setTimeout(() => {
      this.#watchdog = undefined;
      if (this.#pending.size === 0) return;
      if (++this.#looks < LOOKS) return this.#watch();
      this.destroy(new ConnectionLost(`${this.name} has not answered for ${Math.round(this.patience)} ms`));
    }, this.patience / LOOKS).unref();
  }

  #read(bytes: Buffer): void {
    let buffer = this.#unread.length === 0 ? bytes : Buffer.concat([this.#unread, bytes]);
    try {
      while (buffer.length >= 4 && !this.#ended) {
        const end = 4 + buffer.readInt32BE(0);
        if (buffer.length < end) break;
        this.#hear(new Reader(buffer.subarray(4, end)));
        buffer = buffer.subarray(end);
      }
    } catch (error) {
      this.destroy(new ConnectionLost(`${this.name} sent what cannot be understood`, { cause: error }));
    }
    this.#unread = buffer;
  }

  #hear(frame: Reader): void {
    const xid = frame.int();
    const zxid = frame.long();
    const error = frame.int();
    if (xid === NOTIFICATION) {
      const type = EVENTS[frame.int()];
      frame.int(); // state
      if (type !== undefined) this.#listener.event(type, frame.string());
      return;
    }
    if (zxid > this.lastZxid) this.lastZxid = zxid;
    const pending = this.#pending.get(xid);
    if (pending === undefined) throw new Error(`an answer to a request that was not made (${xid})`);
    this.#pending.delete(xid);
    this.#looks = 0;
    if (error !== 0) return pending.reject(new ZooKeeperError(error));
    try {
      pending.resolve(pending.operation.read(frame));
    } catch (failure) {
      pending.reject(failure as Error);
      if (!(failure instanceof ZooKeeperError)) throw failure;
    }
  }
}
