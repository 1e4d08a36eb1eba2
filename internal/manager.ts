import { Acquisition, type Applicant, type Application } from "./acquisition.ts";
import type { Backend } from "./backend.ts";
import { Bag } from "./bag.ts";
import { type Pause, pause } from "./calls.ts";
import { campaign, heedless, type Lead } from "./campaign.ts";
import { systemClock } from "./clock.ts";
import { Core } from "./core.ts";
import { ManagerClosedError } from "./errors.ts";
import { LockErrorEvent, type ManagerEvents, TypedEventTarget, WaitingEvent } from "./events.ts";
import { inspect, type Inspection, type LockSnapshot, query } from "./inspect.ts";
import { encodeKey } from "./keys.ts";
import { Lock, type LockOwner, type Log } from "./lock.ts";
import {
  type AcquireOptions,
  checkAcquireOptions,
  checkCampaign,
  checkKey,
  checkKeys,
  checkManagerOptions,
  type Defaults,
  type LockManagerOptions,
  type Want,
} from "./options.ts";
import { Leases } from "./leases.ts";
import type { Follower, Observer } from "./observer.ts";
import { showAs } from "./plain.ts";
import { use } from "./users.ts";
import { KeyWatch } from "./watch.ts";
import { request, type RequestCallback, type RequestOptions } from "./web_locks.ts";

/**
 * Has an observer follow all acquisitions of a manager from now on; the result ends that.
 *
 * @throws {TypeError} for what is no manager of this package, or is observed already
 */
export let observe: (manager: LockManager, observer: Observer) => () => void;

/** What a caller wants. */
interface Called extends Application {
  /** The keys as given. */
  readonly names: readonly string[];
  /** When that was. */
  readonly called: number;
  readonly follower: Follower | undefined;
}

/** A theft of which the store may not know yet. */
type Thief = Pick<Acquisition<Lock>, "asksFor"> & { placed(): Promise<unknown> };

/**
 * Locks over one backend. A superset of the Web Locks `LockManager`; emits the events of all its locks.
 *
 * ```ts
 * import { LockManager } from "@holdfast/lock";
 * import { memory } from "@holdfast/lock/memory";
 *
 * await using locks = new LockManager(memory());
 * await using lock = await locks.acquire("invoice:42", { signal: AbortSignal.timeout(5_000) });
 * console.log(lock.token, lock.held);
 * ```
 */
export class LockManager extends TypedEventTarget<ManagerEvents> implements AsyncDisposable {
  static {
    showAs(LockManager.prototype, (it) => ({
      backend: it.#core.backend.name,
      prefix: it.#defaults.prefix,
      clientId: it.#core.client,
    }));
    observe = (manager, observer) => {
      if (typeof manager !== "object" || manager === null || !(#observer in manager)) {
        throw new TypeError("Expected a LockManager of this package as the first argument");
      }
      if (manager.#observer !== undefined) {
        throw new TypeError("This lock manager is instrumented already: dispose of that first");
      }
      manager.#observer = observer;
      return () => {
        if (manager.#observer === observer) manager.#observer = undefined;
      };
    };
  }

  readonly #core: Core;
  readonly #leases: Leases;
  readonly #defaults: Defaults;
  readonly #owner: LockOwner;
  readonly #log: Log | undefined;
  readonly #applicant: Applicant<Called, Lock>;
  /** Those under way, and those whose lock is not over. */
  readonly #acquisitions = new Bag<Acquisition<Lock>>();
  /** Thieves that wait for who came before them. */
  readonly #thieves = new Set<Thief>();
  /** Of campaigns, between two terms. */
  readonly #rests = new Set<Pause>();
  readonly #watches = new Set<KeyWatch>();
  #closing: Promise<void> | undefined;
  #observer: Observer | undefined;
  /** This manager does not use the backend any more. */
  readonly #leave: () => Promise<void>;

  /**
   * Nothing connects before the first call.
   *
   * @throws {TypeError | RangeError} for options that cannot be
   */
  constructor(backend: Backend, options: LockManagerOptions = {}) {
    super();
    if (typeof backend?.lease !== "function") {
      throw new TypeError("Expected a backend, such as memory() or redis(url), as the first argument");
    }
    this.#defaults = checkManagerOptions(backend, options);
    const { clock = systemClock, random = Math.random, logger } = options;
    const { retryFor } = this.#defaults;
    this.#core = new Core(backend, { clock, random, retryFor, logger });
    this.#leases = new Leases(this.#core);
    this.#leave = use(backend);
    const core = this.#core;
    const { alarms } = core;
    this.#log = logger && ((level, message, details) => core.log(level, message, details));
    this.#owner = {
      log: this.#log,
      now: () => alarms.now(),
      last: () => alarms.last,
      fencing: backend.traits.fencing,
      get retryFor() {
        return core.patience(retryFor);
      },
      rest: (failures) => pause(alarms, core.backoff(failures, 1_000)).over,
      tell: (type, make) => this.emit(type, make),
      drop: (acquisition) => this.#acquisitions.delete(acquisition),
    };
    this.#applicant = {
      retryFor,
      waiting: ({ names, follower }) => {
        follower?.waiting();
        if (this.#log !== undefined) this.#warnOfOwn(names);
        this.emit("waiting", () => new WaitingEvent(names[0]!));
      },
      failed: ({ names, follower }, error) => {
        const key = names[0]!;
        follower?.failed(error);
        this.#log?.("warn", "a call failed, it will be repeated", { key, error });
        this.emit("error", () => new LockErrorEvent(key, error));
      },
      acquired: ({ names, want, called, follower }, parts, it) => {
        const lock = new Lock(this.#owner, it, { keys: names, want, parts, called });
        follower?.acquired(lock);
        return lock;
      },
      ended: (it) => {
        if (it.lock === undefined) this.#acquisitions.delete(it);
      },
    };
  }

  /**
   * Waits its turn, first come, first served. With several keys: all or none, without deadlocks
   * whatever order callers name them in, as one handle.
   *
   * @throws {TypeError | RangeError} for keys and options that cannot be; nothing is sent
   * @throws {BackendError} once the store has failed for `retryFor` milliseconds without a break
   * @throws {ManagerClosedError}
   * @throws the reason of `options.signal`, at once when it aborts
   */
  acquire(key: string | readonly string[], options?: AcquireOptions): Promise<Lock> {
    return this.#acquire(key, options, true) as Promise<Lock>;
  }

  /**
   * Never waits: `undefined` if somebody holds it or stands before us.
   *
   * @throws {TypeError | RangeError} for keys and options that cannot be; nothing is sent
   * @throws {BackendError} if the store cannot be reached for `retryFor` milliseconds
   * @throws {ManagerClosedError}
   */
  tryAcquire(key: string | readonly string[], options?: AcquireOptions): Promise<Lock | undefined> {
    return this.#acquire(key, options, false);
  }

  /**
   * Runs `callback` under the lock, as the Web Locks specification says; its result is the result.
   * The callback's lock is a full {@linkcode Lock}.
   *
   * @throws {LockLostError} as soon as the lock is lost, while the callback may still be running
   * @throws {DOMException} "AbortError" if stolen, "NotSupportedError" for contradictory options
   */
  request<T>(name: string, callback: RequestCallback<Lock, T>): Promise<Awaited<T>>;
  /** With `ifAvailable`, the callback is given `null` when the lock is not to be had at once. */
  request<T>(
    name: string,
    options: RequestOptions & { readonly ifAvailable: true },
    callback: RequestCallback<Lock | null, T>,
  ): Promise<Awaited<T>>;
  /** With options; without `ifAvailable` the callback always has a lock. */
  request<T>(
    name: string,
    options: RequestOptions & { readonly ifAvailable?: false },
    callback: RequestCallback<Lock, T>,
  ): Promise<Awaited<T>>;
  /** With options known only at run time. */
  request<T>(
    name: string,
    options: RequestOptions,
    callback: RequestCallback<Lock | null, T>,
  ): Promise<Awaited<T>>;
  request(name: unknown, second: unknown, ...rest: unknown[]): Promise<unknown> {
    return request({
      check: (options) => checkAcquireOptions(this.#core.backend, this.#defaults.want, options),
      acquire: (name, want, wait) => this.#wanted([name], want, wait),
      rob: (name, want) => this.#rob(name, want),
      refuseIfClosed: (name) => this.#refuseIfClosed(`run a callback under lock ${JSON.stringify(name)}`),
    }, [name, second, ...rest]);
  }

  /**
   * Who holds and who waits under this prefix, in every process, as the Web Locks specification says. What
   * this manager has asked for before is among them.
   */
  query(): Promise<LockSnapshot> {
    return this.#ask("query the locks", async () => {
      await this.#placed();
      return await query(this.#core, this.#defaults.prefix);
    });
  }

  /**
   * Leader election: runs `lead` each time this process becomes the leader of `name`. Its signal aborts
   * when the term ends or `options.signal` does. Returning resigns; a loss ends the term; either way it
   * stands again, at the tail, after a short pause. Resolves once `options.signal` has aborted and the
   * term is over; what `lead` throws rejects it. `close()` ends the term, and rejects with
   * {@linkcode ManagerClosedError} whoever waits for the campaign; if nobody does, that is no unhandled
   * rejection.
   *
   * @throws {TypeError | RangeError} for a name and options that cannot be; nothing is sent
   * @throws {ManagerClosedError}
   */
  campaign(name: string, lead: Lead): Promise<void>;
  /** With options. */
  campaign(name: string, options: AcquireOptions | undefined, lead: Lead): Promise<void>;
  campaign(name: string, second: Lead | AcquireOptions | undefined, third?: Lead): Promise<void> {
    const [options, lead] = typeof second === "function" ? [undefined, second] : [second, third];
    const closed = this.#closing !== undefined;
    const ended = this.#campaign(name, options, lead);
    // A campaign that runs until the manager is closed is often started and never awaited.
    return closed ? ended : heedless(ended, ManagerClosedError);
  }

  async #campaign(name: string, options: AcquireOptions = {}, lead: Lead | undefined): Promise<void> {
    checkKey(name);
    checkCampaign(this.#core.backend, this.#defaults.want, options, lead);
    const refuse = () => this.#refuseIfClosed(`campaign for ${JSON.stringify(name)}`);
    refuse();
    await campaign(
      {
        acquire: (signal) => this.acquire(name, { ...options, signal }),
        refuseIfClosed: refuse,
        rest: (failures) => this.#pause(this.#core.backoff(failures + 3, 2_000)),
        failed: (error) => {
          this.#core.log("warn", "a campaign failed, it will be repeated", { key: name, error });
          this.emit("error", () => new LockErrorEvent(name, error));
        },
      },
      options.signal,
      lead,
    );
  }

  /**
   * Who holds `key` and who waits for it, in queue order; `undefined` if nobody does. Anyone may ask.
   *
   * @throws {BackendError} if the store cannot be asked
   */
  async inspect(key: string): Promise<Inspection | undefined> {
    checkKey(key);
    return await this.#ask(
      `inspect ${JSON.stringify(key)}`,
      () => inspect(this.#core, this.#defaults.prefix, key),
    );
  }

  /**
   * Tells of every grant and every end of a hold of `key`, whoever the holder is. Starts with the next
   * change, from when its `ready` resolves. Dispose of it to end it. Once it is ready it does not keep the
   * process alive, on any store: a manager does so only while something is held or waited for. What a client
   * that was handed in to the backend keeps alive is up to its owner.
   *
   * @throws {TypeError | RangeError} for a key that cannot be
   */
  watch(key: string): KeyWatch {
    checkKey(key);
    if (this.#closing !== undefined) throw new ManagerClosedError(`watch ${JSON.stringify(key)}`);
    const watch = new KeyWatch(this.#core, key, encodeKey(this.#defaults.prefix, key), () => {
      this.#watches.delete(watch);
    });
    this.#watches.add(watch);
    return watch;
  }

  /**
   * Rejects who waits and later calls with {@linkcode ManagerClosedError}, releases what is held, and
   * closes the backend unless another manager uses it. Never throws for a store that is away: the ttl
   * frees what could not be released.
   *
   * It waits for calls that are under way, a third of the ttl each, though between one second and ten; what
   * follows on them (releases, then the end of the leases) gets three seconds each at most. So a store
   * that does not answer holds it up for thirteen seconds with the default ttl, and for less than twenty with any.
   */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  /** As {@linkcode LockManager.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    // Let `#closing` be set before anybody hears of it.
    await undefined;
    this.#core.closing = true;
    const acquisitions = this.#acquisitions.values();
    for (const one of acquisitions) one.stop(new ManagerClosedError("acquire a lock any more"));
    for (const rest of this.#rests) rest.end();
    await Promise.all([
      ...[...this.#watches].map((watch) => watch[Symbol.asyncDispose]()),
      ...acquisitions.map(({ lock }) => lock?.[Symbol.asyncDispose]()),
    ]);
    await Promise.all(acquisitions.map(({ done }) => done));
    await this.#leases.close();
    await this.#leave();
  }

  #acquire(
    key: string | readonly string[],
    options: AcquireOptions | undefined,
    wait: boolean,
  ): Promise<Lock | undefined> {
    try {
      const want = checkAcquireOptions(this.#core.backend, this.#defaults.want, options);
      return this.#wanted(checkKeys(key), want, wait);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** An acquisition whose input has been checked. Rejects as soon as it is stopped. */
  #wanted(keys: readonly string[], want: Want, wait: boolean): Promise<Lock | undefined> {
    const follower = this.#observer?.({ keys, want, backend: this.#core.backend.name });
    if (follower === undefined) return this.#apply(keys, want, wait);
    return follower.answered(this.#apply(keys, follower.want, wait, follower));
  }

  #apply(
    keys: readonly string[],
    want: Want,
    wait: boolean,
    follower?: Follower,
  ): Promise<Lock | undefined> {
    const key = keys[0]!;
    if (this.#closing !== undefined) {
      return Promise.reject(new ManagerClosedError(`acquire lock ${JSON.stringify(key)}`));
    }
    if (want.signal?.aborted) return Promise.reject(want.signal.reason);
    const called = this.#core.alarms.now();
    const { prefix } = this.#defaults;
    const encoded = keys.map((each) => encodeKey(prefix, each));
    const application = { keys: encoded, names: keys, want, wait, called, follower };
    const acquisition = new Acquisition(this.#core, this.#leases, application, this.#applicant);
    this.#acquisitions.add(acquisition);
    return acquisition.result;
  }

  /**
   * A thief robs who came before it: a request that would have been granted first, had the store been told by
   * then, is a holder to the Web Locks specification and no waiter.
   */
  async #rob(name: string, want: Want): Promise<Lock | undefined> {
    const key = encodeKey(this.#defaults.prefix, name);
    const before = this.#placed(key);
    if (before === undefined) return await this.#wanted([name], want, true);
    const placed = Promise.withResolvers<unknown>();
    const thief = { asksFor: (other: string) => other === key, placed: () => placed.promise };
    this.#thieves.add(thief);
    await before;
    const result = this.#wanted([name], want, true);
    this.#thieves.delete(thief);
    placed.resolve(this.#placedAmong(this.#acquisitions.values(), key));
    return await result;
  }

  /**
   * Resolves once the store knows of all acquisitions that are here now, or of those for `key`; `undefined` if
   * none is under way.
   */
  #placed(key?: string): Promise<unknown> | undefined {
    return this.#placedAmong([...this.#acquisitions.values(), ...this.#thieves], key);
  }

  #placedAmong(
    some: readonly (Thief & { lock?: Lock | undefined })[],
    key?: string,
  ): Promise<unknown> | undefined {
    const waits = some
      .filter((one) => one.lock === undefined && (key === undefined || one.asksFor(key)))
      .map((one) => one.placed());
    return waits.length > 0 ? Promise.all(waits) : undefined;
  }

  /** Locks are not reentrant: who waits for what it holds itself may wait for ever, and would wonder why. */
  #warnOfOwn(keys: readonly string[]): void {
    for (const { lock } of this.#acquisitions.values()) {
      const key = lock?.keys.find((key) => keys.includes(key));
      if (key === undefined || !lock!.held) continue;
      const what = "an acquisition waits for a lock that its own manager holds (locks are not reentrant)";
      return this.#log?.("warn", what, { key, token: String(lock!.tokens.get(key)) });
    }
  }

  /** A pause that ends when the manager is closed. */
  #pause(ms: number): Pause {
    const rest = pause(this.#core.alarms, ms);
    this.#rests.add(rest);
    void rest.over.then(() => this.#rests.delete(rest));
    return rest;
  }

  /** A call that reads. */
  async #ask<T>(what: string, read: () => Promise<T>): Promise<T> {
    this.#refuseIfClosed(what);
    return await read();
  }

  #refuseIfClosed(what: string): void {
    if (this.#closing !== undefined) throw new ManagerClosedError(what);
  }
}
