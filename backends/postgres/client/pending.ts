/** Promises of answers, all of which can be given up at once. */
export class Pending<K> {
  readonly #rejects = new Map<K, (error: unknown) => void>();

  /** Answers as `answer` does, unless it is given up before. */
  wait<T>(key: K, answer: PromiseLike<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#rejects.set(key, reject);
      answer.then(resolve, reject);
    }).finally(() => this.#rejects.delete(key));
  }

  /** Rejects what is still waited for. */
  giveUp(error: (key: K) => unknown): void {
    for (const [key, reject] of this.#rejects) reject(error(key));
  }
}
