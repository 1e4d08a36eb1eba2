import { Buffer } from "node:buffer";
import type { Session, Stream, StreamHearer } from "./http2.ts";
import { EtcdError } from "./status.ts";

/** Who hears an exchange. */
export interface Hearer {
  /** A message has come. */
  message(message: Buffer): void;
  /** It is over: well, or with an error. Called once, and nothing after it. */
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
  #over = false;

  /** `head`: the request's headers, encoded. */
  constructor(session: Session, head: Buffer, hearer: Hearer) {
    this.#hearer = hearer;
    this.#stream = session.open(head, this);
  }

  /** Sends a message. `last`: and none after it. */
  send(message: Buffer, last = false): void {
    const bytes = Buffer.allocUnsafe(5 + message.length);
    bytes[0] = 0; // not compressed
    bytes.writeUInt32BE(message.length, 1);
    message.copy(bytes, 5);
    this.#stream.send(bytes, last);
  }

  /** Ends it from here, if it is not over. */
  end(error?: EtcdError): void {
    if (this.#over) return;
    this.#over = true;
    this.#stream.close();
    this.#hearer.over(error);
  }

  /** The status is in the trailers; or in the headers, where there is nothing else, or not gRPC. */
  headers(fields: ReadonlyMap<string, string>): void {
    const http = fields.get(":status");
    const code = fields.get("grpc-status");
    if (code !== undefined) {
      const message = readable(fields.get("grpc-message") ?? `status ${code}`);
      this.#status = { error: code === "0" ? undefined : new EtcdError(Number(code), message) };
    } else if (http !== undefined && !/^(1..|200)$/.test(http)) {
      this.end(EtcdError.unavailable(`HTTP status ${http} instead of an answer`));
    }
  }

  data(chunk: Buffer): void {
    this.#parts.push(chunk);
    this.#length += chunk.length;
    if (this.#length < this.#wanted) return;
    let bytes = this.#parts.length === 1 ? chunk : Buffer.concat(this.#parts);
    this.#wanted = 5;
    while (!this.#over && bytes.length >= 5) {
      const end = 5 + bytes.readUInt32BE(1);
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
    if (this.#status === undefined) this.broken("it ended early");
    else this.end(this.#status.error);
  }

  broken(why: string): void {
    this.end(EtcdError.unavailable(`the call was cut off: ${why}`));
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
