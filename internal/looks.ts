/**
 * A claim that does not wait looks at the queue before it enters, where a store cannot do both in one step.
 * Those of this process that come after it must not overtake it meanwhile: it would find them in its way.
 */
export class Looks {
  readonly #looking = new Map<string, Promise<void>>();

  /** Enters when nobody who came before still looks, and unless `isTaken`, for one that looks itself, says so. */
  enter<T>(
    key: string,
    isTaken: (() => Promise<boolean>) | undefined,
    enter: () => Promise<T>,
  ): Promise<T | undefined> {
    const before = this.#looking.get(key);
    if (before !== undefined) return before.then(() => this.enter(key, isTaken, enter));
    return isTaken === undefined ? enter() : this.#look(key, isTaken, enter);
  }

  async #look<T>(
    key: string,
    isTaken: () => Promise<boolean>,
    enter: () => Promise<T>,
  ): Promise<T | undefined> {
    const { promise, resolve: looked } = Promise.withResolvers<void>();
    this.#looking.set(key, promise);
    try {
      return await isTaken() ? undefined : enter();
    } finally {
      this.#looking.delete(key);
      looked();
    }
  }
}
