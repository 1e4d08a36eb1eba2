import type { Connection, WatchEvent } from "./connection.ts";
import { code, failedWith } from "./errors.ts";
import type { Reader } from "./jute.ts";
import { exists, removeWatch, setWatches } from "./operations.ts";

/** Told once that a node has changed or gone. */
export type Told = (type: WatchEvent) => void;

/** One watch in the server. */
class Watch {
  readonly told = new Set<Told>();
  /** The server has taken it on: an event that comes before is of an earlier watch, and the answer says more. */
  taken = false;
  /** Whether the node was there then. */
  stands: Promise<boolean> = Promise.resolve(true);
}

/** Paths to a request: the server takes at most 1 MiB (`jute.maxbuffer`). */
const BATCH = 100_000;

/**
 * Watches on nodes: one in the server for each path, however many are interested here, and none left
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
      this.#watches.set(path, watch = new Watch());
      watch.stands = this.#ask(watch, path, connection);
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
    if (!watch?.taken) return;
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
      const watch = new Watch();
      watch.told.add(told);
      watch.taken = true;
      this.#watches.set(path, watch);
      if (room < path.length) {
        batches.push([]);
        room = BATCH;
      }
      room -= path.length + 4;
      batches.at(-1)!.push(path);
    }
    await Promise.all(batches.map((paths) => connection.request(setWatches(zxid, paths))));
  }

  async #ask(watch: Watch, path: string, connection: Connection): Promise<boolean> {
    const { read, ...asked } = exists(path, true);
    const noted = (from: Reader) => {
      watch.taken = true; // at once: the next frame may be its event
      return read(from);
    };
    try {
      await connection.request({ ...asked, read: noted });
      return true;
    } catch (error) {
      if (this.#watches.get(path) === watch) this.#watches.delete(path);
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
