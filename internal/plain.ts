/**
 * What JSON and the console show of the package's objects. Their fields are private or inherited, and a token is
 * a BigInt, at which `JSON.stringify` throws.
 */
import type { Json } from "./options.ts";

/** Errors of ours: what they have of their own is fit to be shown. */
export const ours: WeakSet<Error> = new WeakSet();

/** How many errors deep the causes are followed. */
const CAUSES = 5;

/**
 * A value as JSON can say it: a BigInt as a string, an error as its name, code, message and cause. Nothing else of
 * an error that a client made: who knows what it carries.
 */
export function plain(value: unknown, causes: number = CAUSES): Json | undefined {
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number" && !Number.isFinite(value)) return undefined;
  if (typeof value !== "object" || value === null) return value as Json | undefined;
  if (value instanceof Error) return plainError(value, causes);
  if ("toJSON" in value && typeof value.toJSON === "function") return value.toJSON();
  if (Array.isArray(value)) return value.map((item) => plain(item, causes) ?? null);
  return plainFields(Object.entries(value), causes);
}

/** Those of the fields that JSON can say. */
export function plainFields(fields: Iterable<readonly [string, unknown]>, causes: number = CAUSES): Json {
  const said = [...fields].flatMap(([name, value]) => {
    const json = plain(value, causes);
    return json === undefined ? [] : [[name, json] as const];
  });
  return Object.fromEntries(said);
}

/** An error of ours also by what it has of its own. */
export function plainError(error: Error, causes: number = CAUSES): Json {
  const { name, message, cause } = error;
  const { code } = error as { code?: unknown };
  const own = ours.has(error) ? { ...error } : {};
  const told = cause instanceof Error || typeof cause === "string";
  const errors = error instanceof AggregateError ? error.errors : undefined;
  return plainFields(
    Object.entries({
      name,
      ...(typeof code === "string" && { code }),
      message,
      ...own,
      ...(causes > 0 && { ...(told && { cause }), errors }),
    }),
    causes - 1,
  );
}

/** The symbols by which the consoles ask an object to show itself: that of Node and Bun, and Deno's own. */
const SYMBOLS = [Symbol.for("nodejs.util.inspect.custom"), Symbol.for("Deno.customInspect")];

type Inspect = (value: unknown, options?: unknown) => string;

/** Has the consoles of all runtimes show the objects of a class by what `fields` finds worth while. */
export function showAs<T extends object>(prototype: T, fields: (it: T) => object): void {
  // Node and Bun give (depth, options, inspect), Deno (inspect, options).
  function show(this: T, ...args: unknown[]): string {
    const { name } = this.constructor;
    const inspect = args.find((arg) => typeof arg === "function") as Inspect | undefined;
    const depth = typeof args[0] === "number" ? args[0] : undefined;
    if (inspect === undefined || (depth !== undefined && depth < 0)) return `[${name}]`;
    const options = depth === undefined ? args[1] : { ...args[1] as object, depth };
    return `${name} ${inspect(fields(this), options)}`;
  }
  for (const symbol of SYMBOLS) {
    Object.defineProperty(prototype, symbol, { value: show, configurable: true, writable: true });
  }
}
