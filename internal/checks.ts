/** What options are checked with. No value is in an error of these: it may be a secret. */
import { closest } from "./near_misses.ts";

/** What a value is. */
export type Kind = "string" | "number" | "boolean" | "function" | "object" | "array";

/** What the options of something are called, and what each may be. */
export type Kinds<Options extends object> = Readonly<Record<keyof Options & string, readonly Kind[]>>;

/**
 * Checks that there are no options but these. `hint`: what somebody may have meant by another one.
 *
 * @throws {TypeError}
 */
export function checkNames(
  of: string,
  options: object,
  known: readonly string[],
  hint: (name: string, value: unknown, known: readonly string[]) => string | undefined = closestTo,
): void {
  for (const name in options) {
    if (known.includes(name)) continue;
    const meant = hint(name, (options as Record<string, unknown>)[name], known);
    const said = `Unknown option ${JSON.stringify(name)} of ${of}${meant === undefined ? "" : ` (${meant})`}`;
    throw new TypeError(`${said}: expected ${known.join(", ")}`);
  }
}

function closestTo(name: string, _: unknown, known: readonly string[]): string | undefined {
  return closest(name, known);
}

/**
 * Checks that options are an object, with no others than these, each what it may be or `undefined`.
 *
 * @throws {TypeError}
 */
export function checkKinds<O extends object>(
  of: string,
  options: unknown,
  kinds: Kinds<O>,
): void {
  if (!isObject(options)) {
    throw new TypeError(`Expected the options of ${of} to be an object, got ${kindOf(options)}`);
  }
  checkNames(of, options, Object.keys(kinds));
  for (const name in options) {
    const value = (options as Record<string, unknown>)[name];
    const expected: readonly string[] = kinds[name as keyof Kinds<O>];
    if (value === undefined || expected.includes(kindOf(value))) continue;
    throw new TypeError(`Expected "${name}" of ${of} to be ${expected.join(" or ")}, got ${kindOf(value)}`);
  }
}

/**
 * Checks a TCP port.
 *
 * @throws {RangeError}
 */
export function checkPort(of: string, port: number): number {
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  throw new RangeError(`Expected the port of ${of} to be 1 to 65535, got ${port}`);
}

/**
 * What a part of a URL says; `of` is what the URL is called.
 *
 * @throws {TypeError} Without the text, which may be a part of a password.
 */
export function decodeIn(of: string, text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw notEscaped(of);
  }
}

/**
 * Checks what stands before the last `@` of a URL: of `user:password@host1,user:password@host2` all but `host2` would be
 * taken for a password, and of `host1,user:password@host2` for a user.
 *
 * @throws {TypeError} Without the text, which may be a part of a password.
 */
export function checkUserinfo(of: string, text: string): string {
  if (!/@.*,|^(\[[^\]]*\]|[^:,]*)(:\d*)?,/s.test(text)) return text;
  throw new TypeError(
    `Cannot read the ${of}: user and password stand once, before the first host, ` +
      "and are escaped (@ as %40, the comma as %2C)",
  );
}

/** For a URL with a character in it that means something else there. */
export function notEscaped(of: string): TypeError {
  return new TypeError(
    `Cannot read the ${of}: a user name or password with special characters must be escaped ` +
      "(% as %25, # as %23, / as %2F, ? as %3F, @ as %40), best by encodeURIComponent",
  );
}

/** Whether it can have options: neither `null` nor an array. */
export function isObject(value: unknown): value is object {
  return kindOf(value) === "object";
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}
