/** A TCP proxy that does to a connection what networks do: delays, partitions, lost replies, resets. */

import { createServer, type Server, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { HOST } from "./process.ts";
import { Pipe } from "./pipe.ts";

/** "up": towards the server. "down": towards the client. */
export type Direction = "up" | "down";

/** One connection through the proxy. */
export interface Connection {
  /** Port of the client's end. */
  readonly clientPort: number;
  /** Milliseconds since the epoch. */
  readonly since: number;
  /** Ends it at both ends at once. */
  reset(): void;
}

/** Tells the message of interest; chunks are what TCP delivered, small messages come in one. */
export type Match = (chunk: string) => boolean;

/** Which reply gets lost; see {@linkcode Proxy.loseReply}. */
export interface LostReply {
  /** Matches the request; its bytes as latin1 text. Default: the next one, whatever it is. */
  readonly request?: Match;
  /** So many bytes of the reply still pass: a truncated one. Default 0. */
  readonly keep?: number;
  /**
   * Milliseconds from the first swallowed byte to the end of the connection, for protocols in which
   * that byte need not belong to the reply. Default 50.
   */
  readonly linger?: number;
}

/** What is behind a proxy. */
export interface Target {
  readonly port: number;
  readonly host?: string;
  /**
   * Milliseconds to go on trying to reach the server while the client is kept waiting. Default 0: its
   * connection, which a proxy cannot refuse after the fact, ends at once.
   */
  readonly patience?: number;
  /** Whether delays are kept to a tenth of a millisecond, which keeps the thread busy while one lasts. */
  readonly fine?: boolean;
}

interface Link extends Connection {
  readonly up: Pipe;
  readonly down: Pipe;
}

interface Loss {
  readonly kind: "request" | "reply";
  readonly match: Match;
  readonly keep: number;
  readonly linger: number;
  readonly done: () => void;
}

/** Sits between clients and one server. */
export class Proxy implements AsyncDisposable {
  readonly host: string = HOST;
  readonly #target: { host: string; port: number };
  readonly #listener: Server;
  readonly #links = new Set<Link>();
  /** Accepted, while the connection to the server is being made. */
  readonly #arriving = new Set<Socket>();
  readonly #losses: Loss[] = [];
  readonly #patience: number;
  readonly #fine: boolean;
  #port = 0;
  #delay: () => number = () => 0;
  #cut = new Map<Direction, (connection: Connection) => boolean>();
  #refusing = false;

  private constructor(target: Target) {
    this.#target = { host: target.host ?? HOST, port: target.port };
    this.#patience = target.patience ?? 0;
    this.#fine = target.fine ?? false;
    this.#listener = createServer((client) => this.#accept(client));
  }

  /** Listens on a free port and connects to the target for each connection. */
  static async start(target: Target): Promise<Proxy> {
    const proxy = new Proxy(target);
    await new Promise<void>((resolve, reject) => {
      proxy.#listener.once("error", reject);
      proxy.#listener.listen(0, HOST, resolve);
    });
    proxy.#listener.unref(); // a proxy that a test forgot must not keep the test process alive
    proxy.#port = (proxy.#listener.address() as { port: number }).port;
    return proxy;
  }

  /** Where clients connect. */
  get port(): number {
    return this.#port;
  }

  /** The live connections. */
  get connections(): readonly Connection[] {
    return [...this.#links];
  }

  /** Everything takes so many milliseconds longer, each way, give or take half the jitter; in order. */
  delay(ms: number, jitter = 0): void {
    this.#delay = () => Math.max(0, ms + (Math.random() - 0.5) * jitter);
  }

  /**
   * A partition, of both directions or of one: nothing gets through, not even that an end has gone,
   * until `heal()`. New connections are accepted and silent. As with TCP, what was sent meanwhile
   * arrives after all once it heals, even from a client that has given up.
   */
  cut(direction: Direction | "both" = "both", which: (connection: Connection) => boolean = () => true): void {
    for (const way of direction === "both" ? ["up", "down"] as const : [direction]) {
      this.#cut.set(way, which);
      for (const link of this.#links) if (which(link)) link[way].hold();
    }
  }

  /** As if the server were down: ends every connection and each new one at once. */
  refuse(): void {
    this.#refusing = true;
    this.reset();
  }

  /** Ends every live connection at both ends. New ones work. */
  reset(): void {
    for (const client of this.#arriving) client.destroy();
    this.#arriving.clear();
    for (const link of [...this.#links]) link.reset();
  }

  /**
   * The server gets the request, the client never gets the reply: it is swallowed and the connection
   * ended. Resolves when that has happened. Several calls lose several, in turn.
   */
  loseReply(options: LostReply = {}): Promise<void> {
    const { request = () => true, keep = 0, linger = 50 } = options;
    return new Promise((done) => this.#losses.push({ kind: "reply", match: request, keep, linger, done }));
  }

  /** The server never gets the request: the connection ends instead. Resolves when that has happened. */
  loseRequest(request: Match = () => true): Promise<void> {
    return new Promise((done) =>
      this.#losses.push({ kind: "request", match: request, keep: 0, linger: 0, done })
    );
  }

  /** No more delays, partitions or losses. */
  heal(): void {
    this.#delay = () => 0;
    this.#cut.clear();
    this.#refusing = false;
    this.#losses.length = 0;
    for (const link of this.#links) {
      link.up.release();
      link.down.release();
    }
  }

  /** Ends all connections and stops listening. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#listener.close(resolve));
    this.reset();
    await closed;
  }

  async #accept(client: Socket): Promise<void> {
    client.on("error", () => {});
    client.unref();
    if (this.#refusing) return void client.destroy();
    this.#arriving.add(client);
    const server = await dial(this.#target, this.#patience);
    if (!this.#arriving.delete(client) || !server) {
      client.destroy();
      server?.destroy();
      return;
    }
    for (const socket of [client, server]) socket.setNoDelay(true);
    const delay = () => this.#delay();
    const link: Link = {
      clientPort: client.remotePort ?? 0,
      since: Date.now(),
      up: new Pipe(client, server, delay, this.#fine),
      down: new Pipe(server, client, delay, this.#fine),
      reset: () => {
        this.#links.delete(link);
        link.up.end();
        link.down.end();
        client.destroy();
        server.destroy();
      },
    };
    this.#links.add(link);
    for (const [way, which] of this.#cut) if (which(link)) link[way].hold();
    link.up.onchunk = (chunk) => this.#lose(link, chunk);
    link.up.onend = link.down.onend = () => link.reset();
  }

  /** Whether the request is passed on; arranges for the loss of its reply. */
  #lose(link: Link, chunk: Uint8Array): boolean {
    const request = latin1(chunk);
    const index = this.#losses.findIndex((loss) => loss.match(request));
    if (index < 0) return true;
    const [loss] = this.#losses.splice(index, 1);
    const finish = () => {
      link.reset();
      loss!.done();
    };
    if (loss!.kind === "request") {
      finish();
      return false;
    }
    let { keep } = loss!;
    link.down.onchunk = (reply) => {
      const kept = reply.subarray(0, keep);
      keep -= kept.length;
      if (kept.length < reply.length) setTimeout(finish, loss!.linger);
      link.down.send(kept);
      return false;
    };
    return true;
  }
}

/** Connects, or resolves with `undefined` if that cannot be done. */
async function dial(target: { host: string; port: number }, patience: number): Promise<Socket | undefined> {
  const deadline = performance.now() + patience;
  for (;;) {
    const socket = new Socket();
    socket.unref();
    const connected = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.on("error", () => resolve(false));
      socket.connect(target.port, target.host);
    });
    if (connected) return socket;
    socket.destroy();
    if (performance.now() >= deadline) return undefined;
    await sleep(20, undefined, { ref: false });
  }
}

function latin1(chunk: Uint8Array): string {
  return new TextDecoder("latin1").decode(chunk);
}
