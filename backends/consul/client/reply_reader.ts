import { Buffer } from "node:buffer";
import { Body, type Reply, replyOf } from "./reply.ts";

/** The head of a reply. */
interface Head {
  readonly status: number;
  /** By their names in lower case. */
  readonly fields: ReadonlyMap<string, string>;
  /** How the body ends: after so many bytes, with a last chunk, or with the connection. */
  readonly end: number | "chunked" | "close";
  /** Whether another reply may follow on the connection. */
  readonly lasting: boolean;
}

/** Bytes that a reply may have beside its body: all heads, interim ones too, extensions of chunks, trailers. */
const BESIDE = 65_536;

const EMPTY = Buffer.alloc(0);

/** Reads one reply of HTTP/1.1 as its bytes come, and keeps no more of them than it may have. */
export class ReplyReader {
  readonly #body: Body;
  #head: Head | undefined;
  #unread: Buffer = EMPTY;
  /** Bytes so far that are not of the body. */
  #beside = 0;
  /** Bytes of the body, or of its chunk, that have not come. */
  #missing = 0;
  /** What comes next of a body in chunks. */
  #next: "size" | "data" | "gap" | "trailer" = "size";

  /** `largest`: bytes that the body may have. */
  constructor(largest?: number) {
    this.#body = new Body(largest);
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
    const head = this.#head ?? this.#readHead();
    if (head === undefined) return undefined;
    const whole = head.end === "chunked" ? this.#readChunks() : this.#readBody(head.end);
    return whole ? this.#reply(head) : undefined;
  }

  /** The connection has ended: the reply, if that is how it ends. */
  end(): Reply | undefined {
    return this.#head?.end === "close" ? this.#reply(this.#head) : undefined;
  }

  #readHead(): Head | undefined {
    const [type = 0, major] = this.#unread;
    if ((type === 0x15 || type === 0x16) && major === 3) { // an alert or a handshake
      throw new Error("the reply is TLS, not HTTP");
    }
    for (;;) {
      const text = this.#until("\r\n\r\n");
      if (text === undefined) return undefined;
      this.#beside += text.length + 4;
      const head = parse(text);
      if (head.status === 101) throw notHttp(); // no request asks for another protocol
      if (head.status < 200) continue; // an interim one
      if (typeof head.end === "number") this.#expect(head.end);
      return this.#head = head;
    }
  }

  /** Whether the body is whole. */
  #readBody(end: number | "close"): boolean {
    if (end === "close") this.#missing = this.#unread.length;
    return this.#take() && end !== "close";
  }

  /** Whether the last chunk has come, and what follows it. */
  #readChunks(): boolean {
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
        this.#expect(parseInt(size, 16));
        this.#next = this.#missing === 0 ? "trailer" : "data";
      } else if (line === "") return true;
      else this.#beside += line.length + 2;
    }
  }

  /** So many bytes come next, of the body or of a chunk. */
  #expect(size: number): void {
    this.#body.check(size);
    this.#missing = size;
  }

  /** Moves what has come of these bytes into the body. Whether that is all of them. */
  #take(): boolean {
    const piece = this.#unread.subarray(0, this.#missing);
    this.#body.add(piece);
    this.#unread = this.#unread.subarray(piece.length);
    this.#missing -= piece.length;
    return this.#missing === 0;
  }

  /** Takes what comes before a mark, and the mark, if all of it has come. */
  #until(mark: string): string | undefined {
    const end = this.#unread.indexOf(mark);
    if (this.#beside + (end < 0 ? this.#unread.length : end) > BESIDE) throw notHttp();
    if (end < 0) return undefined;
    const text = this.#unread.toString("latin1", 0, end);
    this.#unread = this.#unread.subarray(end + mark.length);
    return text;
  }

  #reply({ status, fields }: Head): Reply {
    return replyOf(status, (name) => fields.get(name), this.#body);
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
  const end = status === "204" || status === "304"
    ? 0
    : endOf(fields.get("content-length"), fields.get("transfer-encoding"));
  const lasting = minor === "1" && end !== "close" && !/\bclose\b/i.test(fields.get("connection") ?? "");
  return { status: Number(status), fields, end, lasting };
}

/** A body whose end can be read in two ways, or in none, may be read in another way by a proxy. */
function endOf(length: string | undefined, encoding: string | undefined): Head["end"] {
  if (encoding !== undefined) {
    if (length !== undefined || encoding.toLowerCase() !== "chunked") throw notHttp();
    return "chunked";
  }
  if (length === undefined) return "close";
  if (!/^\d{1,15}$/.test(length)) throw notHttp();
  return Number(length);
}
