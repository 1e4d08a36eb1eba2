import type { Runtime } from "../runner/runtimes.ts";
import { type Fault, faults, promised } from "./faults.ts";
import type { Ground, Store } from "./grounds.ts";
import { type Result, trial } from "./trial.ts";

/** A cell of the matrix. */
export interface Cell {
  readonly fault: Fault;
  readonly runtime: Runtime;
}

/** Which faults a store can have. */
export function applicable(store: Store): Fault[] {
  return faults.filter((fault) => promised(fault, store) !== undefined);
}

/** Tries all cells of a store, those that share a server side by side. */
export async function run(store: Store, cells: readonly Cell[]): Promise<(Result | Failure)[]> {
  const results: (Result | Failure)[] = [];
  const attempt = async ({ fault, runtime }: Cell, ground: Ground) => {
    const failed = (error: unknown) => ({
      store: store.name,
      fault: fault.name,
      runtime: runtime.name,
      error,
    });
    results.push(await trial(store, fault, ground, runtime).catch(failed));
  };
  const shared = cells.filter(({ fault }) => fault.on === "shared");
  if (shared.length > 0) {
    await using ground = await store.shared();
    const rest = shared.values();
    await Promise.all(Array.from({ length: SIDE_BY_SIDE }, async () => {
      for (const cell of rest) await attempt(cell, ground);
    }));
  }
  for (const cell of cells.filter(({ fault }) => fault.on !== "shared")) {
    await using ground = await store[cell.fault.on]!();
    await attempt(cell, ground);
  }
  return results;
}

/** A promise that was broken. */
export interface Failure {
  readonly store: string;
  readonly fault: string;
  readonly runtime: string;
  readonly error: unknown;
}

/** Trials mostly wait. */
const SIDE_BY_SIDE = 4;
