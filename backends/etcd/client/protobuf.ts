import { Buffer } from "node:buffer";

/** A field: its number, its type, and whether there may be several. */
export type Field = readonly [number: number, type: Type, repeated?: "repeated"];

/** A message is given as a function, because messages contain each other; an enum as its names. */
export type Type = "bytes" | "string" | "int64" | "bool" | readonly string[] | (() => Message);

/** A field, taken apart. */
interface Known {
  readonly name: string;
  readonly number: number;
  readonly type: Type;
  readonly repeated: boolean;
}

const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;
const FIXED32 = 5;

/** Groups of seven bits that a number of 64 bits takes at most. */
const LONGEST = 10;

/** What does not fit in seven groups of seven bits. */
const WIDE = 2 ** 49;

/**
 * A message of Protocol Buffers (proto3), as much of it as etcd's need, driven by tables. In
 * JavaScript the messages look as they do in the package `etcd3`: 64-bit integers are decimal
 * strings, enums are their names, what is absent has its default.
 */
export class Message {
  readonly #byNumber = new Map<number, Known>();
  /** Last to first. */
  readonly #reversed: Known[] = [];
  /** Defaults; of lists only the names, for each message has lists of its own. */
  readonly #scalars: Record<string, unknown> = {};
  readonly #lists: string[] = [];

  constructor(fields: Readonly<Record<string, Field>>) {
    for (const [name, [number, type, repeated]] of Object.entries(fields)) {
      const field = { name, number, type, repeated: repeated !== undefined };
      this.#byNumber.set(number, field);
      this.#reversed.unshift(field);
      if (repeated) this.#lists.push(name);
      else if (typeof type !== "function") this.#scalars[name] = defaultOf(type);
    }
  }

  /** In bytes. Fields that the value does not have are left out. */
  encode(value: object): Buffer {
    const writer = new Writer();
    this.#write(writer, value as Record<string, unknown>);
    return writer.bytes;
  }

  /**
   * From bytes. Fields that the table does not have are skipped.
   *
   * @throws {Error} If it is no message, or not of this kind.
   */
  decode(bytes: Buffer, from = 0, to: number = bytes.length): Record<string, unknown> {
    const value: Record<string, unknown> = { ...this.#scalars };
    for (const name of this.#lists) value[name] = [];
    const cursor = { at: from, to };
    while (cursor.at < to) {
      const tag = Number(readVarint(bytes, cursor));
      if (tag < 8 || tag >= 2 ** 32) throw new Error("a field that no message has");
      const field = this.#byNumber.get(tag >>> 3);
      const item = readItem(bytes, cursor, tag & 7, field);
      if (field === undefined) continue;
      if (field.repeated) (value[field.name] as unknown[]).push(item);
      else value[field.name] = item;
    }
    return value;
  }

  #write(writer: Writer, value: Record<string, unknown>): void {
    for (const { name, number, type, repeated } of this.#reversed) {
      const given = value[name];
      if (given === undefined) continue;
      if (!repeated) Message.#writeField(writer, number, type, given);
      else {for (const one of (given as unknown[]).toReversed()) {
          Message.#writeField(writer, number, type, one);
        }}
    }
  }

  // deno-lint-ignore no-explicit-any -- the table says what it is
  static #writeField(writer: Writer, number: number, type: Type, value: any): void {
    const before = writer.size;
    if (typeof type === "function") type().#write(writer, value);
    else if (type === "bytes") writer.prepend(value);
    else if (type === "string") writer.prepend(Buffer.from(value));
    else {
      writer.varint(Array.isArray(type) ? type.indexOf(value) : type === "bool" ? Number(value) : value);
      return writer.varint(number << 3 | VARINT);
    }
    writer.varint(writer.size - before);
    writer.varint(number << 3 | DELIMITED);
  }
}

/** Writes from the end to the beginning: what is in a message comes before its length is known. */
class Writer {
  #buffer = Buffer.allocUnsafe(512);
  /** Bytes written. */
  size = 0;

  get bytes(): Buffer {
    return this.#buffer.subarray(this.#buffer.length - this.size);
  }

  prepend(bytes: Uint8Array): void {
    const at = this.#before(bytes.length); // which may replace the buffer
    this.#buffer.set(bytes, at);
  }

  varint(value: number | string): void {
    const number = Number(value);
    if (number >= 0 && number < WIDE) return this.#groups(number, groups(number), 0);
    const bits = BigInt.asUintN(64, BigInt(value));
    const high = Number(bits >> 49n);
    this.#groups(high, groups(high), 0);
    this.#groups(Number(bits & 0x1ffffffffffffn), 7, 0x80);
  }

  /** Seven bits each, lowest first; each but the last says that more are to come. */
  #groups(number: number, length: number, last: 0 | 0x80): void {
    let at = this.#before(length);
    let rest = number;
    for (let n = 1; n < length; n++, rest = Math.floor(rest / 128)) this.#buffer[at++] = rest % 128 | 0x80;
    this.#buffer[at] = rest | last;
  }

  /** Makes room for so many bytes before those that are there; where they begin. */
  #before(bytes: number): number {
    this.size += bytes;
    if (this.size > this.#buffer.length) {
      this.#buffer = Buffer.concat([Buffer.allocUnsafe(this.size), this.#buffer]);
    }
    return this.#buffer.length - this.size;
  }
}

/** How many groups of seven bits a number takes. */
function groups(number: number): number {
  let length = 1;
  for (let rest = number; rest > 0x7f; rest = Math.floor(rest / 128)) length++;
  return length;
}

/** Where reading has come to, and how far it may go. */
interface Cursor {
  at: number;
  readonly to: number;
}

function readItem(bytes: Buffer, cursor: Cursor, wire: number, field: Known | undefined): unknown {
  if (field !== undefined && wire !== (isNumber(field.type) ? VARINT : DELIMITED)) {
    throw new Error("a field of another kind");
  }
  if (wire === VARINT) {
    const number = readVarint(bytes, cursor);
    return field && plain(field.type, number);
  }
  const start = skip(cursor, lengthOf(bytes, cursor, wire));
  if (field === undefined) return undefined;
  const { type } = field;
  if (typeof type === "function") return type().decode(bytes, start, cursor.at);
  return type === "string" ? bytes.toString("utf8", start, cursor.at) : bytes.subarray(start, cursor.at);
}

function isNumber(type: Type): boolean {
  return typeof type === "object" || type === "int64" || type === "bool";
}

function lengthOf(bytes: Buffer, cursor: Cursor, wire: number): number {
  if (wire === DELIMITED) return Number(readVarint(bytes, cursor));
  if (wire === FIXED64) return 8;
  if (wire === FIXED32) return 4;
  throw new Error("a field of a kind that does not exist");
}

/** Goes on by so many bytes; where it was. */
function skip(cursor: Cursor, length: number): number {
  const start = cursor.at;
  if (length > cursor.to - start) throw new Error("a message that is cut off");
  cursor.at += length;
  return start;
}

function plain(type: Type, number: number | bigint): unknown {
  if (type === "bool") return number !== 0;
  if (typeof type === "object") return type[Number(number)];
  return `${typeof number === "bigint" ? BigInt.asIntN(64, number) : number}`;
}

/** A number where seven groups of bits are enough; bigints take a hundred times longer. */
function readVarint(bytes: Buffer, cursor: Cursor, left: number = LONGEST): number | bigint {
  if (cursor.at < cursor.to && bytes[cursor.at]! < 0x80) return bytes[cursor.at++]!; // most are small
  let value = 0;
  let byte = 0x80;
  for (let n = 0, factor = 1; byte & 0x80 && n < left && factor < WIDE; n++, factor *= 128) {
    byte = bytes[skip(cursor, 1)]!;
    value += (byte & 0x7f) * factor;
  }
  if (!(byte & 0x80)) return value;
  if (left < LONGEST) throw new Error("a number that is too long");
  return BigInt(value) | BigInt(readVarint(bytes, cursor, left - 7)) << 49n;
}

function defaultOf(type: Exclude<Type, () => Message>): unknown {
  if (type === "bytes") return Buffer.alloc(0);
  if (type === "bool") return false;
  return type === "string" ? "" : type === "int64" ? "0" : type[0];
}
