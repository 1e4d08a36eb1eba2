/**
 * Where something is missing that the first to come has to make, those who come later wait until it is done:
 * they would find it there, and overtake. They go on in the order in which they have come.
 */
export class Turns {
  readonly #waiting = new Map<string, { readonly arrival: number; readonly go: () => void }[]>();

  /** Whether somebody is making it. */
  taken(what: string): boolean {
    return this.#waiting.has(what);
  }

  /** Resolves when whoever is making it has come to an end. */
  wait(what: string, arrival: number): Promise<void> {
    const { promise, resolve: go } = Promise.withResolvers<void>();
    this.#waiting.get(what)!.push({ arrival, go });
    return promise;
  }

  /** Nobody else is making it. */
  async take<T>(what: string, make: () => Promise<T>): Promise<T> {
    const waiting: { arrival: number; go: () => void }[] = [];
    this.#waiting.set(what, waiting);
    try {
      return await make();
    } finally {
      this.#waiting.delete(what);
      waiting.sort((a, b) => a.arrival - b.arrival);
      for (const { go } of waiting) go();
    }
  }
}
