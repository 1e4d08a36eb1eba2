import { clearTimeout, setImmediate, setTimeout } from "node:timers";

/** Milliseconds between two echoes: who hears nothing notices within two of them. */
const INTERVAL = 5_000;

/** What has to know that messages come. */
export interface Listening {
  /** Whether a message is waited for. */
  listens(): boolean;
  /** Sends a message to itself, all the way that a message comes. */
  send(): void;
  /** Not even that is heard. */
  deaf(ms: number): void;
}

/**
 * A connection that a load balancer has forgotten, or to a node that has left its cluster, looks like one over
 * which nothing is said. So a process that waits for messages sends one to itself now and then.
 *
 * The echo costs nothing while no message is waited for, and keeps no process alive.
 */
export class Echo {
  readonly #listening: Listening;
  readonly #interval: number;
  #timer: NodeJS.Timeout | undefined;
  /** Since the last look. */
  #sent = false;
  #heard = false;

  constructor(listening: Listening, interval: number = INTERVAL) {
    this.#listening = listening;
    this.#interval = interval;
  }

  /** Messages may be waited for from now on. */
  start(): void {
    if (this.#timer === undefined) this.#arm();
  }

  /** A message has come, whatever it says. */
  heard(): void {
    this.#heard = true;
  }

  /** There is no connection any more. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sent = this.#heard = false;
  }

  #arm(): void {
    // What has come while the event loop was busy is heard before the clock is.
    const timer = setTimeout(() => setImmediate(() => this.#timer === timer && this.#look()), this.#interval);
    this.#timer = timer.unref();
  }

  #look(): void {
    const deaf = this.#sent && !this.#heard;
    if (deaf || !this.#listening.listens()) this.stop();
    else {
      this.#sent = true;
      this.#heard = false;
      this.#arm();
      this.#listening.send();
    }
    if (deaf) this.#listening.deaf(this.#interval);
  }
}
