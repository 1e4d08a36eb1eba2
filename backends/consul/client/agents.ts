import { type Endpoint, nameOf } from "./endpoint.ts";

/** Milliseconds for which an agent that has failed is not asked, if there is another. */
const AVOIDED = 10_000;

/** How often in a row a locator is asked for another agent than those that have failed. */
const LOOKS = 8;

/** Which agent to talk to: the one that the locator has named, until that one fails. */
export class Agents {
  readonly #locate: () => Promise<Endpoint>;
  /** Whether the locator may name others. */
  readonly several: boolean;
  #current: Promise<Endpoint> | undefined;
  /** Until when an agent is avoided. */
  readonly #avoided = new Map<string, number>();

  constructor(locate: () => Promise<Endpoint>, several: boolean) {
    this.#locate = locate;
    this.several = several;
  }

  /**
   * Where to send a request; `undefined` if the locator names only what has been tried.
   *
   * @throws what the locator throws
   */
  async find(tried: ReadonlySet<string>): Promise<Endpoint | undefined> {
    for (let look = 1;; look++) {
      const located = this.#current ??= this.#locate();
      let at: Endpoint;
      try {
        at = await located;
      } catch (error) {
        this.#leave(located);
        throw error;
      }
      const name = nameOf(at);
      const last = !this.several || look === LOOKS;
      if (!tried.has(name) && (last || !this.#avoids(name))) return at;
      if (last) return undefined;
      this.#leave(located);
    }
  }

  /** The agent has answered: it is avoided no longer. */
  answered(at: Endpoint): void {
    if (this.#avoided.size > 0) this.#avoided.delete(nameOf(at));
  }

  /** The agent has not answered, or not as it should: it is avoided for a while. */
  failed(at: Endpoint): void {
    this.#avoided.set(nameOf(at), performance.now() + AVOIDED);
    this.leave();
  }

  /** The locator is asked again for the next request. */
  leave(): void {
    this.#current = undefined;
  }

  #leave(located: Promise<Endpoint>): void {
    if (this.#current === located) this.#current = undefined;
  }

  #avoids(name: string): boolean {
    const until = this.#avoided.get(name);
    if (until === undefined) return false;
    if (performance.now() < until) return true;
    this.#avoided.delete(name);
    return false;
  }
}
