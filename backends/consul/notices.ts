import type { ConsulApi } from "./client/api.ts";
import type { Bounds } from "./client/http.ts";
import { follow } from "./client/follow.ts";

/** Milliseconds that one question may stand open. */
const WAIT = 60_000;

/** What a session is told about itself. */
export interface Hearers {
  /** A thief has taken the claim out. */
  stolen(id: string): void;
  /** The session is gone. */
  ended(): void;
}

/**
 * Listens at the session's own corner of the store, where thieves leave their notices and where
 * everything vanishes with the session: a loss is known at once rather than at the next renewal.
 */
export class Notices {
  readonly #api: ConsulApi;
  readonly #session: string;
  readonly #home: string;
  readonly #hearers: Hearers;
  readonly #stop = new AbortController();
  #listening = false;

  constructor(api: ConsulApi, session: string, home: string, hearers: Hearers) {
    this.#api = api;
    this.#session = session;
    this.#home = home;
    this.#hearers = hearers;
  }

  /** Begins, or begins again after a failure. What was missed meanwhile is found first. */
  listen(): void {
    if (this.#listening || this.#stop.signal.aborted) return;
    this.#listening = true;
    this.#hear().catch(() => {}).finally(() => this.#listening = false);
  }

  /** The claims that thieves say they took. */
  async read(bounds: Bounds): Promise<Set<string>> {
    return this.#stolen(await this.#api.names(this.#home, bounds));
  }

  /** For good. */
  stop(): void {
    this.#stop.abort();
  }

  async #hear(): Promise<void> {
    const subject = { name: this.#home, tree: true, index: 0, wait: WAIT };
    for await (const { names } of follow(this.#api, subject, this.#stop)) {
      const stolen = this.#stolen(names);
      for (const id of stolen) this.#hearers.stolen(id);
      if (stolen.size > 0) await this.#clear(stolen);
      if (names.length === stolen.size) { // not even the fence is left
        if (!await this.#api.sessionExists(this.#session, this.#stop)) this.#hearers.ended();
        return;
      }
    }
  }

  #stolen(names: readonly string[]): Set<string> {
    const start = `${this.#home}stolen/`;
    return new Set(names.filter((name) => name.startsWith(start)).map((name) => name.slice(start.length)));
  }

  async #clear(stolen: Set<string>): Promise<void> {
    for (const id of stolen) {
      const Key = `${this.#home}stolen/${id}`;
      await this.#api.transact([{ Verb: "delete", Key }], this.#stop);
    }
  }
}
