import type { Call, Entry, Watcher } from "../../internal/backend.ts";
import { holders } from "../../internal/queue.ts";
import { dial, type Dialled } from "./client/dial.ts";
import { code, failedWith, refused } from "./client/errors.ts";
import * as op from "./client/operations.ts";
import type { Settings } from "./client/settings.ts";
import { pathOf, queueOf, type ZooKeeperQueued } from "./names.ts";

/** Milliseconds. Its session owns nothing: it is given up with its connection. */
const TIMEOUT = 10_000;
/** Milliseconds. */
const SECOND = 1_000;
/** Keys, or entries, asked about at a time. */
const BATCH = 256;

/** Looks at queues, over a connection of its own that is made when first needed. */
export class Observer {
  readonly #settings: Settings;
  #dialling: Promise<Dialled> | undefined;
  #over = new AbortController();
  readonly #watchers = new Map<string, Set<Watcher>>();
  /** Paths of which an event is being dealt with, and whether there was another one since. */
  readonly #stirred = new Map<string, boolean>();

  /** Nothing connects before the first call. */
  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** As of {@linkcode Backend.list}. */
  async list(scope: string, call: Call): Promise<Entry[]> {
    try {
      const dialled = await this.#connect(call);
      const { connection, chroot } = dialled;
      const path = pathOf(chroot, scope);
      // Whatever was done before this call is seen, though a server answers that may be behind.
      const upToDate = connection.request(op.barrier);
      upToDate.catch(() => {});
      if (!scope.endsWith("/")) return await this.#listKey(dialled, scope);
      const keys = await connection.request(op.getChildren(path.slice(0, -1), false)).catch(nothing);
      const entries: Entry[] = [];
      for (let at = 0; at < keys.length; at += BATCH) {
        call.signal.throwIfAborted();
        const batch = keys.slice(at, at + BATCH);
        const found = await Promise.all(batch.map((key) => this.#listKey(dialled, scope + key)));
        entries.push(...found.flat());
      }
      return entries;
    } catch (error) {
      throw refused(`list ${scope}`, error);
    }
  }

  /** As of {@linkcode Backend.watch}. */
  async watch(key: string, watcher: Watcher, call: Call): Promise<AsyncDisposable> {
    const dialled = await this.#connect(call);
    const path = pathOf(dialled.chroot, key);
    let watchers = this.#watchers.get(path);
    if (watchers === undefined) this.#watchers.set(path, watchers = new Set());
    watchers.add(watcher);
    try {
      await this.#observe(dialled, path);
    } catch (error) {
      watchers.delete(watcher);
      throw refused(`watch ${path}`, error);
    }
    return {
      [Symbol.asyncDispose]: () => {
        watchers.delete(watcher);
        if (watchers.size === 0 && this.#watchers.get(path) === watchers) {
          this.#watchers.delete(path);
          dialled.connection.request(op.removeWatch(path)).catch(() => {}); // it may have fired meanwhile
        }
        return Promise.resolve();
      },
    };
  }

  /** The next call connects again. */
  close(): void {
    this.#over.abort();
    this.#over = new AbortController();
    this.#dialling = undefined;
    this.#watchers.clear();
  }

  async #listKey({ connection, chroot }: Dialled, key: string): Promise<Entry[]> {
    const path = pathOf(chroot, key);
    const queue = queueOf(await connection.request(op.getChildren(path, false)).catch(nothing));
    const found: { place: ZooKeeperQueued; data: string; token: bigint }[] = [];
    for (let at = 0; at < queue.length; at += BATCH) {
      await Promise.all(
        queue.slice(at, at + BATCH).map(async (place, n) => {
          try {
            const { data, stat } = await connection.request(op.getData(`${path}/${place.name}`));
            found[at + n] = { place, data, token: stat.czxid };
          } catch (error) {
            if (!failedWith(error, code.noNode)) throw error;
          }
        }),
      );
    }
    // Those that left meanwhile leave holes.
    const there = found.filter((entry) => entry !== undefined);
    const holding = holders(there.map(({ place }) => place));
    return there.map(({ place: { id, limit }, data, token }, index) => {
      const held = index < holding;
      return { key, id, limit, ...told(data), held, ...(held && { token }) };
    });
  }

  /** The path's next change will be heard, whether the path is there yet or not. */
  async #observe({ connection }: Dialled, path: string): Promise<void> {
    for (;;) {
      try {
        await connection.request(op.getChildren(path, true));
        return;
      } catch (error) {
        if (!failedWith(error, code.noNode)) throw error;
      }
      try {
        await connection.request(op.exists(path, true));
      } catch (error) {
        if (failedWith(error, code.noNode)) return;
        throw error;
      }
    }
  }

  async #connect({ timeout }: Call): Promise<Dialled> {
    const dialled = await (this.#dialling ??= this.#dial(0.9 * timeout));
    // A silent server must not use up one call after the other.
    const { connection } = dialled;
    connection.patience = Math.min(connection.patience, timeout / 2);
    return dialled;
  }

  #dial(timeout: number): Promise<Dialled> {
    const dialling: Promise<Dialled> = dial({
      settings: this.#settings,
      hello: () => ({ lastZxid: 0n, timeout: TIMEOUT, session: 0n, password: new Uint8Array(16) }),
      timeout,
      listener: {
        event: (_type, path) => this.#event(dialling, path),
        ended: (error) => this.#ended(dialling, error),
      },
      signal: this.#over.signal,
    }).then((dialled) => {
      const { connection } = dialled;
      connection.patience = TIMEOUT / 3;
      connection.keepAlive(Math.min(Math.max(connection.welcome.timeout, SECOND), TIMEOUT) / 3);
      return dialled;
    }, (error) => {
      if (this.#dialling === dialling) this.#dialling = undefined;
      throw error;
    });
    return dialling;
  }

  async #event(dialling: Promise<Dialled>, path: string): Promise<void> {
    const watchers = this.#watchers.get(path);
    if (watchers === undefined) return;
    // One look at a time, however many events a server sends.
    if (this.#stirred.has(path)) return void this.#stirred.set(path, true);
    try {
      do {
        this.#stirred.set(path, false);
        // The next watch is on its way before a watcher looks: no change falls in between.
        const observed = this.#observe(await dialling, path);
        observed.catch(() => {});
        for (const watcher of watchers) watcher.changed();
        await observed;
      } while (this.#stirred.get(path));
    } catch (error) {
      this.#fail(path, error);
    } finally {
      this.#stirred.delete(path);
    }
  }

  #ended(dialling: Promise<Dialled>, error: Error): void {
    if (this.#dialling !== dialling) return;
    this.#dialling = undefined;
    for (const path of [...this.#watchers.keys()]) this.#fail(path, error);
  }

  #fail(path: string, error: unknown): void {
    const watchers = this.#watchers.get(path);
    this.#watchers.delete(path);
    for (const watcher of watchers ?? []) watcher.failed(error);
  }
}

function nothing(error: unknown): string[] {
  if (failedWith(error, code.noNode)) return [];
  throw error;
}

/** What a claim says of itself; others' nodes may hold anything. */
function told(data: string): { client: string; metadata: string | undefined } {
  try {
    const { client, metadata } = JSON.parse(data);
    if (typeof client === "string") {
      return { client, metadata: typeof metadata === "string" ? metadata : undefined };
    }
  } catch {
    // Curator writes its host's address
  }
  return { client: "", metadata: undefined };
}
