import type { Row } from "./claims.ts";
import type { Ending } from "./link.ts";
import type { Peers } from "./peers.ts";
import type { Place } from "./session.ts";

/** A process that takes connections and breaks them this often is left alone. */
const BREAKS = 3;

/**
 * Which processes can be waited for, while one claim waits. For one that cannot, the claim waits
 * until the core asks again: when the claim it waits for expires.
 */
export class Reach {
  /** How often the connection to a process has broken; `Infinity` if there is none to be had. */
  readonly #breaks = new Map<string, number>();

  /**
   * Waits until one of the claims is gone, something has happened to our own, or nobody waits any
   * more. Resolves to the addresses of processes that have been found to have ended.
   */
  async firstEnding(
    place: Place,
    rows: readonly Row[],
    peers: Peers,
    signal: AbortSignal,
  ): Promise<string[]> {
    const endings: [address: string, ending: Ending][] = [];
    const cancel: (() => void)[] = [];
    await new Promise<void>((resolve) => {
      if (signal.aborted) return resolve();
      place.wake = resolve;
      const abandon = () => resolve();
      signal.addEventListener("abort", abandon);
      cancel.push(() => signal.removeEventListener("abort", abandon));
      for (const { session: address, seq } of rows) {
        if ((this.#breaks.get(address) ?? 0) >= BREAKS) continue;
        cancel.push(peers.wait(address, seq, (ending) => {
          endings.push([address, ending]);
          resolve();
        }));
      }
    });
    place.wake = undefined;
    for (const each of cancel) each();
    for (const [address, ending] of endings) {
      if (ending === "ended") this.#breaks.set(address, (this.#breaks.get(address) ?? 0) + 1);
      if (ending === "unreachable") this.#breaks.set(address, Infinity);
    }
    return endings.filter(([, ending]) => ending === "dead").map(([address]) => address);
  }
}
