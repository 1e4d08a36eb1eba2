import type { Distribution } from "./statistics.ts";

/** All that a run has found. */
export interface Report {
  readonly taken: Taken;
  readonly series: readonly Series[];
  readonly figures: readonly Figure[];
  /** What could not be measured, and why. */
  readonly remarks?: readonly string[];
}

/** When and where. */
export interface Taken {
  readonly date: string;
  /** The processor, and how many cores. */
  readonly machine: string;
  /** Of the runtimes and the servers. */
  readonly versions: Readonly<Record<string, string>>;
}

/** What one subject did in one scenario. */
export interface Series {
  readonly scenario:
    | "uncontended"
    | "fresh"
    | "flight"
    | "handover"
    | "crowd"
    | "held"
    | "takeover"
    | "keys"
    | "readers"
    | "import";
  readonly store: string;
  /** "1 ms" is half a millisecond each way. */
  readonly network: "loopback" | "1 ms";
  /** Or the language. */
  readonly runtime: string;
  readonly subject: string;
  readonly kind: "ours" | "floor" | "peer";
  /** Waiters, cycles in flight, locks held, keys; of a takeover the ttl, in milliseconds. */
  readonly size?: number;
  /** Milliseconds. */
  readonly times?: Distribution;
  /** A second. */
  readonly rate?: number;
  /**
   * Of each cycle, hand-over or period of renewals: `calls` that the store has answered, and milliseconds of
   * processor time of the `server` and of the `client`. Bytes of `heap` for each lock. `disorder` of a crowd is 0
   * where it is first come, first served, and 1 in a lottery; `idle` is the percentage of a core that it takes, client
   * and server, while it only waits. Of the renewals of many: milliseconds of the `longest` call in the store, and of
   * the longest `standstill` of the client.
   */
  readonly values?: Readonly<Record<string, number>>;
  /** Of a crowd: milliseconds from the first release until each had it, in the order of arrival; -1 is never. */
  readonly waits?: readonly number[];
}

/** A ratio or a rate, with the bound that it is held to. */
export interface Figure {
  readonly name: string;
  readonly store: string;
  readonly what: string;
  readonly value: number;
  /** "x" is a ratio. */
  readonly unit: "x" | "ms" | "/s" | "%" | "calls" | "B";
  readonly bound?: { readonly most: number } | { readonly least: number };
  /** Why it is not kept, where it is not. */
  readonly why?: string;
}
