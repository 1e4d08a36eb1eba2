/**
 * How a process that is measured is spoken to: a line of JSON for each order on its standard input, lines of JSON as
 * answers on its standard output, each with the order's number. That is all a subject in another language needs.
 *
 * Times are milliseconds of that process's own monotonic clock, with fractions; `clock` tells what it shows now.
 */
export interface Orders {
  /** What the clock shows. */
  clock: { readonly order: object; readonly done: number };
  /** Acquires and releases one lock so many times, one after the other; milliseconds of each. */
  cycles: { readonly order: { readonly n: number; readonly key: Key }; readonly done: number[] };
  /** So many cycles, `many` at a time, on distinct keys; milliseconds of all together. */
  flight: { readonly order: { readonly n: number; readonly many: number }; readonly done: number };
  /** Acquires; says "waiting" when it stands in line. When it had it. */
  take: { readonly order: { readonly key: string }; readonly done: number };
  /** Releases what was taken. From before the release until it has been confirmed. */
  give: { readonly order: { readonly key: string }; readonly done: readonly [from: number, to: number] };
  /** So many wait for one lock, and each passes it on at once; says "waiting" when all stand in line. When each had it. */
  crowd: { readonly order: { readonly key: string; readonly many: number }; readonly done: number[] };
  /** Takes so many locks, of keys that begin so, and keeps them. */
  hold: { readonly order: { readonly many: number; readonly prefix: string }; readonly done: null };
  /** Releases what `hold` has taken. */
  drop: { readonly order: object; readonly done: null };
  /** Milliseconds for which the process stood still, at most, since it was asked last. */
  standstill: { readonly order: object; readonly done: number };
  /** Bytes in use after a garbage collection; 0 where that cannot be known. */
  heap: { readonly order: object; readonly done: number };
}

/** The same key each time, or a new one that begins so: told by a star at its end. */
export type Key = string;

/** The name of an order. */
export type Verb = keyof Orders;

/** A line to the process. */
export type Order = { [V in Verb]: { readonly id: number; readonly do: V } & Orders[V]["order"] }[Verb];

/** A line from it. */
export type Answer =
  | { readonly id: number; readonly say: "waiting"; readonly at: number }
  | { readonly id: number; readonly done: unknown }
  | { readonly id: number; readonly failed: string };
