import type { Connection, WatchEvent } from "./connection.ts";
import { code, exists, failedWith, removeWatch, setWatches } from "./operations.ts";

/** Told once that a node has changed or gone. */
export type Told = (type: WatchEvent) => void;

interface Watch {
  readonly told: Set<Told>;
  /** Whether the node was there when the server took the watch on. */
  readonly stands: Promise<boolean>;
}

/** Paths to a request: the server takes at most 1 MiB (`jute.maxbuffer`). */
const BATCH = 100_000;

/**
 * Watches on nodes: one in the server for each path, whoever is interested here, and none left
 * behind. They die with their connection.
 */
export class Watches {
  readonly #watches = new Map<string, Watch>();

  /** How many stand. */
  get size(): number {
    return this.#watches.size;
  }

  /** Whether the node is there: if so, `told` is called once when it changes. */
  add(path: string, told: Told, connection: Connection): Promise<boolean> {
    let watch = this.#watches.get(path);
    if (watch === undefined) {
      const made: Watch = { told: new Set(), stands: this.#ask(path, connection, () => made) };
      this.#watches.set(path, watch = made);
    }
    watch.told.add(told);
    return watch.stands;
  }

  /** No longer interested. */
  remove(path: string, told: Told, connection: Connection | undefined): void {
    const watch = this.#watches.get(path);
    if (!watch?.told.delete(told) || watch.told.size > 0) return;
    this.#watches.delete(path);
    if (connection) this.#forget(path, connection);
  }

  /** An event came. */
  event(type: WatchEvent, path: string): void {
    const watch = this.#watches.get(path);
    if (watch === undefined) return;
    this.#watches.delete(path);
    for (const told of watch.told) told(type);
  }

  /** The connection is gone. */
  clear(): void {
    this.#watches.clear();
  }

  /** On a new connection: watches nodes that were there at `zxid`. Events of those since gone come first. */
  async restore(nodes: ReadonlyMap<string, Told>, zxid: bigint, connection: Connection): Promise<void> {
    const batches: string[][] = [];
    let room = 0;
    for (const [path, told] of nodes) {
      this.#watches.set(path, { told: new Set([told]), stands: Promise.resolve(true) });
      if (room < path.length) {
        batches.push([]);
        room = BATCH;
      }
      room -= path.length + 4;
      batches.at(-1)!.push(path);
    }
    await Promise.all(batches.map((paths) => connection.request(setWatches(zxid, paths))));
  }

  async #ask(path: string, connection: Connection, made: () => Watch): Promise<boolean> {
    try {
      await connection.request(exists(path, true));
      return true;
    } catch (error) {
      if (this.#watches.get(path) === made()) this.#watches.delete(path);
      if (!failedWith(error, code.noNode)) throw error;
      // The server would now tell of its creation, which never comes: names are not used twice.
      this.#forget(path, connection);
      return false;
    }
  }

  /** A watch asked for later may be sent earlier, and would go with it. */
  #forget(path: string, connection: Connection): void {
    connection.request(removeWatch(path, () => this.#watches.has(path))).catch(() => {}); // it may have fired
  }
}
