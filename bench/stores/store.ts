import type { Program } from "../harness/runner.ts";

/** Somebody who locks in a store: by a module of `subjects/`, or a program in another language. */
export interface Contestant {
  /** As the report calls it. */
  readonly name: string;
  readonly kind: "ours" | "floor" | "peer";
  /** Of `subjects/`. */
  readonly module?: string;
  /** Of another language; `undefined` where this machine cannot build or run it. */
  readonly program?: (address: string, ttl: number) => Promise<Program | undefined>;
  /** The language of that, for the report. */
  readonly language?: string;
  /** It grants no lock: it wakes another process, for hand-overs only. */
  readonly signal?: boolean;
  /** It keeps nobody out: for cycles only. */
  readonly bare?: boolean;
  /** It renews what is held. */
  readonly renews?: boolean;
  /** It cannot wait, or takes so long with many that to measure it says nothing: the most that may wait. */
  readonly crowd?: number;
}

/** A store that runs. */
export interface Running extends AsyncDisposable {
  /** For subjects. */
  readonly address: string;
  /** The same, half a millisecond away; where it cannot be, as for a file, `undefined`. */
  far?(ms: number): Promise<{ readonly address: string } & AsyncDisposable>;
  /** Of its server. */
  version?(): Promise<string>;
  /** Its processes. */
  readonly pids: readonly number[];
  /** Calls that it has answered so far, by its own count. */
  calls?(): Promise<number>;
  /** Milliseconds that it took for the longest of its calls, by its own log, while something goes on. */
  longest?(during: () => Promise<unknown>): Promise<number>;
}

/** A store that can be measured. */
export interface Store {
  readonly name: string;
  readonly contestants: readonly Contestant[];
  /** Milliseconds: the ttl of a holder that is killed; the least that the store can do, but two seconds. */
  readonly shortTtl: number;
  /** Milliseconds: a ttl in which thousands are served. */
  readonly longTtl: number;
  /** It is within one process: nothing is handed from one to another. */
  readonly alone?: boolean;
  start(): Promise<Running>;
}
