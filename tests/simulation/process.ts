import type { Clock, Timer } from "../../internal/clock.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

/**
 * "stop": no code runs, both clocks go on (SIGSTOP). "suspend": no code runs and the monotonic clock
 * stands still, only the wall clock moves on. "stall": the event loop is blocked by the process' own
 * code, which may well look at a signal meanwhile.
 */
export type Freeze = "stop" | "suspend" | "stall";

/** How the clocks of a process go. */
export interface ClockRates {
  /** Of the monotonic clock against true time. */
  readonly monotonic: number;
  /** Of the wall clock against the monotonic one. */
  readonly wall: number;
}

/** How late a timer may ring, in milliseconds. */
const LATE = 4;
/** After a suspension, the core looks at its clocks within this time. */
const LOOK = 530;

interface SimTimer {
  readonly due: number;
  readonly wake: () => void;
  live: boolean;
  /** Whether it keeps the process alive. */
  counts: boolean;
}

/** What reaches a process while it cannot run. */
interface Held {
  readonly timer: SimTimer | undefined;
  readonly run: () => void;
}

/** One process: clocks of its own, and an event loop that may not run. */
export class SimProcess {
  readonly name: string;
  readonly clock: Clock;
  /** Killed: nothing of it ever runs again. */
  dead = false;
  /** Its wall clock was put forward at some time, which to the core looks like a suspension. */
  advanced = false;
  /** Timers that are set and keep it alive. */
  timers = 0;
  frozen: Freeze | undefined;
  readonly #world: World;
  readonly #random: Random;
  readonly #rates: ClockRates;
  #wallStep = 1_700_000_000_000;
  /** True milliseconds for which the monotonic clock has stood still. */
  #stood = 0;
  #since = 0;
  /** When it was last suspended, and its wall clock last set back. */
  #resumed = -Infinity;
  #setBack = -Infinity;
  #held: Held[] = [];
  #staleUntil = 0;

  constructor(world: World, name: string, rates: ClockRates, random: Random) {
    this.#world = world;
    this.name = name;
    this.#rates = rates;
    this.#random = random;
    this.clock = {
      now: () => this.#monotonic(),
      wall: () => {
        const wall = (world.now * rates.monotonic) * rates.wall + this.#wallStep;
        return Math.floor(wall);
      },
      timer: (ms, wake) => this.#timer(ms, wake),
    };
  }

  /** Whether its code may be running, and reading signals, at this moment. */
  get running(): boolean {
    return !this.dead && (this.frozen === undefined || this.frozen === "stall");
  }

  /** Whether its timers have had time to ring, so that a signal nobody reads must be right as well. */
  get fresh(): boolean {
    return this.frozen === undefined && !this.dead && this.#world.now > this.#staleUntil;
  }

  /** A message or a user's action: runs now, or when the process does. */
  deliver(run: () => void): void {
    if (this.dead) return;
    if (this.frozen === undefined) run();
    else this.#held.push({ timer: undefined, run });
  }

  /** Stops the event loop for a while. */
  freeze(how: Freeze, ms: number): void {
    if (this.dead || this.frozen !== undefined) return;
    if (how === "suspend" && this.#world.now < this.#setBack + LOOK) return;
    this.frozen = how;
    this.#since = this.#world.now;
    this.#world.at(this.#world.now + ms, () => this.thaw());
  }

  /** It runs again: the program's own next step first, then what the event loop has to catch up with. */
  thaw(): void {
    if (this.dead || this.frozen === undefined) return;
    const { now } = this.#world;
    if (this.frozen === "suspend") {
      this.#stood += now - this.#since;
      this.#resumed = now;
    }
    this.#staleUntil = now + (this.frozen === "suspend" ? LOOK : 2 * LATE);
    this.frozen = undefined;
    const held = this.#held;
    this.#held = [];
    const first = this.#random.pick(["timers", "messages", "neither"]);
    if (first !== "neither") {
      const rank = ({ timer }: Held) => (timer !== undefined) === (first === "timers") ? 0 : 1;
      held.sort((one, other) => rank(one) - rank(other));
    }
    for (const { timer, run } of held) {
      this.#world.at(now, () => {
        if (timer === undefined) this.deliver(run);
        else this.#due(timer);
      });
    }
    this.#world.note(this.name, "runs again");
  }

  /**
   * Sets the wall clock. Set back within the moment in which nobody has looked yet, it could hide a
   * suspension from both clocks, which is beyond what is promised.
   */
  stepWall(ms: number): void {
    const { now } = this.#world;
    const hides = this.frozen === "suspend" || now < this.#resumed + LOOK;
    if (ms < 0 && hides) return;
    this.#wallStep += ms;
    if (ms < 0) this.#setBack = now;
    else this.advanced = true;
  }

  #monotonic(): number {
    const standing = this.frozen === "suspend" ? this.#world.now - this.#since : 0;
    return (this.#world.now - this.#stood - standing) * this.#rates.monotonic;
  }

  #timer(ms: number, wake: () => void): Timer {
    const timer: SimTimer = { due: this.#monotonic() + ms, wake, live: true, counts: false };
    const count = (counts: boolean) => {
      if (timer.counts !== counts) this.timers += counts ? 1 : -1;
      timer.counts = counts;
    };
    count(true);
    this.#schedule(timer);
    return {
      cancel: () => this.#end(timer),
      ref: () => count(timer.live),
      unref: () => count(false),
    };
  }

  #end(timer: SimTimer): void {
    if (timer.counts) this.timers--;
    timer.counts = timer.live = false;
  }

  #schedule(timer: SimTimer): void {
    const left = (timer.due - this.#monotonic()) / this.#rates.monotonic;
    const late = this.#random.low(4) * LATE;
    this.#world.at(this.#world.now + Math.max(0, left) + late, () => this.#due(timer));
  }

  #due(timer: SimTimer): void {
    if (!timer.live || this.dead) return;
    if (this.frozen !== undefined) this.#held.push({ timer, run: timer.wake });
    else if (this.#monotonic() < timer.due - 1e-6) this.#schedule(timer);
    else {
      this.#end(timer);
      timer.wake();
    }
  }
}
