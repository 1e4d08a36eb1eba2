import type { Call, Entry, Watcher } from "../../internal/backend.ts";
import type { BackendError } from "../../internal/errors.ts";
import { type Onlooker, PATIENCE, type Registry } from "./registry.ts";

/** Lists what is in the lock file, and watches it. */
export class Observer implements Onlooker {
  readonly #registry: Registry;
  readonly #watchers = new Map<string, Set<Watcher>>();
  /** Ends the looks for watches that other processes cannot tell. */
  #looking: (() => void) | undefined;

  constructor(registry: Registry) {
    this.#registry = registry;
    registry.listen(this);
  }

  /** What is there, without the claims of sessions that are proven to have ended. */
  async list(scope: string, call: Call): Promise<Entry[]> {
    const { transactions } = this.#registry;
    const others = await transactions.read((tables) => tables.others(scope), call);
    // Who may only read sees them as well.
    await Promise.all(others.map((session) => this.#registry.buryIfDead(session).catch(() => false)));
    return await transactions.read((tables) => tables.list(scope), call);
  }

  /** Reports changes of a key's queue by whichever process. */
  async watch(key: string, watcher: Watcher): Promise<AsyncDisposable> {
    const registry = this.#registry;
    await registry.ready();
    this.#watchers.set(key, (this.#watchers.get(key) ?? new Set()).add(watcher));
    try {
      const version = await registry.transactions.write(({ tables }) => {
        tables.addWatcher(key, tables.session);
        return tables.version;
      }, { durable: false });
      if (!await registry.reachable() && this.#watchers.get(key)?.has(watcher)) {
        this.#looking ??= registry.lookouts.add({ version, seen: () => this.anyChanged() });
      }
    } catch (error) {
      this.#forget(key, watcher);
      throw error;
    }
    return {
      [Symbol.asyncDispose]: async () => {
        if (!this.#forget(key, watcher)) return;
        await registry.transactions.write(({ tables }) => {
          if (!this.#watchers.has(key)) tables.removeWatcher(key, tables.session);
        }, { durable: false });
      },
    };
  }

  async close(): Promise<void> {
    this.#lookAway();
    if (this.#watchers.size === 0) return;
    this.#watchers.clear();
    const call = { signal: AbortSignal.timeout(PATIENCE), timeout: PATIENCE };
    await this.#registry.transactions.write(({ tables }) => tables.removeWatchers(tables.session), {
      durable: false,
      call,
    }).catch(() => {});
  }

  changed(key: string): void {
    for (const watcher of [...this.#watchers.get(key) ?? []]) watcher.changed();
  }

  anyChanged(): void {
    for (const key of [...this.#watchers.keys()]) this.changed(key);
  }

  failed(error: BackendError): void {
    const watchers = [...this.#watchers.values()].flatMap((some) => [...some]);
    this.#watchers.clear();
    this.#lookAway();
    for (const watcher of watchers) watcher.failed(error);
  }

  /** Whether that was the last watch of the key. */
  #forget(key: string, watcher: Watcher): boolean {
    const watchers = this.#watchers.get(key);
    if (!watchers?.delete(watcher) || watchers.size > 0) return false;
    this.#watchers.delete(key);
    if (this.#watchers.size === 0) this.#lookAway();
    return true;
  }

  #lookAway(): void {
    this.#looking?.();
    this.#looking = undefined;
  }
}
