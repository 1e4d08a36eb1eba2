import type { Acquisition, Held } from "./acquisition.ts";
import type { Claim, Fencing, LossReason, Mode } from "./backend.ts";
import { type BackendError, LockLostError, LockReleasedError } from "./errors.ts";
import {
  AcquiredEvent,
  LockErrorEvent,
  type LockEvents,
  LostEvent,
  type ManagerEvents,
  ReleasedEvent,
  RenewedEvent,
  TypedEventTarget,
} from "./events.ts";
import type { Listener } from "./kept_claim.ts";
import type { Json, Logger, Want } from "./options.ts";
import { plainFields, showAs } from "./plain.ts";

/** Tells a logger. There is none if nobody has asked for one: nothing is made up to be told then. */
export type Log = (level: keyof Logger, message: string, details: Record<string, unknown>) => void;

/** The part of a manager that its locks need. */
export interface LockOwner {
  /** Tells its logger. */
  readonly log: Log | undefined;
  /** Elapsed milliseconds. */
  now(): number;
  /** As of the last look at the clock. */
  last(): number;
  /** How strong its backend's tokens are. */
  readonly fencing: Fencing;
  /** How long a release is retried, in milliseconds. */
  readonly retryFor: number;
  /** Waits before another try. */
  rest(failures: number): Promise<void>;
  /** Emits on the manager. */
  tell<T extends keyof ManagerEvents>(type: T, make: () => ManagerEvents[T]): void;
  /** The lock that came of it is over. */
  drop(acquisition: Acquisition<Lock>): void;
}

/** A claim that was granted, as the store knows it. */
export interface Granted extends Pick<Claim, "key" | "id"> {
  /** Its fencing token. */
  readonly token: bigint;
}

/** The claims of a lock, for what a store offers to its holder besides. Throws for what is no lock of this package. */
export let claimsOf: (lock: Lock) => readonly Granted[];

let lose: (lock: Lock, why: LossReason) => void;
let tell: <T extends keyof LockEvents>(lock: Lock, type: T, make: () => LockEvents[T]) => void;

/** The claim for one of its keys speaks to a lock. */
class Part implements Listener {
  readonly #lock: Lock;
  readonly #index: number;

  constructor(lock: Lock, index: number) {
    this.#lock = lock;
    this.#index = index;
  }

  get #key(): string {
    return this.#lock.keys[this.#index]!;
  }

  get #token(): bigint {
    return this.#lock.tokens.get(this.#key)!;
  }

  lost(why: LossReason): void {
    lose(this.#lock, why);
  }

  renewed(): void {
    tell(this.#lock, "renewed", () => new RenewedEvent(this.#key, this.#token));
  }

  failed(error: unknown): void {
    tell(this.#lock, "error", () => new LockErrorEvent(this.#key, error, this.#token));
  }
}

/**
 * A lock that is held, until its {@linkcode Lock.signal} says otherwise. Dispose of it to release it:
 *
 * ```ts
 * import { acquire } from "@holdfast/lock";
 *
 * await using lock = await acquire("invoice:42");
 * await fetch("https://example.com/charge", { signal: lock.signal }).catch(() => {});
 * ```
 */
export class Lock extends TypedEventTarget<LockEvents> implements AsyncDisposable {
  static {
    claimsOf = (lock) =>
      lock.#parts.map(({ kept: { claim: { key, id }, token } }) => ({ key, id, token: token! }));
    lose = (lock, why) => lock.#lose(why);
    tell = (lock, type, make) => lock.#tell(type, make);
  }

  /** The keys, as asked for. */
  readonly keys: readonly string[];
  readonly #owner: LockOwner;
  readonly #want: Want;
  /** One for each key, in the order of `keys`. */
  readonly #parts: readonly Held[];
  readonly #acquisition: Acquisition<Lock>;
  readonly #acquired: number;
  #state: "held" | "released" | "lost" = "held";
  #lasted = 0;
  #why: LossReason = "expired";
  #controller: AbortController | undefined;
  #release: Promise<boolean> | undefined;
  readonly #answers: (boolean | undefined)[] = [];
  /** A release that was tried before may have reached the store: absence is then its success. */
  #tried: Set<number> | undefined;
  /** Of a lost one with several keys: resolves when what was left of it has been given up. */
  #rest: Promise<unknown> | undefined;

  /** Made by a manager. */
  constructor(
    owner: LockOwner,
    acquisition: Acquisition<Lock>,
    { keys, want, parts, called }: {
      readonly keys: readonly string[];
      readonly want: Want;
      readonly parts: readonly Held[];
      readonly called: number;
    },
  ) {
    super();
    this.#acquisition = acquisition;
    this.#owner = owner;
    this.keys = keys;
    this.#want = want;
    this.#parts = parts;
    this.#acquired = parts.reduce((last, { kept }) => Math.max(last, kept.granted), 0);
    for (let index = 0; index < parts.length; index++) {
      parts[index]!.kept.listener = new Part(this, index);
    }
    const waited = this.#acquired - called;
    owner.log?.("debug", "acquired", this.#named({ waited }));
    owner.tell("acquired", () => new AcquiredEvent(this.key, this.token, waited));
    // It may have been lost between the grant and this moment.
    for (const { kept } of parts) if (kept.loss !== undefined) this.#lose(kept.loss);
  }

  /** The key; with several, the first. */
  get key(): string {
    return this.keys[0]!;
  }

  /** As {@linkcode Lock.key}: the name that Web Locks give it. */
  get name(): string {
    return this.key;
  }

  /** As asked for. */
  get mode(): Mode {
    return this.#want.mode;
  }

  /** How many may hold together: 1, the `limit` asked for, or Infinity if shared. */
  get limit(): number {
    return this.#want.limit;
  }

  /** Milliseconds, as asked for. */
  get ttl(): number {
    return this.#want.ttl;
  }

  /** As given. */
  get metadata(): Json | undefined {
    return this.#want.metadata === undefined ? undefined : JSON.parse(this.#want.metadata);
  }

  /** What `inspect()` shows of it. */
  get id(): string {
    return this.#parts[0]!.kept.claim.id;
  }

  /**
   * Fencing token of {@linkcode Lock.key}: of two grants that exclude each other, the later has the
   * greater one. Give it to whatever you write to, and have that refuse a smaller one than it has seen.
   * The order is that of the store: the news of a grant may reach its holder only after a thief has been
   * granted the lock.
   */
  get token(): bigint {
    return this.#parts[0]!.kept.token!;
  }

  /** A fencing token for each key. */
  get tokens(): ReadonlyMap<string, bigint> {
    return new Map(this.keys.map((key, index) => [key, this.#parts[index]!.kept.token!]));
  }

  /** Until when tokens rise, by the backend's nature; see its own documentation. */
  get fencing(): Fencing {
    return this.#owner.fencing;
  }

  /** Whether it is proven held at this very moment. */
  get held(): boolean {
    return this.#check();
  }

  /** Milliseconds for which it is proven held if it is not renewed; 0 once it is over. */
  get remaining(): number {
    if (!this.#check()) return 0;
    const now = this.#owner.now();
    return Math.max(0, Math.min(...this.#parts.map(({ kept }) => kept.deadline - now)));
  }

  /**
   * Aborted iff the lock is no longer held: with a {@linkcode LockLostError} the moment it can no
   * longer be proven held, with a {@linkcode LockReleasedError} once it is released.
   *
   * Reading it, or its `aborted`, looks at the clock, so `lock.signal.throwIfAborted()` is right even
   * if the event loop was blocked for longer than the ttl.
   */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      checkWhenRead(this.#controller.signal, () => this.#check());
      if (this.#state !== "held") this.#controller.abort(this.#ended());
    }
    this.#check();
    return this.#controller.signal;
  }

  /**
   * Renews now, rather than at the next heartbeat. On ZooKeeper {@linkcode Lock.remaining} follows a
   * renewal later, when one that was sent a `tickTime` after its answer is acknowledged too.
   *
   * @throws {LockLostError} if it is lost
   * @throws {LockReleasedError} if it has been released
   * @throws {BackendError} if the store did not answer: it is still held until its deadline
   */
  async renew(): Promise<void> {
    if (!this.#check()) throw this.#ended();
    const results = await Promise.allSettled(this.#parts.map(({ lease, kept }) => lease.renew(kept)));
    if (!this.#check()) throw this.#ended();
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  /**
   * Gives it up. `true`: this call, or an earlier one, gave it up; `false`: it had been lost before.
   * Either way it is not held any more, from the moment of the call; with `atLeast` its key may stay taken.
   *
   * @throws {BackendError} if the store could not be asked, which is an "error" event too. It can be called
   * again, the core goes on trying behind it, and the ttl frees the lock at the latest
   */
  release(): Promise<boolean> {
    return this.#release ??= this.#giveUp();
  }

  /** Releases it and never throws: a failure is an "error" event, and the ttl frees the lock. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.release();
    } catch {
      // It has been an event by now.
    }
  }

  /** For `JSON.stringify`: what `inspect()` shows of it, tokens as strings. */
  toJSON(): Json {
    const { fencing: _, ...shown } = fields(this);
    return plainFields(Object.entries(shown));
  }

  #giveUp(): Promise<boolean> {
    this.#check();
    if (this.#state === "lost") return Promise.resolve(this.#rest).then(() => false);
    let sent: number | undefined;
    if (this.#state === "held") {
      this.#state = "released";
      const now = this.#owner.last();
      this.#lasted = now - this.#acquired;
      // Before anything is sent: from then on somebody else may hold it. Who hears it may take his time.
      if (this.#controller === undefined) sent = now;
      else this.#controller.abort(this.#ended());
    }
    const several = this.#parts.length > 1;
    const asked = several ? this.#releaseAll() : this.#endPart(0, sent);
    return asked.then((released) => this.#gaveUp(released), (error) => {
      const repeated = several ? Promise.reject(error) : this.#repeat(0, error);
      return repeated.then((released) => this.#gaveUp(released), (error) => {
        this.#release = undefined;
        this.#tell("error", () => new LockErrorEvent(this.key, error, this.token));
        throw error;
      });
    });
  }

  #gaveUp(released: boolean): boolean {
    this.#owner.drop(this.#acquisition);
    if (released) {
      this.#owner.log?.("debug", "released", this.#named({ lasted: this.#lasted }));
      this.#tell("released", () => new ReleasedEvent(this.key, this.token, this.#lasted));
    } // Only now it shows that the store had dropped it before it was released.
    else this.#tellLoss(this.#parts.find(({ kept }) => kept.loss !== undefined)?.kept.loss ?? "revoked");
    return released;
  }

  /** Each of several keys, whatever becomes of the others. */
  async #releaseAll(): Promise<boolean> {
    const answers = await Promise.allSettled(this.#parts.map((_, index) => this.#releasePart(index)));
    for (const answer of answers) if (answer.status === "rejected") throw answer.reason;
    return answers.every((answer) => answer.status === "fulfilled" && answer.value);
  }

  /** One of several, unless that has succeeded before. */
  async #releasePart(index: number): Promise<boolean> {
    return this.#answers[index] ??= await this.#endPart(index).catch((error) => this.#repeat(index, error));
  }

  /** Releases the claim for one key, unless the key has to stay taken for a while. */
  #endPart(index: number, sent?: number): Promise<boolean> {
    const { lease, kept } = this.#parts[index]!;
    kept.listener = undefined;
    const until = this.#acquired + this.#want.atLeast;
    if (this.#owner.last() < until) return lease.linger(kept, until);
    const released = lease.release(kept, sent);
    // Gone by an earlier try.
    return this.#tried?.has(index) ? released.then(() => true) : released;
  }

  /** As long as that may help. */
  async #repeat(index: number, error: unknown): Promise<boolean> {
    const failing = this.#owner.now();
    for (let failures = 0;; failures++) {
      (this.#tried ??= new Set()).add(index);
      this.#owner.log?.("warn", "a release failed, it will be repeated", { key: this.keys[index], error });
      const patience = Math.min(this.#owner.retryFor, this.ttl / 3);
      if (!(error as BackendError).retryable || this.#owner.now() - failing >= patience) throw error;
      await this.#owner.rest(failures);
      try {
        return await this.#endPart(index);
      } catch (caught) {
        error = caught;
      }
    }
  }

  #lose(why: LossReason): void {
    if (this.#state !== "held") return;
    this.#state = "lost";
    this.#why = why;
    this.#controller?.abort(this.#ended());
    this.#owner.drop(this.#acquisition);
    this.#tellLoss(why);
    // Lost as a whole: what is left of it protects nothing.
    const left = this.#parts.filter(({ kept }) => !kept.over);
    if (left.length > 0) this.#rest = Promise.all(left.map(({ lease, kept }) => lease.withdraw(kept)));
  }

  /** Looks at the clock. */
  #check(): boolean {
    if (this.#state !== "held") return false;
    for (const { kept } of this.#parts) if (!kept.held) return false;
    return this.#state === "held";
  }

  #ended(): LockLostError | LockReleasedError {
    return this.#state === "lost" ? new LockLostError(this.key, this.#why) : new LockReleasedError(this.key);
  }

  #tellLoss(why: LossReason): void {
    this.#owner.log?.("warn", "lost", this.#named({ reason: why }));
    this.#tell("lost", () => new LostEvent(this.key, this.token, why));
  }

  /** What a logger is told: with the token as a string, which every logger can write. */
  #named(details: Record<string, unknown>): Record<string, unknown> {
    const { key, keys, token } = this;
    return { key, ...(keys.length > 1 && { keys }), token: String(token), ...details };
  }

  #tell<T extends keyof LockEvents>(type: T, make: () => LockEvents[T]): void {
    this.emit(type, make);
    this.#owner.tell(type, make as () => ManagerEvents[T]);
  }
}

/** What there is to see of a lock. */
function fields(lock: Lock) {
  const { key, keys, id, mode, limit, ttl, metadata, token, tokens, fencing, held, remaining } = lock;
  return {
    key,
    ...(keys.length > 1 && { keys, tokens: Object.fromEntries(tokens) }),
    id,
    mode,
    limit,
    ttl,
    ...(metadata !== undefined && { metadata }),
    token,
    fencing,
    held,
    remaining,
  };
}

showAs(Lock.prototype, fields);

/**
 * Makes a signal look at the clock whenever it is asked, also where it was put into a variable. The
 * check may abort the signal, which may read `aborted` in turn: hence the guard.
 */
function checkWhenRead(signal: AbortSignal, check: () => void): void {
  let checking = false;
  const checked = () => {
    if (checking) return;
    checking = true;
    try {
      check();
    } finally {
      checking = false;
    }
  };
  const { get } = Object.getOwnPropertyDescriptor(AbortSignal.prototype, "aborted")!;
  Object.defineProperties(signal, {
    aborted: {
      configurable: true,
      get() {
        checked();
        return get!.call(signal);
      },
    },
    throwIfAborted: {
      configurable: true,
      value() {
        checked();
        AbortSignal.prototype.throwIfAborted.call(signal);
      },
    },
  });
}
