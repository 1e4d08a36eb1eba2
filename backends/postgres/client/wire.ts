import { Buffer } from "node:buffer";
import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { refused } from "../../shared/errors.ts";
import { noPostgres } from "./socket.ts";

/** A socket, or what a user's function gives for one. */
type Stream = Duplex & Partial<Pick<Socket, "readyState" | "destroySoon">>;

/** What a server may say until it is ready, by the first byte of each message. */
const [AUTHENTICATION, KEY, ERROR, NOTICE, STATUS, NEGOTIATION, READY] = [..."RKENSvZ"].map((letter) =>
  letter.charCodeAt(0)
);
const GREETINGS = [AUTHENTICATION, KEY, ERROR, NOTICE, STATUS, NEGOTIATION, READY];

/** Kinds of `AUTHENTICATION`. */
const [OK, CLEARTEXT, MD5, SASL, SASL_CONTINUE, SASL_FINAL] = [0, 3, 5, 10, 11, 12];

/** Bytes, of one message and of all of them, until the server is ready. */
const [MESSAGE, ALL] = [65_536, 1_048_576];

/** How often a server may have a password hashed, which blocks this process. Usual are 4096 times. */
const HASHES = 1_000_000;

/** What tells the server that the connection ends. */
const TERMINATE = Uint8Array.of(88, 0, 0, 0, 4);

/**
 * What the package `postgres` takes for its socket. Until the server is ready each message is looked at, because the
 * package believes what it reads: it waits for a gigabyte that a web server's answer seems to announce, ends the
 * process over an exchange of passwords that cannot be read, and takes a server for the right one that has skipped
 * the proof that it knows the password.
 */
export class Wire extends EventEmitter {
  readonly #socket: Stream;
  readonly #hasPassword: boolean;
  /** What has come of a message that is not complete yet; `undefined` once the server is ready. */
  #rest: Buffer | undefined = Buffer.alloc(0);
  #read = 0;
  /** Whether the server still has to prove that it knows the password. */
  #unproven = false;
  #nonce = "";
  /** What the server has said last. */
  #last: Buffer | undefined;
  /** Why the connection has ended, as far as is known. */
  error: Error | undefined;
  /** The number of the server process. */
  pid: number | undefined;

  constructor(socket: Stream, hasPassword: boolean) {
    super();
    this.#socket = socket;
    this.#hasPassword = hasPassword;
    socket.on("data", (chunk: Buffer) => this.#hear(chunk));
    socket.on("drain", () => this.emit("drain"));
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => {
      this.error ??= farewell(this.#last);
      this.emit("close", this.error !== undefined);
    });
  }

  /** Whether it has ended, maybe before the package has listened. */
  get isOver(): boolean {
    return this.error !== undefined || this.#socket.destroyed;
  }

  get readyState(): string {
    return this.#socket.readyState ?? (this.#socket.destroyed ? "closed" : "open");
  }

  write(chunk: Uint8Array, done?: () => void): boolean {
    if (this.#rest) this.#nonce ||= /r=([^,]*)$/.exec(latin1(chunk))?.[1] ?? "";
    return this.#socket.write(chunk, done);
  }

  end(chunk?: Uint8Array): void {
    if (chunk) this.#socket.write(chunk);
    if (this.#socket.destroySoon) this.#socket.destroySoon();
    else this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  setKeepAlive(): void {}

  /** Says goodbye if that is possible at once. */
  hangUp(): void {
    if (this.readyState === "open") this.end(TERMINATE);
    else this.destroy();
  }

  #fail(error: Error): void {
    this.error ??= error;
    if (this.listenerCount("error") > 0) this.emit("error", error);
  }

  #hear(chunk: Buffer): void {
    if (!this.#rest) {
      this.#last = chunk;
      return void this.emit("data", chunk);
    }
    if (this.error) return;
    let left = Buffer.concat([this.#rest, chunk]);
    this.#read += chunk.length;
    try {
      while (this.#rest) {
        const length = left.length > 0 ? this.#checkHead(left) : Infinity;
        if (left.length < length) {
          this.#rest = left;
          return;
        }
        const message = left.subarray(0, length);
        left = left.subarray(length);
        this.#check(message);
        this.emit("data", message);
      }
    } catch (error) {
      this.#fail(error as Error);
      this.destroy();
      return;
    }
    if (left.length > 0) this.emit("data", left);
  }

  /** How long a message is; Infinity if too little of it is there. */
  #checkHead(message: Buffer): number {
    const length = message.length < 5 ? undefined : message.readUInt32BE(1);
    const isKnown = GREETINGS.includes(message[0]!) &&
      (length === undefined || length >= 4 && length <= MESSAGE);
    if (!isKnown || this.#read > ALL) {
      throw noPostgres();
    }
    return length === undefined ? Infinity : length + 1;
  }

  #check(message: Buffer): void {
    switch (message[0]) {
      case AUTHENTICATION:
        return this.#checkLogin(message);
      case KEY:
        if (message.length >= 13) this.pid = message.readUInt32BE(5);
        return;
      case NEGOTIATION:
        throw new Error("the server speaks another version of the protocol of Postgres");
      case READY:
        this.#rest = undefined;
    }
  }

  #checkLogin(message: Buffer): void {
    const kind = message.length < 9 ? undefined : message.readUInt32BE(5);
    switch (kind) {
      case SASL:
        if (!message.toString("latin1", 9).split("\0").includes("SCRAM-SHA-256")) throw unknownLogin();
        this.#unproven = true;
        break;
      case SASL_CONTINUE:
        this.#checkSalt(message.toString("latin1", 9));
        break;
      case SASL_FINAL:
        this.#unproven = false; // the package compares the proof, and ends the connection if it is wrong
        return;
      case OK:
        if (this.#unproven) throw new Error("the server has not proved that it knows the password");
        return;
      case CLEARTEXT:
      case MD5:
        break;
      default:
        throw unknownLogin();
    }
    if (this.#hasPassword) return;
    throw refused("log in to Postgres", "the server asks for a password, and none was given", {
      hint: "give `password`",
      retryable: false,
    });
  }

  #checkSalt(text: string): void {
    const [, nonce, , times] = /^r=([!-+--~]+),s=([A-Za-z\d+/]+={0,2}),i=(\d{1,9})(?:,|$)/.exec(text) ?? [];
    if (!this.#unproven || this.#nonce === "" || !nonce?.startsWith(this.#nonce)) {
      throw new Error("the server's half of the login cannot be read");
    }
    if (!(Number(times) >= 1 && Number(times) <= HASHES)) {
      throw new Error(`the server wants the password to be hashed ${times} times, and ${HASHES} are allowed`);
    }
  }
}

/** Why the server has ended a connection, where that is the last that it has said. */
function farewell(chunk: Buffer | undefined): Error | undefined {
  const [, code, message] = /\0V(?:FATAL|PANIC)\0C(\w{5})\0M([^\0]*)\0/.exec(chunk?.toString() ?? "") ?? [];
  return code === undefined ? undefined : Object.assign(new Error(message), { code });
}

function unknownLogin(): Error {
  return refused("log in to Postgres", "the server asks for a kind of login that is not supported", {
    hint: "scram-sha-256, md5, password, cert and trust of pg_hba.conf are",
    retryable: false,
  });
}

function latin1(chunk: Uint8Array): string {
  return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString("latin1");
}
