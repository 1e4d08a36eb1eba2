import { Buffer } from "node:buffer";
import net from "node:net";
import tls from "node:tls";
import { type Reply, ReplyReader } from "./reply.ts";
import type { Endpoint } from "./address.ts";
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
}

/** What sends requests. */
export interface Sender {
  /** Rejects if there is no complete reply. */
  send(at: Endpoint, message: Message): Promise<Reply>;
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
    const name = `${at.secure} ${at.host} ${at.port}`;
    const connection = this.#idle.get(name)?.pop() ?? this.#connect(at, name);
    return connection.ask(text, message);
  }

  close(): void {
    for (const connection of this.#open) connection.destroy(new Error("the connection was closed"));
  }

  #connect(at: Endpoint, name: string): Connection {
    let idle = this.#idle.get(name);
    if (idle === undefined) this.#idle.set(name, idle = []);
    const connection = new Connection(connect(at, this.#transport), {
      free: () => void idle.push(connection),
      ended: () => {
        this.#open.delete(connection);
        const at = idle.indexOf(connection);
        if (at >= 0) idle.splice(at, 1);
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
  #reader = new ReplyReader();
  #exchange: Exchange | undefined;
  #ended = false;

  constructor(socket: net.Socket, on: { free(): void; ended(): void }) {
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

  /** One at a time. */
  ask(text: string, message: Message): Promise<Reply> {
    const { signal, silence } = message;
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
        this.#reader = new ReplyReader();
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
  let head = `${method} ${path} HTTP/1.1\r\nHost: ${host.includes(":") ? `[${host}]` : host}:${port}\r\n`;
  for (const [name, value] of Object.entries(headers)) head += `${name}: ${value}\r\n`;
  if (auth !== undefined) head += `Authorization: Basic ${Buffer.from(auth).toString("base64")}\r\n`;
  if (method === "PUT") head += `Content-Length: ${Buffer.byteLength(text)}\r\n`;
  return `${head}\r\n${text}`;
}
