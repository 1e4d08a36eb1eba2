import { Member } from "./bag.ts";
import type { Claim, Outcome } from "./backend.ts";
import { listen, pause, pauseUntil, TimeLimit, unknownOutcome } from "./calls.ts";
import { ATTEMPTS, type Core } from "./core.ts";
import { BackendError } from "./errors.ts";
import type { KeptClaim } from "./kept_claim.ts";
import type { KeptLease } from "./kept_lease.ts";
import type { Leases } from "./leases.ts";
import type { Patience } from "./limiter.ts";
import type { Want } from "./options.ts";

/** A claim that holds, and the lease that keeps it. */
export interface Held {
  readonly kept: KeptClaim;
  readonly lease: KeptLease;
}

/** Whom an acquisition serves. */
export interface Applicant<L> {
  /** Another claim holds; called once. */
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
export class Acquisition<L> extends Member {
  /** What it came to: `undefined` if it was contended and does not wait. */
  readonly result: Promise<L | undefined>;
  /** Resolves when nothing goes on behind it any more. */
  readonly done: Promise<void>;
  /** What was acquired. */
  lock: L | undefined;
  readonly #core: Core;
  readonly #leases: Leases;
  readonly #keys: readonly string[];
  readonly #want: Want;
  readonly #wait: boolean;
  readonly #retryFor: number;
  readonly #applicant: Applicant<L>;
  #resolve!: (lock: L | undefined) => void;
  #reject!: (reason: unknown) => void;
  #answered = false;
  #waited = false;
  #stopped = false;
  /** A key that was already ours has been lost while we waited for another. */
  #broken = false;
  /** A claim of ours was stolen while it waited. */
  #robbed = false;
  /** It has its place, or the store cannot be asked; and who is to be told of that. */
  #isPlaced = false;
  #placing: PromiseWithResolvers<void> | undefined;
  /** It has a place of the limiter. */
  #inside = false;
  /** When the last call was sent; and since when the store has failed without a break. */
  #asked = 0;
  #failing: number | undefined;
  /** How often in a row listening for changes has failed. */
  #deaf = 0;
  #wake: (() => void) | undefined;

  constructor(
    core: Core,
    leases: Leases,
    { keys, want, wait, retryFor }: Application,
    applicant: Applicant<L>,
  ) {
    super();
    this.#core = core;
    this.#leases = leases;
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

  /** The caller has given up. */
  stop(reason: unknown): void {
    if (!this.#answer()) return;
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
  async placed(): Promise<void> {
    if (!this.#isPlaced) await (this.#placing ??= Promise.withResolvers()).promise;
    if (this.#stopped) await this.done;
  }

  #place(): void {
    this.#isPlaced = true;
    this.#placing?.resolve();
  }

  readonly #aborted = (): void => this.stop(this.#want.signal!.reason);

  /** Whether this is the first time. */
  #answer(): boolean {
    if (this.#answered) return false;
    this.#want.signal?.removeEventListener("abort", this.#aborted);
    return this.#answered = true;
  }

  async #run(): Promise<void> {
    try {
      const held = this.#keys.length === 1 ? await this.#one(this.#keys[0]!) : await this.#many();
      const all = held && (Array.isArray(held) ? held : [held]);
      if (this.#answer()) {
        if (all !== undefined) this.lock = this.#applicant.acquired(all, this);
        this.#resolve(this.lock);
      } else if (all !== undefined) await giveBack(all);
    } catch (error) {
      if (this.#answer()) this.#reject(error);
    }
    this.#place();
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
    const { entrances } = this.#core;
    const want = this.#want;
    while (!this.#ended) {
      const lease = this.#leases.current(want.ttl) ??
        await this.#patiently(() => this.#leases.open(want.ttl));
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
        if (this.#answer()) this.#reject(error);
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
    const answered = () => told !== undefined;
    const moot = () => answered() || kept.over || !lease.alive;
    const { limiter } = this.#core;
    const send = (): Promise<Outcome> | undefined => {
      this.#inside = true;
      if (this.#ended || moot()) return undefined;
      const answer = lease.attempt(kept);
      this.#asked = this.#core.alarms.last; // a call looks at the clock first
      if (entered !== undefined) answer.then(() => entered(), () => entered(true));
      return answer;
    };
    // What `run` of the limiter would do: this is done for every lock.
    const attempt = () => limiter.enter() ? send() : limiter.wait(this.#patience(kept)).then(send);
    while (!this.#ended && !kept.over && lease.alive) {
      const asked = told ?? await this.#patiently(attempt, moot, answered);
      // What the store has said by itself in the meantime counts more than an older answer.
      const outcome = told ?? asked;
      if (outcome?.state === "gone") kept.lose(outcome.why);
      else if (outcome !== undefined) this.#failing = undefined;
      if (outcome === undefined || outcome.state !== "contended" || !this.#wait) return outcome;
      if (!this.#waited) {
        this.#waited = true;
        this.#place();
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
   * asked for, and until a claim has a place again. A failure counts even if it is moot to repeat the call, unless
   * the answer has come in another way: where a failure ends the claim as well, another claim would fail like it.
   */
  async #patiently<T>(
    call: () => Promise<T | undefined> | undefined,
    moot: () => boolean = () => false,
    answered: () => boolean = () => false,
  ): Promise<T | undefined> {
    for (let failures = 0; !this.#ended && !moot(); failures++) {
      try {
        const answer = call();
        this.#asked = this.#core.alarms.last;
        return await answer;
      } catch (caught) {
        const error = caught as BackendError;
        if (this.#ended || answered()) return undefined;
        this.#place();
        this.#applicant.failed(error);
        this.#failing ??= this.#asked;
        if (!error.retryable || this.#core.alarms.now() - this.#failing >= this.#retryFor) throw error;
        this.#leave();
        await this.#pause(this.#core.backoff(failures, 1_000));
      } finally {
        this.#leave();
      }
    }
    return undefined;
  }

  #leave(): void {
    if (this.#inside) this.#core.limiter.leave();
    this.#inside = false;
  }

  /** How long an attempt waits for its turn. */
  #patience({ claim }: KeptClaim): Patience {
    const ms = Math.max(this.#retryFor, this.#core.callTimeout(claim.ttl));
    return { signal: new TimeLimit(this.#core.alarms, ms, outnumbered) };
  }

  #claim(key: string): Claim {
    const want = this.#want;
    return {
      id: crypto.randomUUID(),
      key,
      limit: want.limit,
      ttl: want.ttl,
      metadata: want.metadata,
      client: this.#core.client,
      steal: want.steal && !this.#robbed,
      wait: this.#wait,
      outlives: want.atLeast > 0,
    };
  }
}

function outnumbered(ms: number): BackendError {
  return new BackendError(
    `Cannot ask the store: it has answered none of ${ATTEMPTS} earlier calls in ${Math.round(ms)} ms`,
  );
}

/** Releases what an acquisition had, and does not need. */
export async function giveBack(all: readonly Held[]): Promise<void> {
  await Promise.all(all.map(({ lease, kept }) => {
    kept.onLost = undefined;
    return lease.withdraw(kept);
  }));
}
