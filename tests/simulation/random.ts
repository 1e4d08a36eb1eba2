/** Numbers that follow from a seed: the same on every runtime and machine (sfc32). */
export class Random {
  readonly #label: string;
  #a: number;
  #b: number;
  #c: number;
  #count = 1;

  constructor(label: string) {
    this.#label = label;
    [this.#a, this.#b, this.#c] = [hash(label, 1), hash(label, 2), hash(label, 3)];
    for (let n = 0; n < 12; n++) this.next();
  }

  /** From 0 up to 1. */
  next(): number {
    const sum = (this.#a + this.#b | 0) + this.#count++ | 0;
    this.#a = this.#b ^ this.#b >>> 9;
    this.#b = this.#c + (this.#c << 3) | 0;
    this.#c = (this.#c << 21 | this.#c >>> 11) + sum | 0;
    return (sum >>> 0) / 4_294_967_296;
  }

  /** From 0 up to 1, and low more often than not: a power of {@linkcode Random.next}, the same on every engine. */
  low(power: number): number {
    const number = this.next();
    let product = number;
    for (let n = 1; n < power; n++) product *= number;
    return product;
  }

  /** From `least` up to `most`. */
  between(least: number, most: number): number {
    return least + this.next() * (most - least);
  }

  /** A whole number from `least` to `most`, both included. */
  whole(least: number, most: number): number {
    return Math.floor(this.between(least, most + 1));
  }

  /** true with that probability. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** One of them. */
  pick<T>(items: readonly T[]): T {
    return items[this.whole(0, items.length - 1)]!;
  }

  /** Another sequence, which does not depend on how far this one has come. */
  fork(label: string): Random {
    return new Random(`${this.#label}/${label}`);
  }
}

/** FNV-1a with a last stir. */
function hash(text: string, salt: number): number {
  let h = 2_166_136_261 ^ Math.imul(salt, 0x9e3779b1);
  for (let at = 0; at < text.length; at++) h = Math.imul(h ^ text.charCodeAt(at), 16_777_619);
  h = Math.imul(h ^ h >>> 16, 0x85ebca6b);
  return Math.imul(h ^ h >>> 13, 0xc2b2ae35);
}
