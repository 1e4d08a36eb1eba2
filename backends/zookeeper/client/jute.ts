import { Buffer } from "node:buffer";

/** Jute, ZooKeeper's encoding: big-endian numbers, lengths in front. Writes one frame. */
export class Writer {
  #bytes = Buffer.allocUnsafe(256);
  #end = 4;

  /** 32 bits. */
  int(value: number): this {
    this.#end = this.#room(4).writeInt32BE(value, this.#end);
    return this;
  }

  /** 64 bits. */
  long(value: bigint): this {
    this.#end = this.#room(8).writeBigInt64BE(value, this.#end);
    return this;
  }

  /** One byte. */
  bool(value: boolean): this {
    this.#end = this.#room(1).writeUInt8(value ? 1 : 0, this.#end);
    return this;
  }

  /** Length and bytes. */
  buffer(value: Uint8Array): this {
    this.int(value.length);
    this.#room(value.length).set(value, this.#end);
    this.#end += value.length;
    return this;
  }

  /** Length and UTF-8. */
  string(value: string): this {
    const length = Buffer.byteLength(value);
    this.int(length);
    this.#room(length).write(value, this.#end);
    this.#end += length;
    return this;
  }

  /** Count and items. */
  list<T>(items: readonly T[], each: (item: T) => void): this {
    this.int(items.length);
    items.forEach(each);
    return this;
  }

  /** What was written, with its length in front. */
  frame(): Uint8Array {
    this.#bytes.writeInt32BE(this.#end - 4, 0);
    return this.#bytes.subarray(0, this.#end);
  }

  #room(size: number): Buffer {
    if (this.#end + size > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(2 * (this.#end + size));
      this.#bytes.copy(larger, 0, 0, this.#end);
      this.#bytes = larger;
    }
    return this.#bytes;
  }
}

/**
 * Reads what {@linkcode Writer} writes; a length of -1 is read as empty. Throws where a frame ends too
 * early, before anything is made room for.
 */
export class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  /** Without the frame's length. */
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** 32 bits. */
  int(): number {
    this.#at += 4;
    return this.#bytes.readInt32BE(this.#at - 4);
  }

  /** 64 bits. */
  long(): bigint {
    this.#at += 8;
    return this.#bytes.readBigInt64BE(this.#at - 8);
  }

  /** One byte. */
  bool(): boolean {
    return this.#bytes.readUInt8(this.#at++) !== 0;
  }

  /** Length and bytes. */
  buffer(): Buffer {
    const length = this.#count(1);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** Length and UTF-8. */
  string(): string {
    return this.buffer().toString();
  }

  /** Count and strings. */
  strings(): string[] {
    return Array.from({ length: this.#count(4) }, () => this.string());
  }

  /** So many items of at least so many bytes must follow. */
  #count(size: number): number {
    const count = this.int();
    if (count === -1) return 0;
    if (count < 0 || count * size > this.#bytes.length - this.#at) {
      throw new RangeError(`a frame that has no room for ${count} items`);
    }
    return count;
  }
}
