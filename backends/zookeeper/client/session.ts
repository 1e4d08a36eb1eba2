import type { Connection, WatchEvent } from "./connection.ts";
import { dial, type Dialled } from "./dial.ts";
import { code, ConnectionLost, failedWith, SessionEnded } from "./errors.ts";
import { closeSession, type Operation } from "./operations.ts";
import type { Parents } from "./parents.ts";
import { SessionNode } from "./session_node.ts";
import type { Settings } from "./settings.ts";

/** How a session is kept. */
export interface SessionRequest {
  /** Where. */
  readonly settings: Settings;
  /** Milliseconds asked for. */
  readonly timeout: number;
  /** Milliseconds that a call may take. */
  readonly patience: number;
  /** Makes the folder of the session's node. */
  readonly parents: Parents;
  /** What every connection begins with, beside a write, before any other request. */
  readonly restore: (connection: Connection) => Promise<void>;
  /** As of {@linkcode Hearer.event}. */
  readonly event: (type: WatchEvent, path: string) => void;
  /** The connection is gone, or could not be made, and every watch with it. */
  readonly disconnected: () => void;
  /** The server says that the session is over, for good. */
  readonly expired: () => void;
}

/** A session with ZooKeeper, over as many connections as it takes, one at a time. */
export class Session {
  readonly #request: SessionRequest;
  readonly #node: SessionNode;
  #id = 0n;
  #password: Uint8Array = new Uint8Array(16);
  #timeout = Infinity;
  #lastZxid = 0n;
  #chroot: string | undefined;
  #connection: Connection | undefined;
  #connecting: Promise<Connection> | undefined;
  #since = 0;
  #ended: SessionEnded | undefined;
  /** What kept the server from being told of the end, and when it has come to that by itself. */
  #untold: { readonly error: unknown; readonly until: number } | undefined;
  readonly #over = new AbortController();

  /** Nothing connects before {@linkcode connection}. */
  constructor(request: SessionRequest) {
    this.#request = request;
    this.#node = new SessionNode(request.parents);
  }

  /** Owner of its ephemeral nodes. */
  get id(): bigint {
    return this.#id;
  }

  /** Milliseconds, as of the latest connection. */
  get timeout(): number {
    return this.#timeout;
  }

  /** "" or "/a/b", as of the first connection. */
  get chroot(): string {
    return this.#chroot ?? "";
  }

  /** Whether the session is over. */
  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /** The connection there is, without waiting. */
  get current(): Connection | undefined {
    return this.#connection;
  }

  /** The connection there is, or a new one. Rejects with {@linkcode SessionEnded} when it is over. */
  async connection(): Promise<Connection> {
    if (this.#ended) throw this.#ended;
    return this.#connection ?? await (this.#connecting ??= this.#connect());
  }

  /** As {@linkcode Connection.request}; an answer that shows the session to be over ends it here too. */
  async request<T>(operation: Operation<T>, on?: Connection): Promise<T> {
    const connection = on ?? this.#connection ?? await this.connection();
    try {
      return await connection.request(operation);
    } catch (error) {
      throw this.#learn(error, connection);
    }
  }

  /** One write, which the quorum has agreed on once this resolves, while the session was alive. */
  async write(): Promise<void> {
    const connection = await this.connection();
    try {
      await this.#node.write(this.chroot, connection);
    } catch (error) {
      throw this.#learn(error, connection);
    }
  }

  /** Ends the session in the server. Rejects if that cannot be told, as long as the timeout has not ended it. */
  async close(signal: AbortSignal): Promise<void> {
    const abandon = () => this.#end("the session was closed");
    if (this.#untold !== undefined && performance.now() < this.#untold.until) throw this.#untold.error;
    signal.addEventListener("abort", abandon, { once: true });
    try {
      if (this.#ended || (this.#id === 0n && this.#connecting === undefined) || signal.aborted) return;
      const connection = await this.connection();
      await connection.request(closeSession);
    } catch (error) {
      if (error instanceof SessionEnded && !signal.aborted) return;
      this.#untold = { error, until: performance.now() + Math.min(this.#timeout, this.#request.timeout) };
      throw error;
    } finally {
      signal.removeEventListener("abort", abandon);
      abandon();
    }
  }

  /** Forgets the session here; in the server, its timeout ends it. */
  abandon(): void {
    this.#end("the session was given up");
  }

  /**
   * Once there is a session, a dead server must be noticed, and another one found, between a write that
   * the server no longer answers and the session's end: of its timeout, two thirds of what is left beside
   * `tickTime`, and that has to be enough for two dead ones. And before a call is over.
   */
  get #patience(): number {
    const { timeout, settings, patience } = this.#request;
    const granted = Math.min(timeout, this.#timeout);
    const spare = Math.max(granted - settings.tickTime, granted / 4);
    return Math.min(Math.max(spare / 6, Math.min(500, spare / 2)), patience / 2);
  }

  async #connect(): Promise<Connection> {
    const { settings, timeout, patience, event } = this.#request;
    try {
      const { connection } = await dial({
        settings,
        timeout: 0.9 * patience,
        ...(this.#id !== 0n && { patience: this.#patience }),
        hello: () => ({ lastZxid: this.#lastZxid, timeout, session: this.#id, password: this.#password }),
        listener: {
          event,
          ended: () => this.#disconnected(),
        },
        prepare: (dialled) => this.#welcome(dialled),
        signal: this.#over.signal,
      });
      if (connection.ended) throw new ConnectionLost(`${connection.name} hung up`);
      this.#connection = connection;
      this.#since = performance.now();
      return connection;
    } catch (error) {
      if (!this.#ended) this.#request.disconnected();
      throw this.#ended ?? error;
    } finally {
      this.#connecting = undefined;
    }
  }

  async #welcome(dialled: Dialled): Promise<void> {
    const { connection, chroot } = dialled;
    const { timeout, session, password } = connection.welcome;
    if (timeout <= 0) {
      if (!await this.#isOurs(dialled)) {
        throw new ConnectionLost(
          `${connection.name} does not know the session, and may be of another ensemble`,
        );
      }
      this.#expire();
      throw this.#ended!;
    }
    const { tickTime } = this.#request.settings;
    if (timeout <= tickTime) {
      throw new ConnectionLost(
        `${connection.name} grants a session ${timeout} ms, which is not above a tickTime of ${tickTime} ` +
          "(give zookeeper() the servers' own tickTime)",
      );
    }
    this.#timeout = timeout;
    this.#id = session;
    this.#password = password;
    connection.patience = this.#patience;
    this.#chroot ??= chroot;
    try {
      const restored = this.#request.restore(connection);
      await Promise.all([this.#node.write(this.#chroot, connection), restored]);
    } catch (error) {
      throw this.#learn(error, connection);
    } finally {
      if (connection.lastZxid > this.#lastZxid) this.#lastZxid = connection.lastZxid;
    }
  }

  /** Any peer can say the few zeros by which a session has expired: only its own ensemble is believed. */
  async #isOurs({ server, chroot }: Dialled): Promise<boolean> {
    const over = new AbortController();
    const { settings, timeout } = this.#request;
    try {
      const { connection } = await dial({
        settings: { ...settings, locate: () => Promise.resolve({ servers: [server], chroot }) },
        timeout: this.#patience,
        hello: () => ({ lastZxid: this.#lastZxid, timeout, session: 0n, password: new Uint8Array(16) }),
        listener: { event: () => {}, ended: () => {} },
        signal: AbortSignal.any([over.signal, this.#over.signal]),
      });
      const ours = await this.#node.isIn(this.chroot, connection);
      await connection.request(closeSession).catch(() => {}); // it owns nothing
      return ours;
    } finally {
      over.abort();
    }
  }

  /** What an answer says of the session, beside being an error. */
  #learn(error: unknown, connection: Connection): unknown {
    if (failedWith(error, code.sessionExpired)) this.#expire();
    if (!failedWith(error, code.sessionMoved)) return error;
    connection.destroy();
    return new ConnectionLost(`${connection.name} no longer serves this session`, { cause: error });
  }

  #disconnected(): void {
    const lost = this.#connection;
    if (lost === undefined) return;
    this.#connection = undefined;
    if (lost.lastZxid > this.#lastZxid) this.#lastZxid = lost.lastZxid;
    if (this.#ended) return;
    this.#request.disconnected();
    // At once, to learn soon whether the session is still there; if that fails, the next call tries.
    // Not after a connection that was short: a server that hangs up on us at once would be asked for ever.
    if (performance.now() - this.#since > 100) this.connection().catch(() => {});
  }

  #expire(): void {
    if (this.#ended) return;
    this.#end("the session has expired");
    this.#request.expired();
  }

  #end(why: string): void {
    this.#ended ??= new SessionEnded(why);
    this.#over.abort();
  }
}
