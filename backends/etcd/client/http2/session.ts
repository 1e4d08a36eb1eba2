import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import {
  content,
  FLAG,
  type Frame,
  frame,
  FrameReader,
  LARGEST,
  numberFrame,
  SETTING,
  settingsFrame,
  TYPE,
} from "./frames.ts";
import { decode, encode, NO_TABLE } from "./hpack.ts";

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** Bytes that the other side may send before we have to ask for more, where nothing has been agreed. */
const WINDOW = 65_535;

/** The same, as we ask for it. More is asked for when half of it has come. */
const ROOM = 2 ** 24;

/** Header blocks that are not read again. */
const REMEMBERED = 16;

/** Why a stream is reset: the answer is not wanted any more. */
const CANCEL = 8;

/** Why a server resets a stream at which it has not looked (section 8.7). */
const REFUSED = 7;

/** Bytes of headers in one block; gRPC's are a few hundred. */
const LARGEST_BLOCK = 65_536;

/** Bytes that may wait for a server that does not read: more than all requests under way together. */
const LARGEST_BACKLOG = 2 ** 24;

/** The largest window there may be. */
const LARGEST_WINDOW = 2 ** 31 - 1;

/** Headers or trailers: names in lower case. */
export type Fields = Readonly<Record<string, string>>;

/** Who hears a stream. Nothing is told after `ended` or `broken`. */
export interface StreamHearer {
  /** Headers, or trailers. */
  headers(fields: Fields): void;
  data(bytes: Buffer): void;
  /** The server has said all. */
  ended(): void;
  /** The server has ended it before that; `unsent`: without having looked at it. */
  broken(why: string, unsent: boolean): void;
}

/** Who hears of the connection. */
export interface Http2Hearer {
  /** The server has answered for the first time, and has said how many streams there may be at once. */
  greeted(streams: number): void;
  /** The server takes no new streams; those under way go on. */
  leaving(): void;
  /** The connection is over: told once, whatever goes wrong; then the session is to be destroyed. */
  failed(why: string, cause?: unknown): void;
}

/** One request and its reply. */
export class Stream {
  /** 0: the stream has not begun, since as many are open as the server allows. */
  id = 0;
  /** How many bytes the server has room for. */
  window = 0;
  /** How many have come since we last asked for more. */
  received = 0;
  /** What has to be sent yet. */
  readonly rest: Buffer[] = [];
  /** Nothing comes after the rest. */
  last = false;
  /** All has been sent. */
  sent = false;
  readonly headers: Fields;
  readonly hearer: StreamHearer;
  readonly #session: Http2Session;

  constructor(session: Http2Session, headers: Fields, hearer: StreamHearer) {
    this.#session = session;
    this.headers = headers;
    this.hearer = hearer;
  }

  /** `last`: and nothing after it. */
  send(bytes: Buffer, last: boolean): void {
    this.rest.push(bytes);
    this.last = last;
    this.#session.push(this);
  }

  /** Ends the stream from here, if it is open. */
  close(): void {
    this.#session.drop(this);
  }
}

/**
 * HTTP/2 as a client of gRPC needs it: many streams over one connection, with flow control both ways.
 *
 * `node:http2` would do behind the same methods on Node 24, Deno 2.8 and Bun 1.4. On Deno 2.7.1 its
 * client reads nothing from a server without TLS (denoland/deno#32733), on 2.7.14 the answer to a ping is
 * never told; on Bun 1.3 it sends more requests than the server allows at once, and they are refused. A
 * write and a delete through it take 1.2 times as long on Node and Bun, 1.3 times on Deno.
 */
export class Http2Session {
  readonly #socket: Socket;
  readonly #hearer: Http2Hearer;
  readonly #reader = new FrameReader();
  readonly #streams = new Map<number, Stream>();
  /** Those that wait until there may be more at once. */
  readonly #waiting = new Set<Stream>();
  /** Those that wait for room. */
  readonly #blocked = new Set<Stream>();
  readonly #pings: (() => void)[] = [];
  #next = 1;
  #connected = false;
  /** The server has said what it agrees to. */
  #greeted = false;
  /** How many streams there may be at once: until the server has said, more might be refused. */
  #most = 1;
  #window = WINDOW;
  #streamWindow = WINDOW;
  #largest = LARGEST;
  #received = 0;
  /** What is sent at the end of this turn, in one go. */
  #out: Buffer[] = [];
  /** Of a header block that is not complete. */
  #block: { readonly first: Frame; readonly parts: Buffer[]; size: number } | undefined;
  /** Header blocks that have come: mostly the same ones again. */
  readonly #read = new Map<string, Fields>();
  /** The server takes no new streams. */
  #leaving = false;
  #over = false;

  constructor(socket: Socket, hearer: Http2Hearer) {
    this.#socket = socket;
    this.#hearer = hearer;
    socket.on("data", (bytes: Buffer) => this.#hear(bytes));
    socket.on(
      "error",
      (error: Error & { code?: string }) => this.#fail(error.message || `${error.code}`, error),
    );
    socket.on("end", () => this.#fail("the server has closed it"));
    socket.on("close", () => this.#fail("it was closed"));
    socket.once(socket instanceof TLSSocket ? "secureConnect" : "connect", () => {
      this.#connected = true;
      this.#flush();
    });
    this.#write(PREFACE);
    this.#write(settingsFrame([[SETTING.table, 0], [SETTING.push, 0], [SETTING.window, ROOM]]));
    this.#write(numberFrame(TYPE.window, 0, ROOM - WINDOW));
  }

  /** Begins a stream with these headers. */
  open(headers: Fields, hearer: StreamHearer): Stream {
    const stream = new Stream(this, headers, hearer);
    if (this.#leaving) queueMicrotask(() => hearer.broken("the server is going away", true));
    else if (this.#streams.size < this.#most && this.#waiting.size === 0) this.#begin(stream);
    else this.#waiting.add(stream);
    return stream;
  }

  /** Calls back when the server has answered. */
  ping(heard: () => void): void {
    this.#pings.push(heard);
    this.#write(frame(TYPE.ping, 0, 0, Buffer.alloc(8)));
  }

  /** Ends the connection. No hearer is told anything any more. */
  destroy(): void {
    this.#over = true;
    this.#streams.clear();
    this.#waiting.clear();
    this.#blocked.clear();
    this.#socket.destroy();
  }

  /** Sends of a stream's rest what there is room for. For {@linkcode Stream}. */
  push(stream: Stream): void {
    if (stream.id === 0 || stream.sent) return;
    const { rest } = stream;
    while (rest.length > 0) {
      const bytes = rest[0]!;
      const room = Math.min(this.#window, stream.window, this.#largest);
      if (room < Math.min(bytes.length, 1)) return void this.#blocked.add(stream);
      const part = bytes.subarray(0, room);
      if (part.length < bytes.length) rest[0] = bytes.subarray(room);
      else rest.shift();
      this.#window -= part.length;
      stream.window -= part.length;
      stream.sent = stream.last && rest.length === 0;
      this.#write(frame(TYPE.data, stream.sent ? FLAG.endStream : 0, stream.id, part));
    }
    this.#blocked.delete(stream);
  }

  /** Forgets a stream that is not over. For {@linkcode Stream}. */
  drop(stream: Stream): void {
    if (this.#waiting.delete(stream) || !this.#remove(stream)) return;
    this.#write(numberFrame(TYPE.reset, stream.id, CANCEL));
  }

  #begin(stream: Stream): void {
    stream.id = this.#next;
    this.#next += 2;
    if (stream.id > 2 ** 31 - 1) return this.#fail("it has no more numbers for streams");
    stream.window = this.#streamWindow;
    this.#streams.set(stream.id, stream);
    this.#write(
      frame(TYPE.headers, FLAG.endHeaders, stream.id, Buffer.concat([NO_TABLE, encode(stream.headers)])),
    );
    this.push(stream);
  }

  /** Forgets a stream; whether it was open. */
  #remove(stream: Stream): boolean {
    this.#blocked.delete(stream);
    if (!this.#streams.delete(stream.id)) return false;
    this.#admit();
    return true;
  }

  #admit(): void {
    for (const next of this.#waiting) {
      if (this.#streams.size >= this.#most) break;
      this.#waiting.delete(next);
      this.#begin(next);
    }
  }

  #write(bytes: Buffer): void {
    if (this.#over) return;
    if (this.#out.push(bytes) === 1 && this.#connected) queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const out = this.#out;
    if (out.length === 0 || this.#over) return;
    this.#out = [];
    if (this.#socket.writableLength > LARGEST_BACKLOG) return this.#fail("it does not read what it is sent");
    this.#socket.write(out.length === 1 ? out[0]! : Buffer.concat(out));
  }

  #fail(why: string, cause?: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#hearer.failed(why, cause);
  }

  #hear(bytes: Buffer): void {
    try {
      for (const said of this.#reader.read(bytes)) {
        if (this.#over) return;
        this.#take(said);
      }
    } catch (error) {
      this.#fail((error as Error).message, error);
    }
  }

  #take(said: Frame): void {
    const { type, flags, stream: id, payload } = said;
    if (!this.#greeted && type !== TYPE.settings) throw new Error("what comes is not HTTP/2");
    if (this.#block !== undefined && (type !== TYPE.continuation || id !== this.#block.first.stream)) {
      throw new Error("the server's headers are interrupted");
    }
    const stream = this.#streams.get(id);
    switch (type) {
      case TYPE.data:
        return this.#data(said, stream);
      case TYPE.headers:
        this.#block = { first: said, parts: [], size: 0 };
        return this.#headers(flags, stream, content(said));
      case TYPE.continuation:
        if (this.#block === undefined) throw new Error("the server's headers go on that have not begun");
        return this.#headers(flags, stream, payload);
      case TYPE.reset: {
        if (stream === undefined) return;
        this.#remove(stream);
        const why = payload.readUInt32BE(0);
        return stream.hearer.broken(`the server has ended the call (${why})`, why === REFUSED);
      }
      case TYPE.settings:
        return this.#agree(said);
      case TYPE.promise:
        throw new Error("the server answers what nobody has asked");
      case TYPE.ping:
        if ((flags & FLAG.ack) !== 0) this.#pings.shift()?.();
        else this.#write(frame(TYPE.ping, FLAG.ack, 0, payload));
        return;
      case TYPE.goaway:
        return this.#goodbye(payload.readUInt32BE(0) % 2 ** 31);
      case TYPE.window: {
        const more = payload.readUInt32BE(0) % 2 ** 31;
        if (id === 0) this.#window += more;
        else if (stream !== undefined) stream.window += more;
        if (Math.max(this.#window, stream?.window ?? 0) > LARGEST_WINDOW) {
          throw new Error("the server has more room than there can be");
        }
        return this.#unblock();
      }
    }
  }

  #data(said: Frame, stream: Stream | undefined): void {
    const { length } = said.payload;
    this.#received += length;
    if (this.#received > ROOM / 2) {
      this.#write(numberFrame(TYPE.window, 0, this.#received));
      this.#received = 0;
    }
    if (stream === undefined) return; // one that was given up
    stream.received += length;
    if (stream.received > ROOM / 2) {
      this.#write(numberFrame(TYPE.window, stream.id, stream.received));
      stream.received = 0;
    }
    stream.hearer.data(content(said));
    if ((said.flags & FLAG.endStream) !== 0) this.#end(stream);
  }

  #headers(flags: number, stream: Stream | undefined, part: Buffer): void {
    const block = this.#block!;
    block.size += part.length + 1; // an empty part counts too: there must not be any number of them
    if (block.size > LARGEST_BLOCK) throw new Error("the server's headers are longer than is allowed");
    block.parts.push(part);
    if ((flags & FLAG.endHeaders) === 0) return;
    const { first, parts } = block;
    this.#block = undefined;
    if (stream === undefined) return;
    stream.hearer.headers(this.#fields(parts.length === 1 ? parts[0]! : Buffer.concat(parts)));
    if ((first.flags & FLAG.endStream) !== 0) this.#end(stream);
  }

  #fields(block: Buffer): Fields {
    const text = block.toString("latin1");
    let fields = this.#read.get(text);
    if (fields === undefined) {
      fields = decode(block);
      if (this.#read.size >= REMEMBERED) this.#read.clear();
      this.#read.set(text, fields);
    }
    return fields;
  }

  /** The server has ended the stream; so have we, if all has been sent. */
  #end(stream: Stream): void {
    if (!this.#streams.has(stream.id)) return; // closed by the hearer of its last bytes
    if (stream.sent) this.#remove(stream);
    else this.drop(stream);
    stream.hearer.ended();
  }

  /** Streams after the last at which it has looked are nothing to it, and may be asked for elsewhere. */
  #goodbye(last: number): void {
    const refused = [...this.#waiting, ...this.#streams.values().filter(({ id }) => id > last)];
    this.#waiting.clear();
    for (const { id } of refused) this.#streams.delete(id);
    const first = !this.#leaving;
    this.#leaving = true;
    for (const stream of refused) {
      this.#blocked.delete(stream);
      stream.hearer.broken("the server is going away", true);
    }
    if (first) this.#hearer.leaving();
  }

  #agree({ flags, payload }: Frame): void {
    if ((flags & FLAG.ack) !== 0) return;
    const first = !this.#greeted;
    if (first) this.#most = Infinity;
    this.#greeted = true;
    for (let at = 0; at + 6 <= payload.length; at += 6) {
      const value = payload.readUInt32BE(at + 2);
      switch (payload.readUInt16BE(at)) {
        case SETTING.streams:
          this.#most = value;
          break;
        case SETTING.frame:
          this.#largest = value;
          break;
        case SETTING.window:
          if (value > LARGEST_WINDOW) throw new Error("the server has more room than there can be");
          for (const stream of this.#streams.values()) stream.window += value - this.#streamWindow;
          this.#streamWindow = value;
      }
    }
    this.#write(frame(TYPE.settings, FLAG.ack, 0, Buffer.alloc(0)));
    if (first) this.#hearer.greeted(this.#most);
    this.#admit();
    this.#unblock();
  }

  #unblock(): void {
    for (const stream of [...this.#blocked]) this.push(stream);
  }
}
