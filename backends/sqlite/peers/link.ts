import type { Socket } from "node:net";
import { connect } from "../client/builtin.ts";

/**
 * Why waiting for the end of a claim came to an end. "gone": its process says so. "unheard": that
 * process could not be reached, or the connection broke, which says nothing about it.
 */
export type Ending = "gone" | "unheard";

/**
 * A connection to another process that shares the lock file. The link lives while there is something to
 * wait for or to tell, and keeps this process alive only until what it tells has been sent.
 *
 * What is told is told once, so it is sent one batch at a time, the next one once the other
 * side has read the last: for a process that is stopped, the same words do not pile up.
 */
export class Link {
  readonly #socket: Socket;
  readonly #over: (broken: boolean) => void;
  readonly #waits = new Map<number, Set<(ending: Ending) => void>>();
  readonly #words = new Set<string>();
  #connected = false;
  #unread = false;
  #closes = false;
  #told: (() => void) | undefined;

  /** `over`: the link has ended, by itself or because it broke. Throws where this runtime may not connect. */
  constructor(address: string, over: (broken: boolean) => void) {
    this.#over = over;
    this.#socket = connect(address);
    this.#socket.unref();
    this.#socket.on("connect", () => {
      this.#connected = true;
      this.#send();
    });
    this.#socket.on("error", () => {});
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

  /** Resolves once nothing is left to tell, or the other process cannot be reached. */
  told(): Promise<void> {
    return new Promise((resolve) => {
      this.#told = resolve;
      this.#rest();
    });
  }

  /** Ends it at once. */
  close(): void {
    this.#closes = true;
    this.#socket.destroy();
    this.#over(false);
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
    this.#told?.();
    if (!this.#closes) this.#over(true);
    for (const waiting of this.#waits.values()) {
      for (const then of waiting) then("unheard");
    }
    this.#waits.clear();
  }
}

/** Reads lines of a word and a value. A process that sends something else is cut off. */
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
