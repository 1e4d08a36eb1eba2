/** A promise that was not kept. */
export class ConformanceError extends Error {
  /** For whoever prints it. */
  override readonly name = "ConformanceError";
}

/** Longer than anything takes on a busy machine; nothing is concluded from how long a thing took. */
export const PATIENCE = 30_000;

/** Fails. */
export function fail(message: string, cause?: unknown): never {
  throw new ConformanceError(message, cause === undefined ? undefined : { cause });
}

/** Checks a condition. */
export function ok(condition: unknown, message: string): asserts condition {
  if (!condition) fail(message);
}

/** Compares two values, deeply if they are arrays or plain objects. */
export function equal(actual: unknown, expected: unknown, message: string): void {
  if (Object.is(actual, expected)) return;
  const [seen, wanted] = [show(actual), show(expected)];
  if (typeof expected !== "object" || seen !== wanted) fail(`${message}: expected ${wanted}, saw ${seen}`);
}

/** Readable, and the same for equal data whatever the order of its properties. */
export function show(value: unknown): string {
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (Array.isArray(value)) return `[${value.map(show).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(([, member]) => member !== undefined).sort();
    return `{${entries.map(([name, member]) => `${name}: ${show(member)}`).join(", ")}}`;
  }
  return typeof value === "bigint" ? `${value}n` : JSON.stringify(value) ?? String(value);
}

/** What an error must be. */
export interface Expected {
  /** Its `name`. */
  readonly name?: string;
  /** Its `code`. */
  readonly code?: string;
  /** Its `why`. */
  readonly why?: string;
  /** The very object. */
  readonly is?: unknown;
  /** What its message must say. */
  readonly says?: string;
}

/** Waits for a rejection and checks it. */
export async function rejects(promise: Promise<unknown>, expected: Expected, what: string): Promise<void> {
  const error = await within(
    promise.then(
      (value) => fail(`${what}: resolved with ${show(value)} instead of rejecting`),
      (error) => error,
    ),
    `${what}: to be rejected`,
  );
  if (error instanceof ConformanceError) throw error;
  matches(error, expected, what);
}

/** Checks an error. */
export function matches(error: unknown, expected: Expected, what: string): void {
  const seen = error as Partial<Record<string, unknown>>;
  if ("is" in expected && error !== expected.is) {
    fail(`${what}: not the error expected but ${show(error)}`, error);
  }
  for (const property of ["name", "code", "why"] as const) {
    if (expected[property] !== undefined && seen?.[property] !== expected[property]) {
      fail(`${what}: expected ${property} ${show(expected[property])}, saw ${show(error)}`, error);
    }
  }
  if (expected.says !== undefined && !String(seen?.message).includes(expected.says)) {
    fail(`${what}: the message does not say ${show(expected.says)}: ${show(error)}`, error);
  }
}

/** Waits with a generous bound, which by itself keeps no process from its end. */
export async function within<T>(promise: Promise<T>, what: string, patience: number = PATIENCE): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new ConformanceError(`waited ${patience} ms in vain for ${what}`)),
      patience,
    );
    (timer as { unref?(): void }).unref?.();
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits for a condition of the store that no event announces. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  patience: number = PATIENCE,
): Promise<void> {
  const end = performance.now() + patience;
  while (!await holds()) {
    if (performance.now() > end) fail(`waited ${patience} ms in vain until ${what}`);
    await pass(20);
  }
}

/** Lets time pass: only for cases in which the passing of time is what is checked. */
export function pass(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
