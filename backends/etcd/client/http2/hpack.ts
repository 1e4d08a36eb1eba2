/**
 * Header blocks of HTTP/2 (RFC 7541), each to be read by itself: a server that has been told to keep
 * no dynamic table (`SETTINGS_HEADER_TABLE_SIZE` 0) refers to nothing that came before.
 */
import { Buffer } from "node:buffer";

/** Appendix A: what has a number of its own, from 1. */
const STATIC: readonly (readonly [name: string, value: string])[] = `
:authority|:method GET|:method POST|:path /|:path /index.html|:scheme http|:scheme https|:status 200
:status 204|:status 206|:status 304|:status 400|:status 404|:status 500|accept-charset
accept-encoding gzip, deflate|accept-language|accept-ranges|accept|access-control-allow-origin|age
allow|authorization|cache-control|content-disposition|content-encoding|content-language
content-length|content-location|content-range|content-type|cookie|date|etag|expect|expires|from|host
if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|link|location
max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|server
set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate
`.trim().split(/[\n|]/).map((entry) => {
  const at = entry.indexOf(" ");
  return at < 0 ? [entry, ""] : [entry.slice(0, at), entry.slice(at + 1)];
});

/**
 * Appendix B: how many bits each byte's code has, less 5, in base 36. The codes follow from that: they
 * are given out in the order of their lengths, and of the bytes. The end of a string is 30 ones.
 */
const LENGTHS = "8innnnnnnjpnnpnnnnnnnnpnnnnnnnnn1557813655363111000111111123a17581222222222222222222222" +
  "23238e891a01010111022111012100122222a698nfhffhhhihiiiiijijjhijiiiighihiijhgfhhiigihhjghiigghgihiifhhhih" +
  "hillfehihklllmmljkeglmmlmjggllnmmmfjfghggihhkkjjlilmllmmmmmnmmmmml";

/** What bits mean, by a one in front of them. */
const CODES: ReadonlyMap<number, number> = codes();

function codes(): Map<number, number> {
  const bits = [...LENGTHS].map((length) => parseInt(length, 36) + 5);
  const bytes = bits.map((_, byte) => byte).sort((a, b) => bits[a]! - bits[b]! || a - b);
  const found = new Map<number, number>();
  let code = 0;
  let length = bits[bytes[0]!]!;
  for (const byte of bytes) {
    code *= 2 ** (bits[byte]! - length);
    length = bits[byte]!;
    found.set(2 ** length + code++, byte);
  }
  return found;
}

/**
 * What a request's block begins with: that we refer to nothing before it either. A server that keeps a
 * smaller table than usual wants to be told (section 4.2).
 */
export const NO_TABLE: Buffer = Buffer.of(0x20);

/** Writes a block: ASCII, names in lower case; literals that the server does not have to remember. */
export function encode(fields: Readonly<Record<string, string>>): Buffer {
  let block = "";
  for (const name in fields) block += `\0${text(name)}${text(fields[name]!)}`;
  return Buffer.from(block, "latin1");
}

function text(value: string): string {
  const full = 127;
  if (value.length < full) return String.fromCharCode(value.length) + value;
  // A number that does not fit takes more bytes (section 5.1).
  let length = String.fromCharCode(full);
  let rest = value.length - full;
  for (; rest > 127; rest >>>= 7) length += String.fromCharCode(rest & 127 | 128);
  return length + String.fromCharCode(rest) + value;
}

/**
 * Reads a block.
 *
 * @throws {Error} If it is none, or refers to a block before it.
 */
export function decode(block: Buffer): Record<string, string> {
  const reader = new Reader(block);
  const fields: Record<string, string> = Object.create(null);
  while (reader.more) {
    const first = reader.peek;
    if (first >= 0x80) {
      const [name, value] = entry(reader.integer(7));
      fields[name] = value;
    } else if (first >= 0x20 && first < 0x40) {
      if (reader.integer(5) !== 0) throw new Error("the server keeps a header table that it was told not to");
    } else {
      const index = reader.integer(first >= 0x40 ? 6 : 4);
      const name = index === 0 ? reader.text() : entry(index)[0];
      fields[name] = reader.text();
    }
  }
  return fields;
}

function entry(index: number): readonly [name: string, value: string] {
  const found = STATIC[index - 1];
  if (found === undefined) throw new Error("the server refers to a header that it has not sent");
  return found;
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get more(): boolean {
    return this.#at < this.#bytes.length;
  }

  get peek(): number {
    return this.#bytes[this.#at]!;
  }

  integer(bits: number): number {
    const full = 2 ** bits - 1;
    let value = this.#byte() & full;
    if (value < full) return value;
    for (let scale = 1;; scale *= 128) {
      const byte = this.#byte();
      value += (byte & 127) * scale;
      if (scale > 2 ** 21) throw new Error("the server's headers have a number that cannot be");
      if (byte < 128) return value;
    }
  }

  text(): string {
    const coded = this.peek >= 0x80;
    const length = this.integer(7);
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new Error("the server's headers end too early");
    const bytes = this.#bytes.subarray(this.#at, this.#at = end);
    return (coded ? decoded(bytes) : bytes).toString();
  }

  #byte(): number {
    if (!this.more) throw new Error("the server's headers end too early");
    return this.#bytes[this.#at++]!;
  }
}

function decoded(bytes: Buffer): Buffer {
  const found: number[] = [];
  let code = 1;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + (byte >> bit & 1);
      const meant = CODES.get(code);
      if (meant !== undefined) {
        found.push(meant);
        code = 1;
      } else if (code >= 2 ** 31) throw new Error("the server's headers are not coded as HTTP/2 says");
    }
  }
  // What is left fills up the last byte: less than eight ones.
  if (code > 0xff || (code & code + 1) !== 0) throw new Error("the server's headers end within a letter");
  return Buffer.from(found);
}
