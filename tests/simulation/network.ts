import type { SimProcess } from "./process.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

/** How unreliable the way to the store is. Times in milliseconds. */
export interface Noise {
  /** Usual time of a message. */
  readonly delay: number;
  /** Probability that a message is slow, and how slow it can be. */
  readonly slow: number;
  readonly slowest: number;
  /** Probability that a request, or a reply, or a push, is lost. */
  readonly loss: number;
  /** Probability that a request comes a second time, at some other moment. */
  readonly copy: number;
  /** Probability that a lost message is noticed: the call rejects, instead of never being answered. */
  readonly reset: number;
}

/** Which way a connection is cut. */
export type Way = "both" | "out" | "in";

/** Nothing is lost any more, and nothing is late. */
const QUIET = { slow: 0, slowest: 0, loss: 0, copy: 0, reset: 1 };

interface Pending {
  readonly process: SimProcess;
  readonly fail: () => void;
}

/** The way between processes and the store: messages are late, lost, doubled, and overtake each other. */
export class Network {
  readonly #world: World;
  readonly #random: Random;
  #noise: Noise;
  /** Whether the store is up. */
  up = true;
  readonly #cuts = new Map<SimProcess, Way>();
  readonly #pending = new Set<Pending>();

  constructor(world: World, random: Random, noise: Noise) {
    this.#world = world;
    this.#random = random;
    this.#noise = noise;
  }

  /** Faults stop. What is under way stays so; what follows takes `delay` milliseconds a way. */
  calm(delay: number): void {
    this.#noise = { ...QUIET, delay };
    this.#cuts.clear();
    this.up = true;
  }

  /** Cuts one process off. */
  cut(process: SimProcess, way: Way, ms: number): void {
    this.#cuts.set(process, way);
    this.#world.at(this.#world.now + ms, () => this.#cuts.delete(process), false);
  }

  /** The store goes down, and what waits for an answer may be told so. */
  restart(ms: number): void {
    this.up = false;
    for (const { fail } of [...this.#pending]) if (this.#random.chance(0.5)) fail();
    this.#world.at(this.#world.now + ms, () => {
      this.up = true;
      this.#world.note("store", "is up again");
    }, false);
  }

  /**
   * Asks the store. `handle` runs there, perhaps twice, perhaps never, and answers now or later. `copied`: a second
   * time, whenever that may be.
   */
  call<T>(
    process: SimProcess,
    what: string,
    handle: (answer: (reply: T) => void) => void,
    copied: () => void = () => {},
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const world = this.#world;
      const pending: Pending = {
        process,
        fail: () => {
          this.#pending.delete(pending);
          world.at(world.now + this.#delay(), () => {
            process.deliver(() => reject(new Error("connection lost")));
          });
        },
      };
      this.#pending.add(pending);
      const lost = (part: string) => {
        world.note(process.name, `  (${part} of ${what} lost)`);
        if (this.#random.chance(this.#noise.reset)) pending.fail();
      };
      const answer = (reply: T) => {
        if (this.#gone(process, "in")) return lost("reply");
        world.at(world.now + this.#delay(), () => {
          this.#pending.delete(pending);
          process.deliver(() => resolve(reply));
        });
      };
      if (this.#gone(process, "out")) lost("request");
      else {
        world.at(world.now + this.#delay(), () => {
          if (this.up) handle(answer);
          else lost("request");
        }, false);
      }
      if (!this.#random.chance(this.#noise.copy)) return;
      copied();
      world.at(world.now + this.#delay() + this.#random.low(2) * this.#noise.slowest, () => {
        if (!this.up) return;
        world.note(process.name, `  (another copy of ${what} arrives)`);
        handle(() => {});
      }, false);
    });
  }

  /** The store speaks by itself. */
  push(process: SimProcess, what: string, hear: () => void): void {
    if (this.#gone(process, "in")) return this.#world.note(process.name, `  (push of ${what} lost)`);
    this.#world.at(this.#world.now + this.#delay(), () => process.deliver(hear));
  }

  #gone(process: SimProcess, way: Way): boolean {
    const cut = this.#cuts.get(process);
    const lost = this.#random.chance(this.#noise.loss);
    return lost || (cut !== undefined && (cut === "both" || cut === way));
  }

  #delay(): number {
    const { delay, slow, slowest } = this.#noise;
    const usual = delay * (0.5 + this.#random.next());
    return this.#random.chance(slow) ? usual + this.#random.low(2) * slowest : usual;
  }
}
