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

/** Bytes that a body may have where the request names no bound: ten thousand entries of 12 KiB each. */
const LARGEST = 128 * 1024 * 1024;

/** What a piece of a body costs beside its bytes: many tiny ones must not fill the memory either. */
const PIECE = 64;

/** The body of a reply as its pieces come, and no more of them than it may have. */
export class Body {
  readonly #largest: number;
  readonly #pieces: Buffer[] = [];
  /** Bytes so far, with what the pieces cost. */
  #size = 0;

  constructor(largest: number = LARGEST) {
    this.#largest = largest;
  }

  /** @throws {Error} If a piece of this size would be too much by itself. */
  check(size: number): void {
    if (size > this.#largest) throw new Error(`the reply has more than ${this.#largest} bytes`);
  }

  /** @throws {Error} If it is too much. */
  add(piece: Buffer): void {
    this.check(this.#size + piece.length);
    this.#size += piece.length + PIECE;
    if (piece.length > 0) this.#pieces.push(piece);
  }

  text(): string {
    const [first] = this.#pieces;
    return this.#pieces.length > 1 ? Buffer.concat(this.#pieces).toString() : first?.toString() ?? "";
  }
}

/** The reply with this body. `field` gives the fields of its head, by their names in lower case. */
export function replyOf(status: number, field: (name: string) => string | undefined, body: Body): Reply {
  const retryAfter = milliseconds(field("retry-after"));
  return {
    status,
    index: indexOf(field("x-consul-index")),
    text: body.text(),
    ...(retryAfter !== undefined && { retryAfter }),
  };
}

/** The value of `X-Consul-Index`, as a number above 0; 0 if it is none. */
function indexOf(value: string | undefined): number {
  const index = /^\d+$/.test(value ?? "") ? Number(value) : 0;
  return Number.isSafeInteger(index) ? index : 0;
}

/** The value of `Retry-After`: seconds, or a date. */
function milliseconds(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}
