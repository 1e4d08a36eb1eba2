import type { Entry } from "./backend.ts";
import { ask, pause, unknownOutcome } from "./calls.ts";
import type { Core } from "./core.ts";
import { LockedEvent, LockErrorEvent, TypedEventTarget, UnlockedEvent, type WatchEvents } from "./events.ts";
import { list, parseMetadata } from "./inspect.ts";

/**
 * Watches one key. The store says that something may have changed; what it was, comparing the holders
 * before and after tells. So a hold may be too short to be seen, but none that lasts is missed, and the
 * end of one by expiry is found when its time has run out.
 */
export class KeyWatch extends TypedEventTarget<WatchEvents> implements AsyncDisposable {
  /** The key. */
  readonly key: string;
  /** Resolves once it stands: from then on every change is seen. Rejects if it is disposed of before. */
  readonly ready: Promise<void>;
  readonly #core: Core;
  readonly #encoded: string;
  readonly #ended: () => void;
  readonly #run: Promise<void>;
  #holders: Map<string, Entry> | undefined;
  #stopped = false;
  #failure: unknown;
  /** Something may have changed since the last look. */
  #stale = false;
  #wake: (() => void) | undefined;

  /** Made by a manager. */
  constructor(core: Core, key: string, encoded: string, ended: () => void) {
    super();
    this.#core = core;
    this.key = key;
    this.#encoded = encoded;
    this.#ended = ended;
    const ready = Promise.withResolvers<void>();
    this.ready = ready.promise;
    this.ready.catch(() => {});
    this.#run = this.#watch(ready.resolve).then(() => {
      ready.reject(new DOMException("The watch was disposed of before it stood", "AbortError"));
    });
  }

  /** Ends the watch. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    this.#wake?.();
    await this.#run;
    this.#ended();
  }

  async #watch(ready: () => void): Promise<void> {
    for (let failures = 0; !this.#stopped;) {
      try {
        await using _standing = await this.#open();
        while (!this.#stopped) {
          const rest = await this.#look();
          ready();
          failures = 0;
          await this.#next(rest);
        }
      } catch (error) {
        if (this.#stopped) return;
        this.emit(
          "error",
          () => new LockErrorEvent(this.key, unknownOutcome(`watch ${JSON.stringify(this.key)}`, error)),
        );
        await this.#rest(this.#core.backoff(failures++, 1_000));
      }
    }
  }

  async #open(): Promise<AsyncDisposable> {
    this.#failure = undefined;
    return await ask(this.#core.alarms, {
      what: () => `watch ${JSON.stringify(this.key)}`,
      timeout: this.#core.callTimeout(10_000),
      send: (call) =>
        this.#core.backend.watch(this.#encoded, {
          changed: () => {
            this.#stale = true;
            this.#wake?.();
          },
          failed: (error) => {
            this.#failure = error ?? new Error("the store ended the watch");
            this.#wake?.();
          },
        }, call),
    });
  }

  /** Compares with the last look; milliseconds until the first holder's time is up. */
  async #look(): Promise<number> {
    this.#stale = false;
    const entries = (await list(this.#core, this.#encoded)).filter(({ held }) => held);
    const before = this.#holders;
    this.#holders = new Map(entries.map((entry) => [entry.id, entry]));
    for (const id of before?.keys() ?? []) {
      if (!this.#holders.has(id)) this.emit("unlocked", () => new UnlockedEvent(this.key));
    }
    if (before !== undefined) {
      for (const { id, token, metadata } of entries) {
        if (before.has(id)) continue;
        this.emit("locked", () => new LockedEvent(this.key, token!, parseMetadata(metadata)));
      }
    }
    return Math.min(...entries.map(({ remaining }) => remaining ?? Infinity));
  }

  /** Until there is reason to look again. */
  async #next(expiry: number): Promise<void> {
    if (!this.#stale && this.#failure === undefined && !this.#stopped) await this.#rest(Math.max(expiry, 5));
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #rest(ms: number): Promise<void> {
    if (ms === Infinity) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    } else {
      const rest = pause(this.#core.alarms, ms);
      this.#wake = rest.end;
      await rest.over;
    }
    this.#wake = undefined;
  }
}
