import { clearTimeout, setImmediate, setTimeout } from "node:timers";
import { type Script, script } from "./script.ts";

/** The message that a process sends to itself. */
export const ECHO = "echo";

/**
 * `KEYS`: any key that the process has to do with. `ARGV`: channel, message. The key says to a Cluster who is to
 * publish it: a node that has left it would still do so, and be the only one to hear.
 */
export const PUBLISH: Script = script("return redis.call('PUBLISH', ARGV[1], ARGV[2])");

/** Milliseconds between two echoes: who hears nothing notices within two of them. */
const INTERVAL = 5_000;

/** Who has to know that messages come. */
export interface Ear {
  /** Whether anybody waits for one. */
  listens(): boolean;
  /** Sends {@linkcode ECHO} to itself, all the way that a message comes. */
  send(): void;
  /** Not even that is heard. */
  deaf(ms: number): void;
}

/**
 * A connection that a load balancer has forgotten, or to a node that has left the Cluster, looks like one over
 * which nobody has anything to say. So who waits for a message says something to itself now and then.
 *
 * It costs nothing while nobody waits, and keeps no process alive.
 */
export class Echo {
  readonly #ear: Ear;
  readonly #interval: number;
  #timer: NodeJS.Timeout | undefined;
  /** Since the last look. */
  #sent = false;
  #heard = false;

  constructor(ear: Ear, interval: number = INTERVAL) {
    this.#ear = ear;
    this.#interval = interval;
  }

  /** Somebody may wait for a message from now on. */
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
    if (deaf || !this.#ear.listens()) this.stop();
    else {
      this.#sent = true;
      this.#heard = false;
      this.#arm();
      this.#ear.send();
    }
    if (deaf) this.#ear.deaf(this.#interval);
  }
}
