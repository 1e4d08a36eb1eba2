import { setImmediate } from "node:timers";

/** What goes wrong in a run: which promise, and how. */
export interface Failure {
  readonly promise: string;
  readonly details: string;
  /** Virtual milliseconds. */
  readonly at: number;
}

/** Something that will happen. */
export interface Happening {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
  /** Whether code of a process runs in it, whose promises must then be let run to their end. */
  readonly wakes: boolean;
}

/** A schedule with more happenings than this makes no progress. */
const MOST = 400_000;

/** Virtual time, in milliseconds, and everything that happens in it, one thing after the other. */
export class World {
  now = 0;
  failure: Failure | undefined;
  /** What has happened, if somebody wants to read it. */
  readonly history: string[] | undefined;
  /** Looked at after each happening. */
  watch: () => void = () => {};
  #heap: Happening[] = [];
  #order = 0;
  #count = 0;

  constructor(remember: boolean) {
    if (remember) this.history = [];
  }

  /** Has it happen, at that time or now. Of those at one time, the first to be asked for comes first. */
  at(at: number, run: () => void, wakes = true): void {
    const heap = this.#heap;
    const happening: Happening = { at: Math.max(at, this.now), order: this.#order++, run, wakes };
    let child = heap.length;
    heap.push(happening);
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (!before(happening, heap[parent]!)) break;
      heap[child] = heap[parent]!;
      child = parent;
    }
    heap[child] = happening;
  }

  /** Lets time pass, until then or until `done`. Stops at the first failure. */
  async run(until: number, done: () => boolean = () => false): Promise<void> {
    while (this.failure === undefined && !done()) {
      const next = this.#heap[0];
      if (next === undefined || next.at > until) {
        if (until < Infinity) this.now = until;
        return;
      }
      this.#pop();
      this.now = next.at;
      next.run();
      // A macrotask comes when no microtask is left: every promise has run as far as it can.
      if (next.wakes) await new Promise((resolve) => setImmediate(resolve));
      this.watch();
      if (++this.#count > MOST) this.fail("progress", `more than ${MOST} things happened`);
    }
  }

  /** How much has happened. */
  get count(): number {
    return this.#count;
  }

  /** The first failure counts. */
  fail(promise: string, details: string): void {
    if (this.failure !== undefined) return;
    this.failure = { promise, details, at: this.now };
    this.note("!!", `${promise}: ${details}`);
  }

  /** A line of the history. */
  note(who: string, what: string): void {
    this.history?.push(`${this.now.toFixed(1).padStart(10)}  ${who.padEnd(5)} ${what}`);
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let parent = 0;
    for (;;) {
      let child = 2 * parent + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[parent] = heap[child]!;
      parent = child;
    }
    heap[parent] = last;
  }
}

function before(one: Happening, other: Happening): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order);
}
