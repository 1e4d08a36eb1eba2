import { Bag, type Member } from "./bag.ts";
import { type Clock, Elapsed, type Timer } from "./clock.ts";

/** Something to do at a time. */
export interface Alarm extends Member {
  /** In the time of {@linkcode Alarms.now}. */
  readonly at: number;
  /** Whether the process may end before it rings. Otherwise it is kept alive until then. */
  readonly background: boolean;
  /** Called once. */
  ring(): void;
}

/** The clocks are looked at this often, so that a suspension is noticed soon after it has ended. */
const LOOK = 500;

/**
 * All the deadlines of a manager on one timer. It counts only while an alarm is set that is not one of the
 * background, so a process with nothing held and nothing waited for is free to exit. Nothing else of a
 * manager keeps it alive: whatever is asked, waited for or held has an alarm.
 */
export class Alarms {
  readonly #clock: Clock;
  readonly #elapsed: Elapsed;
  readonly #alarms = new Bag<Alarm>();
  /** How many of them keep the process alive. */
  #awaited = 0;
  #timer: Timer | undefined;
  #fires = Infinity;
  /** The timer does not keep the process alive. */
  #idle = false;
  #last: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#elapsed = new Elapsed(clock);
    this.#last = this.#elapsed.now();
  }

  /** Elapsed milliseconds, suspensions included. */
  now(): number {
    return this.#last = this.#elapsed.now();
  }

  /**
   * The last answer of {@linkcode Alarms.now}, for what comes right after it, or matters little: two
   * clocks to look at are a good part of what a lock costs.
   */
  get last(): number {
    return this.#last;
  }

  /**
   * Rings once at its time, or as soon as the event loop gets to it. One of the `background` does not keep the
   * process alive until then.
   */
  set(at: number, ring: () => void, background: boolean = false): Alarm {
    const alarm = { slot: -1, at, ring, background };
    this.add(alarm);
    return alarm;
  }

  /** As {@linkcode Alarms.set}, for an alarm that is made already. */
  add(alarm: Alarm): void {
    this.#alarms.add(alarm);
    if (!alarm.background) {
      this.#awaited++;
      if (this.#idle) {
        this.#idle = false;
        this.#timer?.ref?.();
      }
    }
    if (alarm.at < this.#fires) this.#arm(alarm.at);
  }

  /** Whether it had not rung. */
  clear(alarm: Alarm): boolean {
    const set = this.#remove(alarm);
    if (set) this.#rest();
    return set;
  }

  /** Whether it was set. */
  #remove(alarm: Alarm): boolean {
    if (!this.#alarms.delete(alarm)) return false;
    if (!alarm.background) this.#awaited--;
    return true;
  }

  /** Lets the process end, unless something is awaited. */
  #rest(): void {
    if (this.#awaited > 0 || this.#idle) return;
    // Setting a timer costs more than letting one run that keeps nothing alive.
    if (this.#timer?.unref !== undefined) {
      this.#idle = true;
      this.#timer.unref();
    } else if (this.#alarms.size === 0) this.#disarm();
  }

  #arm(at: number): void {
    const now = this.now();
    const fires = Math.min(at, now + LOOK);
    if (fires >= this.#fires) return;
    this.#disarm();
    this.#fires = fires;
    this.#timer = this.#clock.timer(Math.max(0, Math.ceil(fires - now)), this.#look);
    this.#rest();
  }

  #disarm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#idle = false;
    this.#fires = Infinity;
  }

  readonly #look = (): void => {
    this.#timer = undefined;
    this.#idle = false;
    this.#fires = Infinity;
    const now = this.now();
    let next = Infinity;
    for (const alarm of this.#alarms.values()) {
      if (alarm.at > now) next = Math.min(next, alarm.at);
      else if (this.#remove(alarm)) alarm.ring();
    }
    if (this.#alarms.size > 0) this.#arm(next);
    this.#rest(); // what rang first may have set the timer while another was still awaited
  };
}
