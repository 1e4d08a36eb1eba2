import type { Entry } from "./backend.ts";
import { ask, pause, unknownOutcome } from "./calls.ts";
import type { Core } from "./core.ts";
import { LockedEvent, LockErrorEvent, TypedEventTarget, UnlockedEvent, type WatchEvents } from "./events.ts";
import { list, parseMetadata } from "./inspect.ts";
import { showAs } from "./plain.ts";

/**
 * Watches one key. The store says that something may have changed; what it was, comparing the holders
 * before and after tells. So a hold may be too short to be seen, but none that lasts is missed, and the
 * end of one by expiry is found when its time has run out.
 *
 * A failure is an "error" event, and it goes on when the store is back. One that waiting does not mend (its error
 * is not `retryable`) is told once, and ends the watch.
 *
 * All it does is done in the background, once it stands: it does not keep the process alive.
 */
export class KeyWatch extends TypedEventTarget<WatchEvents> implements AsyncDisposable {
  /** The key. */
  readonly key: string;
  /**
   * Resolves once it stands: from then on every change is seen. Rejects if it is disposed of before, or with the
   * `BackendError` of a store that refuses it for good.
   */
  readonly ready: Promise<void>;
  readonly #core: Core;
  readonly #encoded: string;
  readonly #ended: () => void;
  readonly #run: Promise<void>;
  #holders: Map<string, Entry> | undefined;
  #stopped = false;
  /** It stands, or has stood before: nobody waits for it. */
  #background = false;
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
    this.#run = this.#watch(ready.resolve).then((refusal) => {
      ready.reject(refusal ?? new DOMException("The watch was disposed of before it stood", "AbortError"));
      if (refusal !== undefined) this.#ended();
    });
  }

  /** Ends the watch. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    this.#wake?.();
    // The caller waits for this, and the process must not end before. A store that is away ends it by itself.
    await ask(this.#core.alarms, {
      what: () => `end the watch of ${JSON.stringify(this.key)}`,
      timeout: this.#core.callTimeout(10_000),
      send: () => this.#run,
    }).catch(() => {});
    this.#ended();
  }

  /** Resolves with why the store has refused it, if it has. */
  async #watch(ready: () => void): Promise<unknown> {
    for (let failures = 0; !this.#stopped;) {
      try {
        const standing = await this.#open();
        // Not `await using`: a runtime that does not know it could not load the library, and its user would
        // read of a syntax error instead of the version to take.
        try {
          while (!this.#stopped) {
            const rest = await this.#look();
            ready();
            this.#background = true;
            failures = 0;
            await this.#next(rest);
          }
        } finally {
          await standing[Symbol.asyncDispose]();
        }
      } catch (error) {
        if (this.#stopped) return;
        const failure = unknownOutcome(`watch ${JSON.stringify(this.key)}`, error);
        const what = failure.retryable ? "a watch failed, it will be repeated" : "a watch ended";
        this.#core.log("warn", what, { key: this.key, error: failure });
        this.emit("error", () => new LockErrorEvent(this.key, failure));
        if (!failure.retryable) return failure;
        await this.#rest(this.#core.backoff(failures++, 1_000));
      }
    }
  }

  async #open(): Promise<AsyncDisposable> {
    this.#failure = undefined;
    return await ask(this.#core.alarms, {
      what: () => `watch ${JSON.stringify(this.key)}`,
      timeout: this.#core.callTimeout(10_000),
      background: this.#background,
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
    const entries = (await list(this.#core, this.#encoded, this.#background)).filter(({ held }) => held);
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
      const rest = pause(this.#core.alarms, ms, this.#background);
      this.#wake = rest.end;
      await rest.over;
    }
    this.#wake = undefined;
  }
}

showAs(KeyWatch.prototype, ({ key }) => ({ key }));
