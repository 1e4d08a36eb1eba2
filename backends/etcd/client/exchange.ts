import { Buffer } from "node:buffer";
import type { Fields, Http2Session, Stream, StreamHearer } from "./http2/session.ts";
import { EtcdError } from "./errors.ts";

/**
 * Bytes of a message. The longest that etcd sends are the keys of a range or of a lease: at a hundred bytes each,
 * more than half a million.
 */
const LARGEST = 64 * 2 ** 20;

/** Pieces of a message: of the largest, 4 096 are enough. */
const MOST_PARTS = 100_000;

/** Letters of what a server says of an error. */
const LONGEST_TEXT = 1_000;

/** Who hears an exchange. */
export interface Hearer {
  /** A message has come. */
  message(message: Buffer): void;
  /** The exchange is over: well, or with an error. Called once, and nothing after it. */
  over(error?: EtcdError): void;
}

/** One call of gRPC on its HTTP/2 stream. */
export class Exchange implements StreamHearer {
  readonly #stream: Stream;
  readonly #hearer: Hearer;
  /** What has come of a message that is not complete, and how many bytes there have to be of it. */
  #parts: Buffer[] = [];
  #length = 0;
  #wanted = 5;
  /** What the server says that came of it. */
  #status: { readonly error: EtcdError | undefined } | undefined;
  /** The hearer has been told the end. */
  over = false;

  constructor(session: Http2Session, headers: Fields, hearer: Hearer) {
    this.#hearer = hearer;
    this.#stream = session.open(headers, this);
  }

  /** Sends a message. `last`: and none after it. */
  send(message: Buffer, last = false): void {
    const bytes = Buffer.allocUnsafe(5 + message.length);
    bytes[0] = 0; // not compressed
    bytes.writeUInt32BE(message.length, 1);
    message.copy(bytes, 5);
    this.#stream.send(bytes, last);
  }

  /** Nothing more will be sent. */
  finish(): void {
    this.#stream.send(Buffer.alloc(0), true);
  }

  /** Ends the exchange from here, if it is not over. */
  end(error?: EtcdError): void {
    if (this.over) return;
    this.over = true;
    this.#stream.close();
    this.#hearer.over(error);
  }

  /** The status is in the trailers; or in the headers, where there is nothing else, or not gRPC. */
  headers({ ":status": http, "grpc-status": code, "grpc-message": said }: Fields): void {
    if (code !== undefined) {
      const message = readable(said || `status ${code}`).slice(0, LONGEST_TEXT);
      this.#status = { error: code === "0" ? undefined : new EtcdError(Number(code), message) };
    } else if (http !== undefined && !/^(1..|200)$/.test(http)) {
      this.end(EtcdError.unavailable(`HTTP status ${http} instead of an answer`));
    }
  }

  data(chunk: Buffer): void {
    if (chunk.length === 0) return;
    if (this.#parts.push(chunk) > MOST_PARTS) {
      return this.end(EtcdError.unreadable("a message in too many pieces"));
    }
    this.#length += chunk.length;
    if (this.#length < this.#wanted) return;
    let bytes = this.#parts.length === 1 ? chunk : Buffer.concat(this.#parts);
    this.#wanted = 5;
    while (!this.over && bytes.length >= 5) {
      const length = bytes.readUInt32BE(1);
      if (bytes[0] !== 0 || length > LARGEST) {
        const why = bytes[0] !== 0 ? "is compressed, or none of gRPC" : `has ${length} bytes: too many`;
        return this.end(EtcdError.unreadable(`a message ${why}`));
      }
      const end = 5 + length;
      if (bytes.length < end) {
        this.#wanted = end;
        break;
      }
      this.#hearer.message(bytes.subarray(5, end));
      bytes = bytes.subarray(end);
    }
    this.#parts = bytes.length > 0 ? [bytes] : [];
    this.#length = bytes.length;
  }

  ended(): void {
    if (this.#status === undefined) this.broken("it ended early", false);
    else this.end(this.#status.error);
  }

  broken(why: string, unsent: boolean): void {
    this.end(
      unsent
        ? EtcdError.unreachable(`the call was not looked at: ${why}`)
        : EtcdError.unavailable(`the call was cut off: ${why}`),
    );
  }
}

/** gRPC escapes what is not ASCII, as URLs do. */
function readable(message: string): string {
  try {
    return decodeURIComponent(message);
  } catch {
    return message;
  }
}
