import { connect, type Socket } from "node:net";
import process from "node:process";

/**
 * Why waiting for the end of somebody's claim came to an end. "gone": its process says so. "dead": its
 * process is no more. "ended": the connection broke, which may or may not mean that. "unreachable":
 * nothing is known.
 */
export type Ending = "gone" | "dead" | "ended" | "unreachable";

/**
 * The error of connecting to the address of a process that has ended, and of nothing else. The socket
 * of a process that is merely stopped or busy still accepts, in the kernel; a removed socket file is
 * ENOENT. (On Windows a pipe vanishes with its process. On macOS a backlog of some 190 connections,
 * each from another process, that a stopped process has not accepted gives the same error.)
 */
const DEAD = process.platform === "win32" ? "ENOENT" : "ECONNREFUSED";

/** What becomes of a connection to a process that is just ending: worth another try at once. */
const BROKEN = ["ECONNRESET", "EPIPE"];

/**
 * A connection to another process that shares the lock file. It lives while there is something to
 * wait for or to tell, and keeps this process alive only until what it tells has been sent.
 *
 * What is told is repeated by nobody, so it is sent one batch at a time, the next one once the other
 * side has read the last: for a process that is stopped, the same words do not pile up.
 */
export class Link {
  readonly #socket: Socket;
  readonly #over: (ending: Ending) => void;
  readonly #waits = new Map<number, Set<(ending: Ending) => void>>();
  readonly #words = new Set<string>();
  #connected = false;
  #unread = false;
  #told: (() => void) | undefined;
  #code: string | undefined;

  /** `over`: it has closed and is of no more use. */
  constructor(address: string, over: (ending: Ending) => void) {
    this.#over = over;
    this.#socket = connect(address);
    this.#socket.unref();
    this.#socket.on("connect", () => {
      this.#connected = true;
      this.#send();
    });
    this.#socket.on("error", (error: NodeJS.ErrnoException) => this.#code = error.code);
    this.#socket.on("close", () => this.#closed());
    hear(this.#socket, (word, value) => {
      if (word === "gone") this.#gone(Number(value));
      if (word === "read") this.#unread = false;
      this.#send();
      this.#rest();
    });
  }

  /** Calls `then` once, when the other process no longer has this claim. Returns the cancellation. */
  wait(seq: number, then: (ending: Ending) => void): () => void {
    const waiting = this.#waits.get(seq);
    if (waiting !== undefined) waiting.add(then);
    else {
      this.#waits.set(seq, new Set([then]));
      this.#socket.write(`wait ${seq}\n`);
    }
    return () => {
      const waiting = this.#waits.get(seq);
      waiting?.delete(then);
      if (waiting?.size === 0) this.#waits.delete(seq);
      this.#rest();
    };
  }

  /** Tells the other process something that it must hear as long as both live. */
  tell(word: "look" | "key", value: number | string): void {
    this.#words.add(`${word} ${value}\n`);
    this.#send();
  }

  /** Resolves once nothing is left to tell, or nobody to tell it to. */
  told(): Promise<void> {
    return new Promise((resolve) => {
      this.#told = resolve;
      this.#rest();
    });
  }

  /** Ends it at once. */
  close(): void {
    this.#socket.destroy();
    this.#over("ended");
  }

  #send(): void {
    if (this.#words.size === 0 || this.#unread) return;
    this.#socket.ref();
    if (!this.#connected) return;
    const words = [...this.#words].join("");
    this.#words.clear();
    this.#unread = true;
    this.#socket.write(`${words}read?\n`, () => {
      this.#socket.unref();
      if (this.#words.size === 0) this.#told?.();
    });
  }

  #gone(seq: number): void {
    const waiting = this.#waits.get(seq);
    this.#waits.delete(seq);
    for (const then of waiting ?? []) then("gone");
  }

  /** Ends when it has no more to do. */
  #rest(): void {
    if (this.#words.size === 0 && !this.#unread) this.#told?.();
    if (this.#waits.size === 0 && this.#words.size === 0 && !this.#unread) this.close();
  }

  #closed(): void {
    const ending = this.#connected ? "ended" : endingBy(this.#code);
    this.#told?.();
    this.#over(ending);
    for (const waiting of this.#waits.values()) {
      for (const then of waiting) then(ending);
    }
    this.#waits.clear();
  }
}

/** Whether the process at an address has ended; `false` if that cannot be told. */
export function isDead(address: string, tries: number = 3): Promise<boolean> {
  if (address === "" || tries === 0) return Promise.resolve(false);
  return new Promise((resolve) => {
    const socket = connect(address, () => {
      socket.destroy();
      resolve(false);
    });
    socket.unref();
    socket.on("error", ({ code }: NodeJS.ErrnoException) => {
      const ending = endingBy(code);
      resolve(ending === "ended" ? isDead(address, tries - 1) : ending === "dead");
    });
  });
}

/** What an attempt to connect tells by its error. */
function endingBy(code: string | undefined): Ending {
  if (code === DEAD) return "dead";
  return code === undefined || BROKEN.includes(code) ? "ended" : "unreachable";
}

/** Reads lines of a word and a value. Whoever sends something else is cut off. */
export function hear(socket: Socket, each: (word: string, value: string) => void): void {
  let rest = "";
  socket.setEncoding("latin1");
  socket.on("data", (data: string) => {
    const lines = (rest + data).split("\n");
    rest = lines.pop()!;
    if (rest.length > 65_536) socket.destroy();
    for (const line of lines) {
      const space = line.indexOf(" ");
      if (space < 0) each(line, "");
      else each(line.slice(0, space), line.slice(space + 1));
    }
  });
}
