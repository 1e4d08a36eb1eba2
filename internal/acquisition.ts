import type { Member } from "./bag.ts";
import type { Claim, Outcome } from "./backend.ts";
import { listen, pause, pauseUntil, unknownOutcome } from "./calls.ts";
import type { Core } from "./core.ts";
import type { BackendError } from "./errors.ts";
import type { KeptClaim } from "./kept_claim.ts";
import type { KeptLease } from "./kept_lease.ts";
import type { Want } from "./options.ts";

/** A claim that holds, and the lease that keeps it. */
export interface Held {
  readonly kept: KeptClaim;
  readonly lease: KeptLease;
}

/** Whom an acquisition serves. */
export interface Applicant<L> {
  /** Somebody else holds; called once. */
  waiting(): void;
  /** A call failed and will be repeated. */
  failed(error: BackendError): void;
  /** All of it holds, in the order of the keys. */
  acquired(held: Held[], acquisition: Acquisition<L>): L;
  /** Nothing goes on behind it any more. */
  ended(acquisition: Acquisition<L>): void;
}

/** What to acquire. */
export interface Application {
  /** Encoded. */
  readonly keys: readonly string[];
  readonly want: Want;
  /** Otherwise it gives up if it would have to. */
  readonly wait: boolean;
  /** Milliseconds of unbroken failure to put up with. */
  readonly retryFor: number;
}

/**
 * One acquisition of one or several keys: takes its place in each queue, one after the other in an
 * order that is the same for everybody and hence free of deadlocks.
 *
 * It can be stopped at any time. The caller is told at once; what has been sent goes on to its end
 * behind that, and is taken back.
 */
export class Acquisition<L> implements Member {
  /** See {@linkcode Member}. */
  slot = -1;
  /** What it came to: `undefined` if it was contended and does not wait. */
  readonly result: Promise<L | undefined>;
  /** Resolves when nothing goes on behind it any more. */
  readonly done: Promise<void>;
  /** What was acquired. */
  lock: L | undefined;
  readonly #core: Core;
  readonly #keys: readonly string[];
  readonly #want: Want;
  readonly #wait: boolean;
  readonly #retryFor: number;
  readonly #applicant: Applicant<L>;
  #resolve!: (lock: L | undefined) => void;
  #reject!: (reason: unknown) => void;
  #settled = false;
  #waited = false;
  #stopped = false;
  /** A key that was already ours has been lost while we waited for another. */
  #broken = false;
  /** A claim of ours was stolen while it waited. */
  #robbed = false;
  /** It has its place, or the store cannot be asked; and who is to be told of that. */
  #stands = false;
  #standing: PromiseWithResolvers<void> | undefined;
  /** The store has it before others. */
  #hasTurn = false;
  /** When the last call was sent; and since when the store has failed without a break. */
  #asked = 0;
  #failing: number | undefined;
  /** How often in a row listening for changes has failed. */
  #deaf = 0;
  #wake: (() => void) | undefined;

  constructor(core: Core, { keys, want, wait, retryFor }: Application, applicant: Applicant<L>) {
    this.#core = core;
    this.#keys = keys;
    this.#want = want;
    this.#wait = wait;
    this.#retryFor = retryFor;
    this.#applicant = applicant;
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    want.signal?.addEventListener("abort", this.#aborted);
    this.done = this.#run();
  }

  /** Nobody waits for it any more. */
  stop(reason: unknown): void {
    if (!this.#settle()) return;
    this.#reject(reason);
    this.#stopped = true;
    this.#wake?.();
  }

  /** Whether it is about this key, encoded. */
  asksFor(key: string): boolean {
    return this.#keys.includes(key);
  }

  /**
   * Resolves once it has its place or its lock, has found the store away, or has come to nothing; if it is to
   * leave again, once nothing of it is left.
   */
  async settled(): Promise<void> {
    if (!this.#stands) await (this.#standing ??= Promise.withResolvers()).promise;
    if (this.#stopped) await this.done;
  }

  #stand(): void {
    this.#stands = true;
    this.#standing?.resolve();
  }

  readonly #aborted = (): void => this.stop(this.#want.signal!.reason);

  /** Whether this is the first time. */
  #settle(): boolean {
    if (this.#settled) return false;
    this.#want.signal?.removeEventListener("abort", this.#aborted);
    return this.#settled = true;
  }

  async #run(): Promise<void> {
    try {
      const held = this.#keys.length === 1 ? await this.#one(this.#keys[0]!) : await this.#many();
      const all = held && (Array.isArray(held) ? held : [held]);
      if (this.#settle()) {
        if (all !== undefined) this.lock = this.#applicant.acquired(all, this);
        this.#resolve(this.lock);
      } else if (all !== undefined) await giveBack(all);
    } catch (error) {
      if (this.#settle()) this.#reject(error);
    }
    this.#stand();
    this.#applicant.ended(this);
  }

  async #many(): Promise<Held[] | undefined> {
    const sorted = this.#keys.toSorted((a, b) => a < b ? -1 : 1);
    while (!this.#stopped) {
      const all = await this.#all(sorted);
      if (all === undefined) return undefined;
      if (all !== "again") return this.#keys.map((key) => all[sorted.indexOf(key)]!);
    }
    return undefined;
  }

  async #all(keys: readonly string[]): Promise<Held[] | undefined | "again"> {
    const all: Held[] = [];
    this.#broken = false;
    try {
      for (const key of keys) {
        const held = await this.#one(key);
        if (held === undefined) break;
        all.push(held);
        held.kept.onLost = () => {
          this.#broken = true;
          this.#wake?.();
        };
      }
    } catch (error) {
      await giveBack(all);
      throw error;
    }
    if (all.some(({ kept }) => kept.loss === "stolen")) this.#robbed = true;
    // Looks at the clock once more: the first keys may have run out while we waited for the last.
    if (all.length === keys.length && all.every(({ kept }) => kept.held)) return all;
    await giveBack(all);
    return this.#broken || all.length === keys.length ? "again" : undefined;
  }

  get #ended(): boolean {
    return this.#stopped || this.#broken;
  }

  /** One key: claim after claim, until one holds. */
  async #one(key: string): Promise<Held | undefined> {
    const { leases, entrances } = this.#core;
    const want = this.#want;
    while (!this.#ended) {
      const lease = leases.current(want.ttl) ?? await this.#patiently(() => leases.open(want.ttl));
      if (lease === undefined) return undefined;
      const entered = entrances && await entrances.take(key, this.#wait);
      if (!lease.usable || this.#ended) {
        entered?.();
        continue;
      }
      const kept = lease.enter(this.#claim(key), want.renew);
      let outcome: Outcome | undefined;
      try {
        outcome = await this.#queue(lease, kept, entered);
      } catch (error) {
        // A store that does not answer must not keep the caller waiting for the withdrawal as well.
        if (this.#settle()) this.#reject(error);
        await lease.withdraw(kept);
        throw error;
      } finally {
        entered?.();
      }
      if (outcome?.state === "granted" && !this.#ended && kept.grant(outcome.token)) {
        if (!want.renew) await lease.restart(kept);
        return { kept, lease };
      }
      await lease.withdraw(kept);
      if (outcome?.state === "contended") return undefined;
      // Gone, or granted too late to be proven: a new claim, at the tail. A thief that has been robbed is
      // behind who robbed it, and waits.
      if (kept.loss === "stolen") this.#robbed = true;
    }
    return undefined;
  }

  /** One claim: until it is granted or refused. `undefined`: it is gone, or the acquisition is stopped. */
  async #queue(
    lease: KeptLease,
    kept: KeptClaim,
    entered?: (failed?: boolean) => void,
  ): Promise<Outcome | undefined> {
    let told: Outcome | undefined;
    kept.onGranted = (grant) => {
      told = grant;
      this.#wake?.();
    };
    kept.onLost = () => this.#wake?.();
    const moot = () => told !== undefined || kept.over || !lease.alive;
    const { turns } = this.#core;
    const send = () => {
      this.#hasTurn = true;
      if (this.#ended || moot()) return undefined;
      const answer = lease.attempt(kept);
      this.#asked = this.#core.alarms.last; // a call looks at the clock first
      if (entered !== undefined) answer.then(() => entered(), () => entered(true));
      return answer;
    };
    const attempt = () => turns.take() ? send() : turns.wait(this.#patience(kept)).then(send);
    while (!this.#ended && !kept.over && lease.alive) {
      const asked = told ?? await this.#patiently(attempt, moot);
      // What the store has said by itself in the meantime counts more than an older answer.
      const outcome = told ?? asked;
      if (outcome?.state === "gone") kept.lose(outcome.why);
      else if (outcome !== undefined) this.#failing = undefined;
      if (outcome === undefined || outcome.state !== "contended" || !this.#wait) return outcome;
      if (!this.#waited) {
        this.#waited = true;
        this.#stand();
        this.#applicant.waiting();
      }
      const news = moot() ? undefined : await this.#news(lease, kept);
      if (news?.state !== "contended") told ??= news;
    }
    return undefined;
  }

  /** Waits for a change in the queue, the recheck time, news by the heartbeat, or the end. */
  async #news(lease: KeptLease, kept: KeptClaim): Promise<Outcome | undefined> {
    if (this.#ended) return undefined;
    const rest = pauseUntil(this.#core.alarms, () => kept.recheck);
    const change = listen((call) => lease.changed(kept, call));
    this.#wake = rest.end;
    try {
      const outcome = await Promise.race([change.heard, rest.over]);
      this.#deaf = 0;
      return outcome ?? undefined;
    } catch (error) {
      this.#applicant.failed(unknownOutcome("listen for the release of a lock", error));
      await this.#pause(this.#core.backoff(this.#deaf++, 1_000));
      return undefined;
    } finally {
      this.#wake = undefined;
      change.stop();
      rest.end();
    }
  }

  /** Ends early when the acquisition is stopped or there is news. */
  async #pause(ms: number): Promise<void> {
    const rest = pause(this.#core.alarms, ms);
    this.#wake = rest.end;
    await rest.over;
    this.#wake = undefined;
  }

  /**
   * Repeats what fails, until the store has failed without a break for `retryFor`: whatever claim it was
   * asked for, and until a claim has a place again.
   */
  async #patiently<T>(
    call: () => Promise<T> | undefined,
    moot: () => boolean = () => false,
  ): Promise<T | undefined> {
    for (let failures = 0; !this.#ended && !moot(); failures++) {
      try {
        const answer = call();
        this.#asked = this.#core.alarms.last;
        return await answer;
      } catch (caught) {
        const error = caught as BackendError;
        if (this.#ended || moot()) return undefined;
        this.#stand();
        this.#applicant.failed(error);
        this.#failing ??= this.#asked;
        if (!error.retryable || this.#core.alarms.now() - this.#failing >= this.#retryFor) throw error;
        this.#giveTurn();
        await this.#pause(this.#core.backoff(failures, 1_000));
      } finally {
        this.#giveTurn();
      }
    }
    return undefined;
  }

  #giveTurn(): void {
    if (this.#hasTurn) this.#core.turns.give();
    this.#hasTurn = false;
  }

  /** Milliseconds that it waits for a turn at most. */
  #patience({ claim }: KeptClaim): number {
    return Math.max(this.#retryFor, this.#core.callTimeout(claim.ttl));
  }

  #claim(key: string): Claim {
    const want = this.#want;
    return {
      id: crypto.randomUUID(),
      key,
      mode: want.mode,
      limit: want.limit,
      ttl: want.ttl,
      metadata: want.metadata,
      client: this.#core.client,
      steal: want.steal && !this.#robbed,
      wait: this.#wait,
      outlives: want.atLeast > 0,
      progress: "new",
    };
  }
}

/** Releases what an acquisition had, and does not need. */
export async function giveBack(all: readonly Held[]): Promise<void> {
  await Promise.all(all.map(({ lease, kept }) => {
    kept.onLost = undefined;
    return lease.withdraw(kept);
  }));
}
