/** Where time comes from. Injected, so that tests run in virtual time. All in milliseconds. */
export interface Clock {
  /** Monotonic: never steps, may stand still while the machine is suspended. */
  now(): number;
  /** Wall: may step, but has moved on after a suspension. */
  wall(): number;
  /** Calls `wake` once, `ms` from now. */
  timer(ms: number, wake: () => void): Timer;
}

/** A timer that runs. */
export interface Timer {
  /** It will not ring. */
  cancel(): void;
  /** It keeps the process alive again. */
  ref?(): void;
  /** It no longer keeps the process alive. */
  unref?(): void;
}

/** How Deno 2.7 says whether a timer keeps the process alive. */
const { Deno } = globalThis as { Deno?: { refTimer?(id: number): void; unrefTimer?(id: number): void } };

/** The runtime's own clocks. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  timer(ms, wake) {
    // A number in browsers and Deno 2.7, an object with ref() and unref() in later ones, Bun and Node.
    const timer = setTimeout(wake, ms) as number | Required<Pick<Timer, "ref" | "unref">>;
    const cancel = () => clearTimeout(timer as number);
    if (typeof timer === "object") return { cancel, ref: () => timer.ref(), unref: () => timer.unref() };
    if (Deno?.unrefTimer === undefined) return { cancel };
    return { cancel, ref: () => Deno.refTimer?.(timer), unref: () => Deno.unrefTimer?.(timer) };
  },
};

/**
 * Milliseconds by which wall time must have gained on monotonic time to count as time that only the
 * wall saw. More than readings differ by, less than the slack of a deadline.
 */
const JUMP = 20;

/**
 * Elapsed time, suspensions included. A suspended machine may stop its monotonic clock, so wall time
 * that passed without it counts too, however it is spread. A wall clock set forward looks the same and
 * costs a lock at worst; one set back changes nothing.
 */
export class Elapsed {
  readonly #clock: Clock;
  #offset: number;
  #suspended = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#offset = clock.wall() - clock.now();
  }

  /** Milliseconds since some fixed point; never goes back. */
  now(): number {
    let now = this.#clock.now();
    let offset = this.#clock.wall() - now;
    // A process taken off its core between the two readings sees a jump that never was: look again.
    for (let looks = 0; offset - this.#offset > JUMP && looks < 3; looks++) {
      now = this.#clock.now();
      offset = Math.min(offset, this.#clock.wall() - now);
    }
    const gained = offset - this.#offset;
    // What is too little to count is not forgotten: it adds up.
    if (gained < 0 || gained > JUMP) this.#offset = offset;
    if (gained > JUMP) this.#suspended += gained;
    return now + this.#suspended;
  }
}
