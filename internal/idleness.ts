import type { Alarm, Alarms } from "./alarms.ts";

/** Milliseconds for which something is kept for its next use. */
const LONG = 30_000;

/** Since when something has not been used; and its end, when that has been for long. */
export class Idleness {
  readonly #alarms: Alarms;
  readonly #end: () => void;
  #since = Infinity;
  #alarm: Alarm | undefined;

  constructor(alarms: Alarms, end: () => void) {
    this.#alarms = alarms;
    this.#end = end;
  }

  /** `Infinity` while it is in use. */
  get since(): number {
    return this.#since;
  }

  /** It is not used any more. The alarm is not moved each time: it looks at how long that has been. */
  begin(): void {
    if (this.#since < Infinity) return;
    this.#since = this.#alarms.last;
    this.#alarm ??= this.#set();
  }

  /** It is used again. */
  end(): void {
    this.#since = Infinity;
  }

  /** It is over, idle or not. */
  stop(): void {
    if (this.#alarm !== undefined) this.#alarms.clear(this.#alarm);
  }

  #set(): Alarm {
    return this.#alarms.set(this.#since + LONG, () => {
      this.#alarm = undefined;
      if (this.#since + LONG <= this.#alarms.now()) this.#end();
      else if (this.#since < Infinity) this.#alarm = this.#set();
    }, true);
  }
}
