/** How many entries a bucket has on average, at most. */
const FULL = 4;

/**
 * Objects by name that come and go by the thousand: a hash table of arrays, for the reason that
 * `internal/bag.ts` gives.
 */
export class Table<T> {
  #buckets: Entry<T>[][] = buckets(64);
  #size = 0;

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  /** What is there by this name. */
  get(name: string): T | undefined {
    return this.#bucket(name).find((entry) => entry.name === name)?.value;
  }

  /** Puts it there, in place of another. */
  set(name: string, value: T): void {
    const bucket = this.#bucket(name);
    const entry = bucket.find((entry) => entry.name === name);
    if (entry !== undefined) entry.value = value;
    else {
      bucket.push({ name, value });
      if (++this.#size > FULL * this.#buckets.length) this.#grow();
    }
  }

  /** Whether something was there. */
  delete(name: string): boolean {
    const bucket = this.#bucket(name);
    const at = bucket.findIndex((entry) => entry.name === name);
    if (at < 0) return false;
    const last = bucket.pop()!;
    if (at < bucket.length) bucket[at] = last;
    this.#size--;
    return true;
  }

  /** Takes all of them out. */
  clear(): void {
    this.#buckets = buckets(this.#buckets.length);
    this.#size = 0;
  }

  /** All names as of now, in no order. */
  names(): string[] {
    return this.#buckets.flatMap((bucket) => bucket.map(({ name }) => name));
  }

  /** All of them as of now, in no order. */
  values(): T[] {
    return this.#buckets.flatMap((bucket) => bucket.map(({ value }) => value));
  }

  #bucket(name: string): Entry<T>[] {
    let hash = 0;
    for (let n = 0; n < name.length; n++) hash = Math.imul(hash, 31) + name.charCodeAt(n) | 0;
    return this.#buckets[(hash ^ hash >>> 16) & this.#buckets.length - 1]!;
  }

  #grow(): void {
    const entries = this.#buckets.flat();
    this.#buckets = buckets(4 * this.#buckets.length);
    for (const entry of entries) this.#bucket(entry.name).push(entry);
  }
}

interface Entry<T> {
  readonly name: string;
  value: T;
}

/** A power of two of them. */
function buckets<T>(count: number): Entry<T>[][] {
  return Array.from({ length: count }, () => []);
}
