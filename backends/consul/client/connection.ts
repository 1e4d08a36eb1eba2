import type { Buffer } from "node:buffer";
import net from "node:net";
import tls from "node:tls";
import type { Endpoint } from "./endpoint.ts";
import type { Reply } from "./reply.ts";
import { ReplyReader } from "./reply_reader.ts";
import type { Message, Transport } from "./sender.ts";

/** A message that is under way. */
interface Exchange {
  readonly message: Message;
  readonly reader: ReplyReader;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: unknown) => void;
  readonly abort: () => void;
}

/** What a connection tells of itself. */
interface Events {
  /** The connection can take the next message. */
  free(): void;
  /** The connection takes no more messages. */
  ended(): void;
}

/** One connection to an agent, for one message at a time. */
export class Connection {
  /** Which requests the connection is kept for. */
  lane: string;
  readonly #socket: net.Socket;
  readonly #on: Events;
  #exchange: Exchange | undefined;
  #ended = false;

  constructor(at: Endpoint, transport: Transport, lane: string, on: Events) {
    this.lane = lane;
    this.#on = on;
    const socket = this.#socket = connect(at, transport);
    // What has to keep the process alive is not a socket. Only once it is connected: Deno 2.7 forgets it before.
    socket.once(connected(socket), () => socket.unref());
    socket.on("data", (bytes: Buffer) => this.#hear(bytes));
    socket.on("timeout", () => {
      this.destroy(new Error(`nothing heard for ${this.#exchange?.message.silence} ms`));
    });
    socket.on("error", (error: Error & { code?: string }) => {
      this.destroy(error.message === "" ? new Error(error.code, { cause: error }) : error);
    });
    socket.on("close", () => {
      const last = this.#exchange?.reader.end();
      if (last !== undefined) this.#finish()!.resolve(last);
      this.destroy(new Error("the connection broke before the end of a reply"));
    });
  }

  /** Whether a question stands open on it. */
  get standing(): boolean {
    return this.#exchange?.message.silence !== undefined;
  }

  /** Sends a message, once, as this text. The message before must have been answered. */
  send(text: string, message: Message): Promise<Reply> {
    const { signal, silence, largest } = message;
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    const abort = (): void => this.destroy(signal.reason);
    this.#exchange = { message, reader: new ReplyReader(largest), resolve, reject, abort };
    signal.addEventListener("abort", abort, { once: true });
    const socket = this.#socket;
    if (silence !== undefined) socket.setTimeout(silence);
    if (!socket.connecting) socket.write(text);
    // Nothing is said to a server that has not shown yet who it is.
    else socket.once(connected(socket), () => socket.write(text));
    return promise;
  }

  /** Ends the connection, and with this error the exchange, if there is one. */
  destroy(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#socket.destroy();
    this.#on.ended();
    this.#finish()?.reject(error);
  }

  #hear(bytes: Buffer): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return this.destroy(new Error("a reply to nothing"));
    try {
      const reply = exchange.reader.read(bytes);
      if (reply === undefined) return;
      this.#finish();
      if (exchange.reader.lasting) {
        if (exchange.message.silence !== undefined) this.#socket.setTimeout(0);
        this.#on.free();
      } else this.destroy(undefined);
      exchange.resolve(reply);
    } catch (error) {
      this.destroy(error);
    }
  }

  #finish(): Exchange | undefined {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.message.signal.removeEventListener("abort", exchange.abort);
    return exchange;
  }
}

/** The event after which it is known who the server is. */
function connected(socket: net.Socket): string {
  return socket instanceof tls.TLSSocket ? "secureConnect" : "connect";
}

function connect({ secure, host, port }: Endpoint, transport: Transport): net.Socket {
  const options = { host, port, noDelay: true, keepAlive: true };
  if (!secure) return net.connect(options);
  const servername = net.isIP(host) === 0 ? host : undefined;
  return tls.connect({ ...options, servername, ALPNProtocols: ["http/1.1"], ...transport });
}
