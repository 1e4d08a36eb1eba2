import { Buffer } from "node:buffer";

/** What the agent said. */
export interface Reply {
  readonly status: number;
  readonly text: string;
  /** `X-Consul-Index`: what a blocking query goes on from. 0 if there is none. */
  readonly index: number;
  /** `Retry-After`, in milliseconds. */
  readonly retryAfter?: number;
}

/** The head of a reply, as far as it matters. */
interface Head extends Omit<Reply, "text"> {
  /** How the body ends: after so many bytes, with a last chunk, or with the connection. */
  readonly body: number | "chunked" | "close";
  /** Whether another reply may follow on the connection. */
  readonly lasting: boolean;
}

/** Bytes that a reply may have beside its body: heads, the lines before a chunk, trailers. */
const LONGEST = 65_536;

/** Bytes that the body of a reply may have: ten thousand claims with all the metadata that they may have. */
export const LARGEST = 128 * 1024 * 1024;

/** What a piece of a body costs beside its bytes: many tiny ones must not fill the memory either. */
const PIECE = 64;

const EMPTY = Buffer.alloc(0);

/** Reads a reply of HTTP/1.1 as its bytes come, and keeps no more of them than it may have. */
export class ReplyReader {
  #head: Head | undefined;
  readonly #largest: number;
  readonly #body: Buffer[] = [];
  /** Bytes of the body, with what its pieces cost. */
  #size = 0;
  #unread: Buffer = EMPTY;
  /** Bytes so far that are not of the body. */
  #beside = 0;
  /** Bytes of the body, or of its chunk, that have not come. */
  #missing = 0;
  /** What comes next of a body in chunks. */
  #next: "size" | "data" | "gap" | "trailer" = "size";

  constructor(largest = LARGEST) {
    this.#largest = largest;
  }

  /** Whether the connection can be used again, after the reply. */
  get lasting(): boolean {
    return this.#head?.lasting === true && this.#unread.length === 0;
  }

  /**
   * The reply, if these were the last bytes of it.
   *
   * @throws {Error} If this is not HTTP, or too much.
   */
  read(bytes: Buffer): Reply | undefined {
    this.#unread = this.#unread.length === 0 ? bytes : Buffer.concat([this.#unread, bytes]);
    // An alert or a handshake of TLS.
    const [type = 0, major] = this.#unread;
    if (this.#head === undefined && (type === 0x15 || type === 0x16) && major === 3) {
      throw new Error("the reply is TLS, not HTTP");
    }
    while (this.#head === undefined) {
      const head = this.#until("\r\n\r\n");
      if (head === undefined) return undefined;
      this.#beside += head.length + 4;
      const parsed = parse(head);
      if (parsed.status === 101) throw notHttp(); // nobody has asked for another protocol
      if (parsed.status < 200) continue; // an interim one
      this.#head = parsed;
      if (typeof parsed.body === "number") this.#missing = parsed.body;
      if (this.#missing > this.#largest) throw this.#tooLarge();
    }
    const whole = this.#head.body === "chunked"
      ? this.#chunks()
      : this.#take() && this.#head.body !== "close";
    return whole ? this.#reply(this.#head) : undefined;
  }

  /** The connection has ended; the reply, if that is how it ends. */
  end(): Reply | undefined {
    return this.#head?.body === "close" ? this.#reply(this.#head) : undefined;
  }

  /** Moves what has come of the body, or of the chunk. Whether that is all of it. */
  #take(): boolean {
    const size = this.#head!.body === "close" ? this.#unread.length : this.#missing;
    const part = this.#unread.subarray(0, size);
    if (part.length > 0) this.#body.push(part);
    this.#size += part.length + PIECE;
    if (this.#size > this.#largest + PIECE) throw this.#tooLarge();
    this.#unread = this.#unread.subarray(part.length);
    this.#missing -= part.length;
    return this.#missing <= 0;
  }

  /** Whether the last chunk has come, and what follows it. */
  #chunks(): boolean {
    for (;;) {
      if (this.#next === "data") {
        if (!this.#take()) return false;
        this.#next = "gap";
      }
      const line = this.#until("\r\n");
      if (line === undefined) return false;
      if (this.#next === "gap") {
        if (line !== "") throw notHttp();
        this.#next = "size";
      } else if (this.#next === "size") {
        const [, size, more = ""] = /^([0-9a-f]{1,8})[ \t]*(;.*)?$/i.exec(line) ?? [];
        if (size === undefined) throw notHttp();
        this.#beside += more.length;
        this.#missing = parseInt(size, 16);
        if (this.#missing > this.#largest) throw this.#tooLarge();
        this.#next = this.#missing === 0 ? "trailer" : "data";
      } else if (line === "") return true;
      else this.#beside += line.length + 2;
    }
  }

  /** Takes what comes before a mark, and the mark, if all of it has come. */
  #until(mark: string): string | undefined {
    const end = this.#unread.indexOf(mark);
    if (this.#beside + (end < 0 ? this.#unread.length : end) > LONGEST) throw notHttp();
    if (end < 0) return undefined;
    const text = this.#unread.toString("latin1", 0, end);
    this.#unread = this.#unread.subarray(end + mark.length);
    return text;
  }

  #reply({ status, index, retryAfter }: Head): Reply {
    const [first = EMPTY] = this.#body;
    const body = this.#body.length <= 1 ? first : Buffer.concat(this.#body);
    return { status, index, text: body.toString(), ...(retryAfter !== undefined && { retryAfter }) };
  }

  #tooLarge(): Error {
    return new Error(`the reply has more than ${this.#largest} bytes`);
  }
}

function notHttp(): Error {
  return new Error("the reply is not HTTP");
}

function parse(head: string): Head {
  const [first = "", ...lines] = head.split("\r\n");
  const [, minor, status] = /^HTTP\/1\.([01]) ([1-5]\d\d)(?= |$)/.exec(first) ?? [];
  if (status === undefined) throw notHttp();
  const fields = new Map<string, string>();
  for (const line of lines) {
    const [, name, value = ""] = /^([^\s:]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
    if (name === undefined) throw notHttp();
    const field = name.toLowerCase();
    const before = fields.get(field);
    fields.set(field, before === undefined ? value : `${before},${value}`);
  }
  const body = status === "204" || status === "304"
    ? 0
    : bodyOf(fields.get("content-length"), fields.get("transfer-encoding"));
  const retryAfter = milliseconds(fields.get("retry-after"));
  return {
    status: Number(status),
    index: indexOf(fields.get("x-consul-index")),
    ...(retryAfter !== undefined && { retryAfter }),
    body,
    lasting: minor === "1" && body !== "close" && !/\bclose\b/i.test(fields.get("connection") ?? ""),
  };
}

/** A reply whose length can be read in two ways, or in none, may be read in another way by others. */
function bodyOf(length: string | undefined, encoding: string | undefined): Head["body"] {
  if (encoding !== undefined) {
    if (length !== undefined || encoding.toLowerCase() !== "chunked") throw notHttp();
    return "chunked";
  }
  if (length === undefined) return "close";
  if (!/^\d{1,15}$/.test(length)) throw notHttp();
  return Number(length);
}

/** The value of `X-Consul-Index`, as a number above 0; 0 if it is none. */
export function indexOf(value: string | undefined): number {
  const index = /^\d+$/.test(value ?? "") ? Number(value) : 0;
  return Number.isSafeInteger(index) ? index : 0;
}

/** The value of `Retry-After`: seconds, or a date. */
export function milliseconds(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}
