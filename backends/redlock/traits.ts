import type { Traits } from "../../internal/backend.ts";

/**
 * What Redlock promises, with this `maxTtl` in milliseconds.
 *
 * @throws {RangeError} If `maxTtl` is not between 100 ms and a day.
 */
export function redlockTraits(maxTtl: number = 30_000): Traits {
  if (!(maxTtl >= 100 && maxTtl <= 86_400_000)) {
    throw new RangeError(`Cannot use maxTtl ${maxTtl}: milliseconds from 100 to 86400000 are expected`);
  }
  return {
    fencing: "clock",
    order: "none",
    inOrder: true,
    semaphore: false,
    minTtl: 100,
    maxTtl,
    timer: "claim",
    settle: 0,
  };
}
