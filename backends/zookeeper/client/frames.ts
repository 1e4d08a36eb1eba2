import { Buffer } from "node:buffer";

/** Bytes: a greeting has 41. */
const GREETING = 256;
/** Bytes: a list of a hundred thousand long names is smaller, and the servers take a MiB at most. */
const LARGEST = 64 * 1024 * 1024;

/**
 * Cuts what arrives into frames, each with its length in front. Holds at most one that is not whole yet. The
 * first is a greeting, of which is known how long it can be.
 */
export class Frames {
  #largest = GREETING;
  /** The beginning of a frame is in its first {@linkcode #length} bytes. */
  #store: Buffer = Buffer.alloc(0);
  #length = 0;

  /** The frames that are whole now. Throws at a length that cannot be meant. */
  *push(bytes: Buffer): Generator<Buffer> {
    let rest = this.#length === 0 ? bytes : this.#join(bytes);
    for (let end; (end = this.#end(rest)) <= rest.length;) {
      const frame = rest.subarray(4, end);
      rest = rest.subarray(end);
      this.#length = 0;
      this.#largest = LARGEST;
      yield frame;
    }
    if (this.#length === 0 && rest.length > 0) this.#join(rest);
  }

  /** Infinity as long as the length itself is not there. */
  #end(bytes: Buffer): number {
    if (bytes.length < 4) return Infinity;
    const length = bytes.readInt32BE(0);
    if (length < 0 || length > this.#largest) throw new RangeError(`a frame of ${length} bytes`);
    return 4 + length;
  }

  /** Appends. The store doubles: what comes in small pieces is not copied with each. */
  #join(bytes: Buffer): Buffer {
    const length = this.#length + bytes.length;
    if (length > this.#store.length || this.#length === 0) {
      const larger = Buffer.allocUnsafe(2 * length);
      this.#store.copy(larger, 0, 0, this.#length);
      this.#store = larger;
    }
    this.#store.set(bytes, this.#length);
    this.#length = length;
    return this.#store.subarray(0, length);
  }
}
