import type { Harness } from "./harness.ts";
import type { Scene } from "./scene.ts";

/** One case, and what it needs of the harness. */
export interface Play {
  /** The case itself. */
  readonly run: (scene: Scene) => Promise<void>;
  /** Whether the harness can do what the case asks of it. @default {always} */
  readonly needs?: (harness: Harness) => boolean;
}

/** Cases that belong together. */
export interface Group {
  /** As in {@linkcode Case.group}. */
  readonly name: string;
  /** By their names. */
  readonly cases: Readonly<Record<string, Play>>;
}

/** A group of cases; `needs` is what each of them asks of the harness. */
export function group(name: string, cases: Record<string, Play["run"]>, needs?: Play["needs"]): Group {
  return {
    name,
    cases: Object.fromEntries(Object.entries(cases).map(([name, run]) => [name, { run, needs }])),
  };
}
