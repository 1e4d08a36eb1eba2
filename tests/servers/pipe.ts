/** One direction of a proxied connection: keeps what it reads until it is time to pass it on. */

import type { Socket } from "node:net";

/** Milliseconds of sleep between two looks, where a timer is too coarse. */
const NAP = 0.05;
const bed = new Int32Array(new SharedArrayBuffer(4));

/** Reads always and writes when due, so that a held pipe still knows what was sent before an end left. */
export class Pipe {
  readonly #to: Socket;
  readonly #delay: () => number;
  /** Whether fractions of a millisecond count: no timer knows them, so this keeps its thread busy. */
  readonly #fine: boolean;
  /** What to write and from when on; `undefined` is the end. */
  readonly #queue: { readonly chunk: Uint8Array | undefined; readonly due: number }[] = [];
  #held = false;
  #ended = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #napping: ReturnType<typeof setImmediate> | undefined;
  /** Asked for each chunk when it is read; false drops it. */
  onchunk: (chunk: Uint8Array) => boolean = () => true;
  /** Called once everything up to the end has been passed on. */
  onend: () => void = () => {};

  constructor(from: Socket, to: Socket, delay: () => number, fine = false) {
    this.#to = to;
    this.#delay = delay;
    this.#fine = fine;
    from.on("data", (chunk) => {
      const bytes = chunk as Uint8Array;
      if (!this.#ended && this.onchunk(bytes)) this.send(bytes);
    });
    // A half-closed connection counts as closed: none of the protocols here uses one.
    from.once("end", () => this.#push(undefined));
    from.once("close", () => this.#push(undefined));
  }

  /** Puts a chunk in line. */
  send(chunk: Uint8Array): void {
    if (chunk.length > 0) this.#push(chunk);
  }

  /** Nothing is passed on from now on. */
  hold(): void {
    this.#held = true;
  }

  /** Passes on what has gathered, and everything after. */
  release(): void {
    this.#held = false;
    this.#flush();
  }

  /** Forgets what has gathered. */
  end(): void {
    this.#ended = true;
    this.#queue.length = 0;
    clearTimeout(this.#timer);
    clearImmediate(this.#napping);
  }

  #push(chunk: Uint8Array | undefined): void {
    if (this.#ended) return;
    const after = this.#queue.at(-1)?.due ?? 0; // a shorter delay does not overtake a longer one
    this.#queue.push({ chunk, due: Math.max(after, performance.now() + this.#delay()) });
    this.#flush();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#napping);
    while (!this.#held && this.#queue.length > 0) {
      const { chunk, due } = this.#queue[0]!;
      const early = due - performance.now();
      if (early > 0) {
        if (this.#fine && early < 2) {
          Atomics.wait(bed, 0, 0, Math.min(NAP, early));
          this.#napping = setImmediate(() => this.#flush());
        } else {
          this.#timer = setTimeout(
            () => this.#flush(),
            this.#fine ? Math.floor(early) - 1 : Math.ceil(early),
          );
        }
        return;
      }
      this.#queue.shift();
      if (chunk) this.#to.write(chunk);
      else return this.onend();
    }
  }
}
