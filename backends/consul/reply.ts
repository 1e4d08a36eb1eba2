import { Buffer } from "node:buffer";

/** What the agent said. */
export interface Reply {
  readonly status: number;
  readonly text: string;
  /** `X-Consul-Index`: what a blocking query goes on from. */
  readonly index: number;
}

/** The head of a reply, as far as it matters. */
interface Head {
  readonly status: number;
  readonly index: number;
  /** How the body ends: after so many bytes, with a last chunk, or with the connection. */
  readonly body: number | "chunked" | "close";
  /** Whether another reply may follow on the connection. */
  readonly lasting: boolean;
}

/** Bytes that a head, or the line before a chunk, may have. */
const LONGEST = 65_536;

const EMPTY = Buffer.alloc(0);

/** Reads a reply of HTTP/1.1 as its bytes come. */
export class ReplyReader {
  #head: Head | undefined;
  readonly #body: Buffer[] = [];
  #unread: Buffer = EMPTY;
  /** Bytes of the body, or of its chunk, that have not come. */
  #missing = 0;
  /** What comes next of a body in chunks. */
  #next: "size" | "data" | "gap" | "trailer" = "size";

  /** Whether the connection can be used again, after the reply. */
  get lasting(): boolean {
    return this.#head?.lasting === true && this.#unread.length === 0;
  }

  /**
   * The reply, if these were the last bytes of it.
   *
   * @throws {Error} If this is not HTTP.
   */
  read(bytes: Buffer): Reply | undefined {
    this.#unread = this.#unread.length === 0 ? bytes : Buffer.concat([this.#unread, bytes]);
    while (this.#head === undefined) {
      const head = this.#until("\r\n\r\n");
      if (head === undefined) return undefined;
      const parsed = parse(head);
      if (parsed.status >= 200) this.#head = parsed; // before that, it is an interim one
      if (typeof parsed.body === "number") this.#missing = parsed.body;
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
    this.#body.push(part);
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
      if (this.#next === "gap") this.#next = "size";
      else if (this.#next === "size") {
        const size = /^[0-9a-f]{1,8}(?=\s*(;|$))/i.exec(line)?.[0];
        if (size === undefined) throw new Error("the reply is not HTTP");
        this.#missing = parseInt(size, 16);
        this.#next = this.#missing === 0 ? "trailer" : "data";
      } else if (line === "") return true;
    }
  }

  /** Takes what comes before a mark, and the mark, if all of it has come. */
  #until(mark: string): string | undefined {
    const end = this.#unread.indexOf(mark);
    if ((end < 0 ? this.#unread.length : end) > LONGEST) throw new Error("the reply is not HTTP");
    if (end < 0) return undefined;
    const text = this.#unread.toString("latin1", 0, end);
    this.#unread = this.#unread.subarray(end + mark.length);
    return text;
  }

  #reply({ status, index }: Head): Reply {
    const [first = EMPTY] = this.#body;
    const body = this.#body.length === 1 ? first : Buffer.concat(this.#body);
    return { status, index, text: body.toString() };
  }
}

function parse(head: string): Head {
  const [, minor, status] = /^HTTP\/1\.([01]) ([1-5]\d\d)(?=[ \r]|$)/.exec(head) ?? [];
  if (status === undefined) throw new Error("the reply is not HTTP");
  const length = /^content-length:[ \t]*(\d+)[ \t]*\r?$/im.exec(head)?.[1];
  const chunked = /^transfer-encoding:[ \t]*chunked[ \t]*\r?$/im.test(head);
  const body = status === "204" || status === "304"
    ? 0
    : chunked
    ? "chunked"
    : length === undefined
    ? "close"
    : Number(length);
  return {
    status: Number(status),
    index: Number(/^x-consul-index:[ \t]*(\d+)/im.exec(head)?.[1] ?? 0),
    body,
    lasting: minor === "1" && body !== "close" && !/^connection:.*\bclose\b/im.test(head),
  };
}
