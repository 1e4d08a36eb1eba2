import type { BackendError } from "../../../internal/errors.ts";
import { refused } from "../../shared/errors.ts";
import { type Endpoint, nameOf } from "./endpoint.ts";

/** Milliseconds of rest after a 429 that names none, at first and at most. */
const FIRST = 100;
const MOST = 1_000;

/** Milliseconds of rest at most that an agent may ask for. */
const LONGEST = 60_000;

/** Agents that have answered 429 (too many requests), and until when each is left alone. */
export class Rests {
  readonly #rests = new Map<string, { readonly until: number; readonly times: number }>();

  /** The agent has answered 429. `asked`: milliseconds of rest that the agent asks for, if any. */
  begin(at: Endpoint, asked: number | undefined): void {
    const name = nameOf(at);
    const times = this.#rests.get(name)?.times ?? 0;
    const ms = Math.min(asked ?? Math.min(FIRST * 2 ** times, MOST), LONGEST);
    this.#rests.set(name, { until: performance.now() + ms, times: times + 1 });
  }

  /** The agent has answered something else: if the rest is over, the next 429 is again a first one. */
  end(at: Endpoint): void {
    if (this.#rests.size > 0 && this.#left(at) <= 0) this.#rests.delete(nameOf(at));
  }

  /** The error to give in place of a request while the agent rests. */
  error(at: Endpoint): BackendError | undefined {
    const left = this.#rests.size > 0 ? this.#left(at) : 0;
    if (left <= 0) return undefined;
    return refused(
      `ask the Consul agent at ${at.host}:${at.port}`,
      `it has answered 429 (too many requests) and is left alone for another ${Math.ceil(left)} ms`,
    );
  }

  #left(at: Endpoint): number {
    return (this.#rests.get(nameOf(at))?.until ?? 0) - performance.now();
  }
}
