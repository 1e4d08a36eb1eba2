import type { Member } from "./bag.ts";
import type { Claim, Grant, Outcome } from "./backend.ts";
import { listen, pause, pauseUntil, TimeLimit, unknownOutcome } from "./calls.ts";
import { ATTEMPTS, type Core } from "./core.ts";
import { BackendError } from "./errors.ts";
import type { KeptClaim, Listener } from "./kept_claim.ts";
import type { KeptLease } from "./kept_lease.ts";
import type { Leases } from "./leases.ts";
import type { Patience } from "./limiter.ts";
import type { Want } from "./options.ts";

/** A claim that holds, and the lease that keeps it. */
export interface Held {
  readonly kept: KeptClaim;
  readonly lease: KeptLease;
}

/** What to acquire. */
export interface Application {
  /** Encoded. */
  readonly keys: readonly string[];
  readonly want: Want;
  /** Otherwise it gives up if it would have to. */
  readonly wait: boolean;
}

/** Whom acquisitions serve, all of them. */
export interface Applicant<A extends Application, L> {
  /** Milliseconds of unbroken failure to put up with. */
  readonly retryFor: number;
  /** Another claim holds; called once. */
  waiting(application: A): void;
  /** A call failed and will be repeated. */
  failed(application: A, error: BackendError): void;
  /** All of it holds, in the order of the keys. */
  acquired(application: A, held: Held[], acquisition: Acquisition<L, A>): L;
  /** Nothing goes on behind it any more. */
  ended(acquisition: Acquisition<L, A>): void;
}

/**
 * One acquisition of one or several keys: takes its place in each queue, one after the other in an
 * order that is the same for everybody and hence free of deadlocks.
 *
 * It can be stopped at any time. The caller is told at once; what has been sent goes on to its end
 * behind that, and is taken back.
 */
export class Acquisition<L, A extends Application = Application> implements Listener, Member {
  /** See {@linkcode Member}. */
  slot: number = -1;
  /** What it came to: `undefined` if it was contended and does not wait. */
  readonly result: Promise<L | undefined>;
  /** Resolves when nothing goes on behind it any more. */
  readonly done: Promise<void>;
  /** What was acquired. */
  lock: L | undefined;
  readonly #core: Core;
  readonly #leases: Leases;
  readonly #application: A;
  readonly #applicant: Applicant<A, L>;
  #resolve!: (lock: L | undefined) => void;
  #reject!: (reason: unknown) => void;
  #aborted: (() => void) | undefined;
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
  /** What the store has said of the claim by itself. */
  #told: Outcome | undefined;
  /** Nothing has been waited for since the caller's call, which has just looked at the clock. */
  #fresh = true;

  constructor(core: Core, leases: Leases, application: A, applicant: Applicant<A, L>) {
    this.#core = core;
    this.#leases = leases;
    this.#application = application;
    this.#applicant = applicant;
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    const { signal } = application.want;
    if (signal !== undefined) {
      this.#aborted = () => this.stop(signal.reason);
      signal.addEventListener("abort", this.#aborted);
    }
    this.done = this.#run();
    this.#fresh = false;
  }

  /** The caller has given up. */
  stop(reason: unknown): void {
    if (!this.#answer()) return;
    this.#reject(reason);
    this.#stopped = true;
    this.#wake?.();
  }

  /** See {@linkcode Listener}. */
  granted(grant: Grant): void {
    this.#told = grant;
    this.#wake?.();
  }

  /** See {@linkcode Listener}. */
  lost(): void {
    this.#wake?.();
  }

  /** Whether it is about this key, encoded. */
  asksFor(key: string): boolean {
    return this.#application.keys.includes(key);
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

  /** Whether this is the first time. */
  #answer(): boolean {
    if (this.#answered) return false;
    if (this.#aborted !== undefined) {
      this.#application.want.signal!.removeEventListener("abort", this.#aborted);
    }
    return this.#answered = true;
  }

  #run(): Promise<void> {
    const { keys } = this.#application;
    const held = keys.length === 1 ? this.#one(keys[0]!) : this.#many();
    return held.then((held) => this.#came(held), (error) => {
      if (this.#answer()) this.#reject(error);
      this.#end();
    });
  }

  /** What it has come to. */
  #came(held: Held | Held[] | undefined): void | Promise<void> {
    const all = held && (Array.isArray(held) ? held : [held]);
    if (this.#answer()) {
      try {
        if (all !== undefined) this.lock = this.#applicant.acquired(this.#application, all, this);
        this.#resolve(this.lock);
      } catch (error) {
        this.#reject(error);
      }
    } else if (all !== undefined) return giveBack(all).then(() => this.#end());
    this.#end();
  }

  #end(): void {
    this.#place();
    this.#applicant.ended(this);
  }

  async #many(): Promise<Held[] | undefined> {
    const { keys } = this.#application;
    const sorted = keys.toSorted((a, b) => a < b ? -1 : 1);
    while (!this.#stopped) {
      const all = await this.#all(sorted);
      if (all === undefined) return undefined;
      if (all !== "again") return keys.map((key) => all[sorted.indexOf(key)]!);
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
        held.kept.listener = {
          lost: () => {
            this.#broken = true;
            this.#wake?.();
          },
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
    const { want, wait } = this.#application;
    while (!this.#ended) {
      const lease = this.#leases.current(want.ttl) ?? await this.#lease();
      if (lease === undefined) return undefined;
      const entered = entrances && await entrances.take(key, wait);
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
    this.#told = undefined;
    kept.listener = this;
    for (let failures = 0; !this.#ended && !kept.over && lease.alive;) {
      let outcome: Outcome | undefined;
      try {
        outcome = this.#told ?? await this.#attempt(lease, kept, entered);
        failures = 0;
      } catch (error) {
        // A failure counts even if the claim is over by now: where it has ended that too, another would fail like it.
        if (!this.#ended && this.#told === undefined) await this.#failed(error as BackendError, failures++);
        continue;
      } finally {
        this.#leave();
      }
      // What the store has said by itself in the meantime counts more than an older answer.
      outcome = this.#told ?? outcome;
      if (outcome?.state === "gone") kept.lose(outcome.why);
      else if (outcome !== undefined) this.#failing = undefined;
      if (outcome === undefined || outcome.state !== "contended" || !this.#application.wait) return outcome;
      if (!this.#waited) {
        this.#waited = true;
        this.#place();
        this.#applicant.waiting(this.#application);
      }
      const news = this.#moot(lease, kept) ? undefined : await this.#news(lease, kept);
      if (news?.state !== "contended") this.#told ??= news;
    }
    return undefined;
  }

  /** Asks the store, when there is room. `undefined`: it is moot by then. */
  #attempt(
    lease: KeptLease,
    kept: KeptClaim,
    entered?: (failed?: boolean) => void,
  ): Promise<Outcome | undefined> | undefined {
    const { alarms, limiter } = this.#core;
    this.#asked = alarms.last;
    if (limiter.enter()) return this.#send(lease, kept, entered, this.#fresh ? alarms.last : undefined);
    return limiter.wait(this.#patience(kept)).then(() => this.#send(lease, kept, entered));
  }

  #send(
    lease: KeptLease,
    kept: KeptClaim,
    entered?: (failed?: boolean) => void,
    sent?: number,
  ): Promise<Outcome> | undefined {
    this.#inside = true;
    if (this.#ended || this.#moot(lease, kept)) return undefined;
    const answer = lease.attempt(kept, sent);
    this.#asked = this.#core.alarms.last; // a call looks at the clock first
    if (entered !== undefined) answer.then(() => entered(), () => entered(true));
    return answer;
  }

  /** There is nothing to ask about any more. */
  #moot(lease: KeptLease, kept: KeptClaim): boolean {
    return this.#told !== undefined || kept.over || !lease.alive;
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
      this.#applicant.failed(this.#application, unknownOutcome("listen for the release of a lock", error));
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

  /** A lease for its claims. */
  async #lease(): Promise<KeptLease | undefined> {
    const { ttl } = this.#application.want;
    for (let failures = 0; !this.#ended; failures++) {
      try {
        const opening = this.#leases.open(ttl);
        this.#asked = this.#core.alarms.last;
        return await opening;
      } catch (error) {
        if (!this.#ended) await this.#failed(error as BackendError, failures);
      }
    }
    return undefined;
  }

  /**
   * A call has failed, and may be repeated after a pause, until the store has failed without a break for
   * `retryFor`: whatever claim it was asked for, and until a claim has a place again.
   */
  async #failed(error: BackendError, failures: number): Promise<void> {
    this.#place();
    this.#applicant.failed(this.#application, error);
    this.#failing ??= this.#asked;
    if (!error.retryable || this.#core.alarms.now() - this.#failing >= this.#applicant.retryFor) throw error;
    this.#leave();
    await this.#pause(this.#core.backoff(failures, 1_000));
  }

  #leave(): void {
    if (this.#inside) this.#core.limiter.leave();
    this.#inside = false;
  }

  /** How long an attempt waits for its turn. */
  #patience({ claim }: KeptClaim): Patience {
    const ms = Math.max(this.#applicant.retryFor, this.#core.callTimeout(claim.ttl));
    return { signal: new TimeLimit(this.#core.alarms, ms, outnumbered) };
  }

  #claim(key: string): Claim {
    const { want, wait } = this.#application;
    return {
      id: crypto.randomUUID(),
      key,
      limit: want.limit,
      ttl: want.ttl,
      metadata: want.metadata,
      client: this.#core.client,
      steal: want.steal && !this.#robbed,
      wait,
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
    kept.listener = undefined;
    return lease.withdraw(kept);
  }));
}
