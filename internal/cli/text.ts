/** Text of others on a terminal: keys and metadata, in which anything may stand, in lines of a known width. */
import widthOf from "fast-string-truncated-width";

/** What moves a cursor, hides, reorders, or is no character at all. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;

const SHORT: Readonly<Record<string, string>> = { "\r": "\\r", "\t": "\\t" };

/** The text as it stands in a line: what a terminal would act on, or not show, is written as in JavaScript. */
export function visible(text: string): string {
  return safe(text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n"));
}

/** Lines with nothing in them that a terminal would act on. */
export function safe(text: string): string {
  return text.replace(UNSEEN, (character) => {
    if (character === "\n") return character;
    const hex = character.codePointAt(0)!.toString(16);
    return SHORT[character] ?? (hex.length > 4 ? `\\u{${hex}}` : `\\u${hex.padStart(4, "0")}`);
  });
}

/** A key in a sentence. */
export function quoted(key: string): string {
  return `"${visible(key).replaceAll('"', '\\"')}"`;
}

/** How many columns it takes. */
export function columnsOf(text: string): number {
  return widthOf(text).width;
}

/** At most so many columns of it, with a sign if there is more. */
export function cut(text: string, columns: number): string {
  const { index, truncated, ellipsed } = widthOf(text, { limit: columns, ellipsis: "…", ellipsisWidth: 1 });
  return truncated ? text.slice(0, index) + (ellipsed ? "…" : "") : text;
}

/** Lines of cells, under a head, that fit so many columns: the widest cells give way. All text is visible. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  columns: number,
): string[] {
  const lines = [head, ...rows];
  const widths = head.map((_, at) => Math.max(...lines.map((line) => columnsOf(line[at]!))));
  const gaps = 2 * (head.length - 1);
  for (let over = widths.reduce((a, b) => a + b, gaps) - columns; over > 0; over--) {
    widths[widths.indexOf(Math.max(...widths))]!--;
  }
  return lines.map((line) =>
    line.map((cell, at) => {
      const text = cut(cell, widths[at]!);
      return text + " ".repeat(widths[at]! - columnsOf(text));
    }).join("  ").trimEnd()
  );
}
