/**
 * Any string is a key on any store. The encoding is injective, leaves plain names readable, and
 * uses only characters that mean nothing to a store, a path or a URL: `A-Z a-z 0-9 _ . : @ + = , -`,
 * `%` before two hex digits of the WTF-8 form (so lone surrogates have one too), and `%` alone for
 * the empty string. A component is never "." or "..", which paths and URLs would resolve.
 */

const PLAIN = /^(?!\.{1,2}$)[A-Za-z0-9_.:@+=,-]+$/;
const SPECIAL = /[^A-Za-z0-9_.:@+=,-]/gu;

/** Encodes one component. */
export function encodePart(text: string): string {
  if (PLAIN.test(text)) return text;
  if (text === "") return "%";
  if (text === "." || text === "..") return text.replaceAll(".", "%2E");
  return text.replace(SPECIAL, (character) => wtf8(character.codePointAt(0)!).map(escape).join(""));
}

/** `prefix/key`: no two pairs meet. */
export function encodeKey(prefix: string, key: string): string {
  return `${encodePart(prefix)}/${encodePart(key)}`;
}

/** The inverse of {@linkcode encodePart}. */
export function decodePart(part: string): string {
  if (part === "%") return "";
  return part.replace(/(?:%[0-9A-F]{2})+/g, (run) => {
    const bytes = run.slice(1).split("%").map((hex) => parseInt(hex, 16));
    let text = "";
    for (let at = 0; at < bytes.length;) {
      const lead = bytes[at++]!;
      const more = lead < 0x80 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
      let point = more === 0 ? lead : lead & (0x3f >> more);
      for (let n = 0; n < more; n++) point = (point << 6) | (bytes[at++]! & 0x3f);
      text += String.fromCodePoint(point);
    }
    return text;
  });
}

/** The key of an encoded `prefix/key`. */
export function decodeKey(encoded: string): string {
  return decodePart(encoded.slice(encoded.indexOf("/") + 1));
}

function escape(byte: number): string {
  return `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
}

/** UTF-8, generalised to lone surrogates. */
function wtf8(point: number): number[] {
  if (point < 0x80) return [point];
  if (point < 0x800) return [0xc0 | point >> 6, 0x80 | point & 0x3f];
  if (point < 0x10000) return [0xe0 | point >> 12, 0x80 | point >> 6 & 0x3f, 0x80 | point & 0x3f];
  return [0xf0 | point >> 18, 0x80 | point >> 12 & 0x3f, 0x80 | point >> 6 & 0x3f, 0x80 | point & 0x3f];
}
