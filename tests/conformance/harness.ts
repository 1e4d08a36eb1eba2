import type { Backend } from "../../internal/backend.ts";

/** What the suite has to know of a store. */
export interface Harness extends Partial<AsyncDisposable> {
  /** For the names of tests. */
  readonly name: string;
  /**
   * A fresh backend object over the same store each time: another process, as far as the store can
   * tell. (`memory()` is its own store: there it is the same object each time.) The suite closes it
   * by closing the managers over it.
   */
  open(): Backend | Promise<Backend>;
  /**
   * Removes the holders' claims of a key from the store behind everyone's back, as an operator would
   * with the store's own tools. `key` is as backends see it: `prefix/key`, encoded.
   */
  revoke?(key: string): Promise<void>;
  /**
   * `false`: the store tells nobody of a revocation, so that those who wait find out by their heartbeat.
   * @default {true}
   */
  readonly tells?: boolean;
  /**
   * A backend whose connection to the store can be cut. Without it the suite cuts between the core
   * and the backend, which is not enough where a client library keeps a session alive by itself.
   */
  partition?(): Promise<Partition>;
  /**
   * Milliseconds: the ttl of cases that wait for an expiry.
   * @default {3000, or the backend's `traits.minTtl` if that is more}
   */
  readonly ttl?: number;
  /** Cases that this store cannot pass, by `"group: name"`, each with the reason. */
  readonly skip?: Readonly<Record<string, string>>;
}

/** A backend that can be cut off from its store. */
export interface Partition extends AsyncDisposable {
  /** Over the same store as {@linkcode Harness.open}'s. */
  readonly backend: Backend;
  /** From now on nothing passes in either direction, and nobody is told. */
  cut(): void | Promise<void>;
  /** Undoes it. Connections of before may break. */
  heal(): void | Promise<void>;
}
