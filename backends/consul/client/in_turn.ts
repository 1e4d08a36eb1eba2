import { BackendError } from "../../../internal/errors.ts";
import { refused } from "../../shared/errors.ts";
import type { Agents } from "./agents.ts";
import { type Endpoint, nameOf } from "./endpoint.ts";

/** How many agents can be asked in one call that are all silent. */
const TURNS = 6;

/** Milliseconds that each agent has at least, before the next one is asked too. */
const SHORTEST = 50;

/** One question to several agents. */
export interface Inquiry<T> {
  readonly agents: Agents;
  /** Ends the whole. */
  readonly signal: AbortSignal;
  /** When there has to be an answer, on the clock of `performance.now()`. */
  readonly until: number;
  ask(at: Endpoint, signal: AbortSignal): Promise<T>;
  /** Told when a copy of the question is left behind, of which it is unknown what became. */
  doubt?(): void;
}

/**
 * The first answer. An agent that fails is followed by the next one at once. A silent one is followed after a
 * part of the time there is, and listened to all the same: that agent may only be slow.
 */
export function inTurn<T>({ agents, signal, until, ask, doubt }: Inquiry<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const patience = Math.max((until - performance.now()) / TURNS, SHORTEST);
  const tried = new Set<string>();
  /** The turns under way; without an agent as long as the locator is asked. */
  const open = new Map<AbortController, Endpoint | undefined>();
  let timer: ReturnType<typeof setTimeout>;
  let over = false;
  let reason: unknown;

  const end = (): void => {
    over = true;
    clearTimeout(timer);
    signal.removeEventListener("abort", giveUp);
    for (const [controller, at] of open) {
      if (at !== undefined) doubt?.();
      controller.abort(signal.aborted ? signal.reason : new Error("another agent has answered"));
    }
  };
  const giveUp = (): void => {
    end();
    reject(signal.reason);
  };
  const next = (): void => {
    clearTimeout(timer);
    timer = setTimeout(silent, patience);
    void turn();
  };
  const silent = (): void => {
    for (const at of open.values()) if (at !== undefined) agents.failed(at);
    agents.leave(); // the silent one may be the locator
    next();
  };
  const turn = async (): Promise<void> => {
    const controller = new AbortController();
    open.set(controller, undefined);
    let failed: { retryable: boolean } | undefined;
    try {
      const at = await agents.find(tried);
      if (over) return;
      if (at !== undefined) {
        tried.add(nameOf(at));
        open.set(controller, at);
        const answer = await ask(at, controller.signal);
        if (over) return;
        open.delete(controller);
        end();
        return resolve(answer);
      }
    } catch (error) {
      if (over) return;
      reason = error;
      failed = { retryable: !(error instanceof BackendError) || error.retryable };
    }
    const asked = open.get(controller) !== undefined;
    open.delete(controller);
    if (asked) doubt?.();
    if (failed?.retryable === true && asked) return next();
    // The locator has failed, or names no other agent.
    if (failed?.retryable === false || open.size === 0) {
      end();
      reject(reason ?? refused("find a Consul agent", "the locator names none"));
    }
  };
  if (signal.aborted) return Promise.reject(signal.reason);
  signal.addEventListener("abort", giveUp, { once: true });
  next();
  return promise;
}
