import { Buffer } from "node:buffer";
import net from "node:net";
import tls from "node:tls";
import { type Reply, ReplyReader } from "./reply.ts";
import { type Endpoint, nameOf } from "./address.ts";
import type { Transport } from "./settings.ts";

/** A request, to be sent once. */
export interface Message {
  readonly method: "GET" | "PUT";
  /** With the query. */
  readonly path: string;
  /** The body of a PUT. */
  readonly text: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Ends it. */
  readonly signal: AbortSignal;
  /** Milliseconds without a byte after which the connection counts as broken. */
  readonly silence: number | undefined;
  /** Goes over a connection that is kept for what is urgent, and never waits for others. */
  readonly urgent: boolean;
  /** Bytes that the body of the reply may have. */
  readonly largest: number | undefined;
}

/** What sends requests. */
export interface Sender {
  /** Rejects if there is no complete reply. */
  send(at: Endpoint, message: Message): Promise<Reply>;
  /** The agent is silent: connections to it that nobody uses may be dead, except those kept for what is urgent. */
  forget(at: Endpoint): void;
  /** Closes the connections. */
  close(): void;
}

/**
 * Kept-alive connections of our own, each for one request at a time.
 *
 * `fetch` cannot take a certificate authority of our own in Node, and sends a PUT again when a reused
 * connection breaks (in Bun and Deno); `node:http` takes a third of the time that an uncontended lock
 * takes, and sends again in Deno.
 */
export class Connections implements Sender {
  readonly #transport: Transport;
  readonly #idle = new Map<string, Connection[]>();
  readonly #open = new Set<Connection>();

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  send(at: Endpoint, message: Message): Promise<Reply> {
    if (message.signal.aborted) return Promise.reject(message.signal.reason);
    const text = written(at, message);
    const name = nameOf(at);
    const urgent = `${name} urgent`;
    const idle = message.urgent
      // Another's, before it depends on there being room for one more.
      ? this.#take(urgent) ?? this.#take(name)
      // Whoever needs no more than one connection has only the one that is kept.
      : this.#take(name) ??
        (message.silence === undefined && !this.#has(name) ? this.#take(urgent) : undefined);
    const connection = idle ?? this.#connect(at, name);
    if (message.urgent) connection.lane = urgent;
    return connection.ask(text, message);
  }

  forget(at: Endpoint): void {
    for (const connection of [...this.#idle.get(nameOf(at)) ?? []]) connection.destroy(undefined);
  }

  close(): void {
    for (const connection of this.#open) connection.destroy(new Error("the connection was closed"));
  }

  #take(lane: string): Connection | undefined {
    return this.#idle.get(lane)?.pop();
  }

  /** Whether there are any, but for those over which a question stands open. */
  #has(lane: string): boolean {
    return this.#open.values().some((connection) => connection.lane === lane && !connection.standing);
  }

  #connect(at: Endpoint, lane: string): Connection {
    const connection = new Connection(connect(at, this.#transport), lane, {
      free: () => {
        const idle = this.#idle.get(connection.lane);
        if (idle === undefined) this.#idle.set(connection.lane, [connection]);
        else idle.push(connection);
      },
      ended: () => {
        this.#open.delete(connection);
        const idle = this.#idle.get(connection.lane);
        const at = idle?.indexOf(connection) ?? -1;
        if (at >= 0) idle!.splice(at, 1);
      },
    });
    this.#open.add(connection);
    return connection;
  }
}

interface Exchange {
  readonly message: Message;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: unknown) => void;
  readonly abort: () => void;
}

class Connection {
  readonly #socket: net.Socket;
  readonly #on: { free(): void; ended(): void };
  /** What it is kept for. */
  lane: string;
  #reader = new ReplyReader();
  #exchange: Exchange | undefined;
  #ended = false;

  constructor(socket: net.Socket, lane: string, on: { free(): void; ended(): void }) {
    this.lane = lane;
    this.#socket = socket;
    this.#on = on;
    // The core's alarms keep the process alive, while something is asked, waited for or held. Not before it
    // stands: Deno 2.7 would forget it.
    socket.once(standsWith(socket), () => socket.unref());
    socket.on("data", (bytes: Buffer) => this.#hear(bytes));
    socket.on("timeout", () => {
      this.destroy(new Error(`nothing heard for ${this.#exchange?.message.silence} ms`));
    });
    socket.on("error", (error: Error & { code?: string }) => {
      this.destroy(error.message === "" ? new Error(error.code, { cause: error }) : error);
    });
    socket.on("close", () => {
      const last = this.#exchange && this.#reader.end();
      if (last !== undefined) this.#settle()!.resolve(last);
      this.destroy(new Error("the connection broke before the end of a reply"));
    });
  }

  /** Whether a question stands open. */
  get standing(): boolean {
    return this.#exchange?.message.silence !== undefined;
  }

  /** One at a time. */
  ask(text: string, message: Message): Promise<Reply> {
    const { signal, silence, largest } = message;
    this.#reader = new ReplyReader(largest);
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    const abort = (): void => this.destroy(signal.reason);
    this.#exchange = { message, resolve, reject, abort };
    signal.addEventListener("abort", abort, { once: true });
    const socket = this.#socket;
    if (silence !== undefined) socket.setTimeout(silence);
    if (!socket.connecting) socket.write(text);
    // Nothing is said to a server that has not shown yet who it is.
    else socket.once(standsWith(socket), () => socket.write(text));
    return promise;
  }

  destroy(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#socket.destroy();
    this.#on.ended();
    this.#settle()?.reject(error);
  }

  #hear(bytes: Buffer): void {
    if (this.#exchange === undefined) return this.destroy(new Error("a reply to nothing"));
    try {
      const reply = this.#reader.read(bytes);
      if (reply === undefined) return;
      const { resolve, message } = this.#settle()!;
      if (this.#reader.lasting) {
        if (message.silence !== undefined) this.#socket.setTimeout(0);
        this.#on.free();
      } else this.destroy(undefined);
      resolve(reply);
    } catch (error) {
      this.destroy(error);
    }
  }

  #settle(): Exchange | undefined {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.message.signal.removeEventListener("abort", exchange.abort);
    return exchange;
  }
}

/** The event after which it is known who the server is. */
function standsWith(socket: net.Socket): string {
  return socket instanceof tls.TLSSocket ? "secureConnect" : "connect";
}

function connect({ secure, host, port }: Endpoint, transport: Transport): net.Socket {
  const options = { host, port, noDelay: true, keepAlive: true };
  if (!secure) return net.connect(options);
  const servername = net.isIP(host) === 0 ? host : undefined;
  return tls.connect({ ...options, servername, ALPNProtocols: ["http/1.1"], ...transport });
}

/** What goes over the wire. */
function written({ host, port, auth }: Endpoint, { method, path, text, headers }: Message): string {
  if (/[^!-~]/.test(path)) throw new Error("Cannot send a request: its path is not ASCII");
  // A zone is of this machine, and not of the address that the server has.
  const name = host.includes(":") ? `[${host.replace(/%.*/, "")}]` : host;
  let head = `${method} ${path} HTTP/1.1\r\nHost: ${name}:${port}\r\n`;
  for (const [name, value] of Object.entries(headers)) head += `${name}: ${value}\r\n`;
  if (auth !== undefined) head += `Authorization: Basic ${Buffer.from(auth).toString("base64")}\r\n`;
  if (method === "PUT") head += `Content-Length: ${Buffer.byteLength(text)}\r\n`;
  return `${head}\r\n${text}`;
}
