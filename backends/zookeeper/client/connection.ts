import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import { clearInterval, clearTimeout, setInterval, setTimeout } from "node:timers";
import { ConnectionLost, ZooKeeperError } from "./errors.ts";
import { Frames } from "./frames.ts";
import { Reader, Writer } from "./jute.ts";
import { type Hello, hello, type Operation, ping, type Welcome, welcome } from "./operations.ts";
import { Outbox, type Pending } from "./outbox.ts";
import { hostAndPort, type Server } from "./servers.ts";

/** What happens to nodes that are watched. */
export type WatchEvent = "created" | "deleted" | "data" | "children";

/** Whom a connection tells. */
export interface Hearer {
  /** Once for each watch set; before any answer that shows the change. */
  event(type: WatchEvent, path: string): void;
  /** Once; every pending request has been rejected with the same error. */
  ended(error: Error): void;
}

const EVENTS: readonly (WatchEvent | undefined)[] = [undefined, "created", "deleted", "data", "children"];
const NOTIFICATION = -1;
const PING = -2;
const LOOKS = 4;
/** What runtimes say when the other end hangs up in the middle of a greeting; Bun, also that it was refused. */
const HANGING_UP: ReadonlySet<string> = new Set(
  ["ECONNRESET", "EPIPE", "ECONNABORTED", ..."Bun" in globalThis ? ["ECONNREFUSED"] : []],
);
/** Requests that are with the server at a time: what an urgent one has to wait for. */
const WINDOW = 256;

/**
 * Our own, because the usual package leaves in doubt what has been done: `node-zookeeper-client`
 * 1.1.3 never notices a dead connection, sends late what was asked while disconnected, reads half a reply
 * of the last connection as the start of the next, and knows neither containers nor the removal of
 * watches (`tests/zookeeper/client_package_test.ts` shows each on a real server).
 *
 * One TCP connection to one server. Requests are sent at once (unless they are hundreds), those of one
 * turn in one write, and are answered in order: behind a write that a follower without its leader cannot
 * have done, reads wait too. So if something is pending and no answer comes for `patience` milliseconds,
 * the connection is of no use and ends, as it does at anything that ZooKeeper does not say.
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
  readonly #listener: Hearer;
  readonly #outbox = new Outbox();
  /** With the server. */
  readonly #pending = new Map<number, Pending>();
  #flushing = false;
  #pinging = false;
  /** Of the latest request that was sent. */
  #xid = 0;
  /** Of the latest that was answered. */
  #answered = 0;
  /** What had been sent before the ping. */
  #pinged = 0;
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
    listener: Hearer,
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
    listener: Hearer,
    signal: AbortSignal,
  ): Promise<Connection> {
    const { host, port } = server;
    const name = hostAndPort(server);
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, noDelay: true });
      const frames = new Frames();
      let connection: Connection | undefined;
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
      socket.on("error", (error: NodeJS.ErrnoException) => {
        const hint = !connection && HANGING_UP.has(error.code!) ? `: ${reasons(said)}` : "";
        fail(`failed: ${error.message || error}${hint}`, error);
      });
      socket.on("close", () => fail(connection ? "hung up" : `hung up: ${reasons(said)}`));
      socket.on("data", (bytes: Buffer) => {
        try {
          for (const frame of frames.push(bytes)) {
            const reader = new Reader(frame);
            if (connection !== undefined) {
              if (connection.ended) return;
              connection.#hear(reader);
              continue;
            }
            connection = new Connection(name, socket, welcome(reader, said), said, patience, listener);
            clearTimeout(timer);
            resolve(connection);
          }
          if (connection !== undefined) connection.#flush();
        } catch (error) {
          fail(`does not speak ZooKeeper's protocol: it sent ${(error as Error).message}`, error);
        }
      });
    });
  }

  /** Whether the connection is of no use any more. */
  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /** Rejects with {@linkcode ZooKeeperError} if the server refused, else with {@linkcode ConnectionLost}. */
  request<T>(operation: Operation<T>): Promise<T> {
    if (this.#ended) return Promise.reject(this.#ended);
    const answer = this.#outbox.put(operation);
    if (!this.#flushing) {
      this.#flushing = true;
      queueMicrotask(() => this.#flush());
    }
    return answer;
  }

  /** From now on a ping goes out every `interval` milliseconds, so that silence is noticed. */
  keepAlive(interval: number): void {
    this.#pinger = setInterval(() => {
      if (this.#pinging) return;
      this.#pinging = true;
      this.request(ping).catch(() => {}).finally(() => this.#pinging = false);
    }, interval).unref();
  }

  /** Ends the connection, whatever is pending. */
  destroy(error: Error = new ConnectionLost(`the connection to ${this.name} was closed`)): void {
    if (this.#ended) return;
    this.#ended = error;
    clearTimeout(this.#watchdog);
    clearInterval(this.#pinger);
    this.#socket.destroy();
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
    for (let unsent; (unsent = this.#outbox.take());) unsent.reject(error);
    this.#listener.ended(error);
  }

  #flush(): void {
    this.#flushing = false;
    this.#outbox.turn();
    const frames: Uint8Array[] = [];
    if (this.#pending.size === 0) this.#looks = 0;
    for (let next; this.#pending.size < WINDOW && !this.#ended && (next = this.#outbox.take());) {
      const { operation } = next;
      const xid = operation === ping ? PING : this.#xid = after(this.#xid);
      if (operation === ping) this.#pinged = this.#xid;
      this.#pending.set(xid, next);
      const frame = new Writer().int(xid).int(operation.type);
      operation.write(frame);
      frames.push(frame.frame());
    }
    if (frames.length === 0) return;
    this.#socket.write(frames.length === 1 ? frames[0]! : Buffer.concat(frames));
    if (this.#watchdog === undefined) this.#watch();
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
    if (zxid > 0n && zxid < this.lastZxid) throw new Error("what is older than what it has shown before");
    if (zxid > 0n) this.lastZxid = zxid;
    const isDue = xid === PING || xid === after(this.#answered);
    const pending = isDue ? this.#pending.get(xid) : undefined;
    if (pending === undefined) throw new Error(`an answer that is not due (${xid})`);
    try {
      if (error !== 0) throw new ZooKeeperError(error);
      pending.resolve(pending.operation.read(frame));
    } catch (refusal) {
      if (!(refusal instanceof ZooKeeperError)) throw refusal;
      pending.reject(refusal);
    }
    this.#pending.delete(xid);
    // The answer to a ping that overtakes others is no sign that those will come.
    if (xid !== PING || this.#pinged === this.#answered) this.#looks = 0;
    if (xid !== PING) this.#answered = xid;
  }
}

function after(xid: number): number {
  return xid + 1 & 0x7fffffff;
}

/** Why a server hangs up on a greeting: it never says so. */
function reasons({ lastZxid }: Hello): string {
  const lost = lastZxid > 0n ? `has lost its data (0x${lastZxid.toString(16)} was seen before), ` : "";
  return `it ${lost}has no quorum, is starting, or has too many connections from this host (maxClientCnxns)`;
}
