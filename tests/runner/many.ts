import { type RuntimeName, thisRuntime } from "../servers/script.ts";

/**
 * Ten thousand on one of the runtimes, a tenth of that on the others: what a store is asked, and what is left in
 * it, is the code's doing and not the runtime's, and takes its time.
 */
export function many(on: RuntimeName): number {
  return thisRuntime === on ? 10_000 : 1_000;
}
