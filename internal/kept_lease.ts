import type { Alarm } from "./alarms.ts";
import type { Claim, Contended, Gone, Lease, Outcome } from "./backend.ts";
import { Acknowledged } from "./acknowledged.ts";
import { Bag } from "./bag.ts";
import { ask, Question } from "./calls.ts";
import type { Core } from "./core.ts";
import { heartbeat, provenFor } from "./deadline.ts";
import { Debts } from "./debts.ts";
import { BackendError } from "./errors.ts";
import { Idleness } from "./idleness.ts";
import { type Keeper, KeptClaim } from "./kept_claim.ts";
import { decodeKey } from "./keys.ts";
import { Limiter } from "./limiter.ts";

/** Milliseconds that a heartbeat waits for its answer at most, however long the ttl is. */
const ANSWER = 10_000;

/** How many claims that a heartbeat left open are asked about at once. */
const AT_ONCE = 16;

/** The leases of a manager, as one of them sees the others. */
export interface Home {
  /** This one has ended. */
  forget(lease: KeptLease): void;
  /** One more is idle. */
  thin(): void;
}

/**
 * A lease and its heartbeat: one loop keeps any number of claims alive, waiting ones included.
 *
 * What became unknown, lost or expired is a debt: it is released again at every beat until the store
 * confirms. Where the lease's own life keeps its claims alive, a debt would live on with it, so such
 * a lease takes no new claims and is closed when the last one has left. So is one that has not been used for a
 * while: it may cost the store a session, a connection, heartbeats.
 */
export class KeptLease implements Keeper {
  /** Milliseconds asked for. */
  readonly ttl: number;
  readonly #core: Core;
  readonly #home: Home;
  readonly #lease: Lease;
  readonly #claims = new Bag<KeptClaim>();
  readonly #debts: Debts;
  readonly #period: number;
  readonly #acknowledged: Acknowledged;
  /** The claims under it live and die with it: its timer is theirs. */
  readonly #shared: boolean;
  /** When the next heartbeat is due; and its alarm, which may ring before that. */
  #due = Infinity;
  #beat: Alarm | undefined;
  #beating = false;
  #paying = false;
  #failures = 0;
  /** Claims of locks that are released, and whose keys stay taken until then. */
  readonly #lingering = new Map<Claim, { readonly stays: KeptClaim; readonly alarm: Alarm }>();
  /** Claims that a heartbeat left open, being asked about one by one. */
  readonly #asking = new Set<KeptClaim>();
  readonly #questions = new Limiter(AT_ONCE);
  readonly #idleness: Idleness;
  /** Releases in flight: closing the lease under them would turn their answer into "it was gone". */
  #releasing = 0;
  #retired = false;
  #ended = false;
  #closing: Promise<void> | undefined;

  private constructor(
    core: Core,
    home: Home,
    { ttl, opened }: { readonly ttl: number; readonly opened: number },
    open: (told: (outcome: Gone, id?: string) => void) => Lease,
  ) {
    this.#core = core;
    this.#home = home;
    this.ttl = ttl;
    this.#lease = open((outcome, id) => this.#gone(outcome, id));
    const { timer, settle } = core.backend.traits;
    this.#shared = timer === "lease";
    this.#acknowledged = new Acknowledged(opened, settle);
    this.#period = heartbeat(Math.min(ttl, this.#lease.ttl), settle);
    this.#debts = new Debts({
      now: () => core.alarms.now(),
      release: (kept) => {
        this.#releasing++;
        return this.#release(kept);
      },
      failed: ({ claim: { key } }, error) =>
        core.log("warn", "a release failed, it will be repeated", { key: decodeKey(key), error }),
    });
    this.#idleness = new Idleness(core.alarms, () => void this.close());
    if (this.#shared) this.#schedule(this.#period);
    this.#rest();
  }

  /** Opens a lease in the store. */
  static async open(core: Core, ttl: number, home: Home): Promise<KeptLease> {
    const { alarms, backend, client } = core;
    const opened = alarms.now();
    // The store may speak before it has answered.
    const early: [Gone, string?][] = [];
    let told = (outcome: Gone, id?: string): void => void early.push([outcome, id]);
    const lease = await ask(alarms, {
      what: () => `open a lease on ${backend.name}`,
      timeout: core.callTimeout(ttl),
      send: (call) =>
        backend.lease({
          ttl,
          client,
          told: (outcome, id) => told(outcome, id),
          warn: (message) => core.log("warn", message, {}),
        }, call),
    });
    const kept = new KeptLease(core, home, { ttl, opened }, (hear) => {
      told = hear;
      return lease;
    });
    for (const [outcome, id] of early) told(outcome, id);
    return kept;
  }

  /** Whether new claims may go under it. */
  get usable(): boolean {
    if (this.#ended || this.#retired) return false;
    return !this.#shared ||
      (this.#debts.size === 0 && this.#core.alarms.now() < this.#acknowledged.since + this.#provenFor);
  }

  /** Whether it still exists, as far as the store has told. */
  get alive(): boolean {
    return !this.#ended;
  }

  /** Since when nothing is held, waited for or owed under it; `Infinity` while something is. */
  get idleSince(): number {
    return this.#idleness.since;
  }

  /** Takes a claim in; it is renewed from now on. */
  enter(claim: Claim, renews: boolean): KeptClaim {
    this.#idleness.end();
    const kept = new KeptClaim(this.#core.alarms, claim, renews, this);
    this.#claims.add(kept);
    if (this.#due === Infinity) this.#schedule(this.#period, this.#core.alarms.last);
    return kept;
  }

  /** Asks for the lock, or how the claim stands. A rejection leaves that unknown. */
  attempt(kept: KeptClaim, sent: number = this.#core.alarms.now()): Promise<Outcome> {
    return new AttemptQuestion(this.#core, this, this.#lease, kept, sent).ask();
  }

  /** The store has answered an attempt. */
  attempted(kept: KeptClaim, outcome: Outcome, sent: number): void {
    if (outcome.state === "gone" || (outcome.state === "contended" && !kept.claim.wait)) return;
    kept.progress = "entered";
    kept.seen = Math.max(kept.seen, sent);
    this.#prove(kept, this.#shared ? this.#acknowledged.since : sent);
    if (outcome.state === "contended") this.#waits(kept, outcome);
  }

  /** Resolves, with the outcome if it is known by then, when asking again is worth while. */
  changed(kept: KeptClaim, call: Parameters<Lease["changed"]>[1]): Promise<Outcome | void> {
    return this.#lease.changed(kept.claim, call);
  }

  /** Renews one claim now. A rejection leaves it unknown, and moves nothing. */
  async renew(kept: KeptClaim): Promise<void> {
    const open = await this.#renew([kept]);
    if (open.length > 0) await this.#askAbout(kept);
    else this.#tellRenewed(kept);
  }

  /** Gives a lock that will not be renewed its full ttl, where being granted did not restart the timer. */
  async restart(kept: KeptClaim): Promise<void> {
    if (this.#left([kept]) < 0.9 * this.#provenFor) {
      await this.renew(kept).catch((error) => kept.listener?.failed?.(error));
    }
  }

  /**
   * Takes the claim out of the store, once. Whether it was there; a rejection leaves it a debt.
   * Nothing is sent for a claim that never was, or that the store has said is gone. `sent`: when, if the
   * clock has just been looked at.
   */
  release(kept: KeptClaim, sent?: number): Promise<boolean> {
    const asks = kept.progress !== "new" && !this.#isGone(kept);
    let answer: Promise<boolean> | undefined;
    if (asks && this.#ended) answer = this.#leave().then(() => false);
    else if (asks) {
      this.#releasing++;
      // Asked before anything else is cleared away, so that the timer behind the alarms runs on.
      answer = this.#release(kept, sent);
    }
    kept.end();
    this.#claims.delete(kept);
    if (answer !== undefined) return answer;
    this.#debts.paid(kept);
    this.#rest();
    return Promise.resolve(false);
  }

  /** The store has answered a release, or has not. */
  released(kept: KeptClaim, confirmed: boolean): void {
    if (confirmed) this.#debts.paid(kept);
    else this.#owe(kept);
    this.#releasing--;
    this.#rest();
  }

  /** Gives up a claim that no caller waits for any more; what cannot be confirmed becomes a debt. */
  async withdraw(kept: KeptClaim): Promise<void> {
    try {
      await this.release(kept);
    } catch (error) {
      this.#core.log("warn", "a withdrawal failed, it will be repeated", {
        key: decodeKey(kept.claim.key),
        error,
      });
    }
  }

  /**
   * The lock is over, and its claim stays until then: it is kept alive like a place in the queue,
   * and has no deadline, since no lock relies on it. Whether it is still there; a rejection
   * leaves that unknown.
   */
  async linger(kept: KeptClaim, until: number): Promise<boolean> {
    if (this.#ended) {
      const what = `Cannot ask after lock ${JSON.stringify(decodeKey(kept.claim.key))}`;
      throw new BackendError(`${what}: its manager is closed, and it is left to its ttl`, {
        retryable: false,
      });
    }
    const stays = this.#lingering.get(kept.claim)?.stays ?? this.#stay(kept, until);
    // So it has its whole ttl, should the process end now.
    await this.renew(stays);
    kept.loss = stays.loss;
    return stays.loss === undefined;
  }

  #stay(kept: KeptClaim, until: number): KeptClaim {
    const { claim } = kept;
    kept.end();
    this.#claims.delete(kept);
    const stays = this.enter(claim, true);
    stays.progress = "entered";
    const alarm = this.#core.alarms.set(until, () => {
      this.#lingering.delete(claim);
      void this.withdraw(stays);
    }, true);
    this.#lingering.set(claim, { stays, alarm });
    stays.listener = {
      lost: () => {
        this.#core.alarms.clear(alarm);
        this.#lingering.delete(claim);
      },
    };
    return stays;
  }

  /** No new claims; closed when the last one has left. */
  retire(): void {
    this.#retired = true;
    this.#rest();
  }

  /**
   * Tells the store that it is over; what cannot be told, the ttl will see to. So it does to claims that are
   * to stay: they are renewed once more, and their lease is not ended.
   */
  async close(): Promise<void> {
    const { alarms } = this.#core;
    const staying = [...this.#lingering.values()];
    const renewed = staying.length > 0 ? this.#renew(staying.map(({ stays }) => stays)) : undefined;
    this.#retired = true;
    this.#ended = true;
    this.#due = Infinity;
    this.#stopAlarm();
    this.#idleness.stop();
    for (const { alarm } of staying) alarms.clear(alarm);
    this.#lingering.clear();
    for (const kept of this.#claims.values()) kept.end();
    this.#claims.clear();
    try {
      if (renewed !== undefined) await Promise.all([renewed, this.#debts.pay()]);
      else {
        this.#debts.forgive();
        await this.#leave();
      }
    } catch (error) {
      this.#core.log("warn", "a lease is left to its ttl", { error });
    } finally {
      this.#home.forget(this);
    }
  }

  /** Ends the lease in the store, and with it every claim under it. */
  #leave(): Promise<void> {
    return this.#closing ??= ask(this.#core.alarms, {
      what: () => `close a lease on ${this.#core.backend.name}`,
      timeout: this.#core.callTimeout(this.ttl),
      send: (call) => this.#lease.close(call),
    }).catch((error) => {
      this.#closing = undefined;
      throw error;
    });
  }

  get #provenFor(): number {
    return provenFor(Math.min(this.ttl, this.#lease.ttl));
  }

  #prove(kept: KeptClaim, since: number): void {
    kept.prove(since, this.#provenFor);
  }

  /** Milliseconds until the first of them can no longer be proven held. */
  #left(claims: readonly KeptClaim[]): number {
    const now = this.#core.alarms.now();
    let left = this.ttl;
    for (const { token, deadline } of claims) {
      if (token !== undefined) left = Math.min(left, deadline - now);
    }
    return Math.max(left, 1);
  }

  /** Those of the claims that the answer leaves open. */
  async #renew(
    claims: readonly KeptClaim[],
    timeout: number = Math.min(this.#core.callTimeout(this.ttl), this.#left(claims)),
  ): Promise<KeptClaim[]> {
    const sent = this.#core.alarms.now();
    const outcomes = await ask(this.#core.alarms, {
      what: () => `renew ${claims.length} locks on ${this.#core.backend.name}`,
      timeout,
      send: (call) => this.#lease.renew(claims.map(({ claim }) => claim), call),
    });
    if (this.#ended) return [];
    if (this.#shared) this.#acknowledged.add(sent, this.#core.alarms.now());
    const since = this.#shared ? this.#acknowledged.since : sent;
    const unproven: KeptClaim[] = [];
    for (const kept of claims) {
      const outcome = outcomes.get(kept.claim.id);
      if (outcome === undefined) unproven.push(kept);
      else this.#told(kept, outcome, sent, since);
    }
    // A claim that came in meanwhile was not asked about, but has been seen since the timer restarted.
    if (this.#shared) {
      for (const kept of this.#claims.values()) if (kept.seen >= since) this.#prove(kept, since);
    }
    return unproven;
  }

  /** What a renewal left open is asked; an unanswered question moves nothing. */
  async #askAbout(kept: KeptClaim): Promise<void> {
    const sent = this.#core.alarms.now();
    if (kept.over) return;
    this.#told(kept, await this.attempt(kept), sent, -Infinity);
    this.#tellRenewed(kept);
  }

  #tellRenewed(kept: KeptClaim): void {
    if (!kept.over && kept.token !== undefined) kept.listener?.renewed?.();
  }

  /** What the store says of a claim, other than in answer to its own acquisition. */
  #told(kept: KeptClaim, outcome: Outcome, sent: number, since: number): void {
    if (kept.over) return;
    if (outcome.state === "gone") return kept.lose(outcome.why);
    if (kept.token !== undefined && this.#replaced(kept, outcome, sent)) {
      kept.lose("revoked");
      return this.#owe(kept);
    }
    kept.seen = Math.max(kept.seen, sent);
    this.#prove(kept, since);
    if (kept.token !== undefined) return;
    if (outcome.state === "granted") kept.listener?.granted?.(outcome);
    else if (outcome.recheck !== undefined) this.#waits(kept, outcome); // the store has looked at the queue
  }

  /** It need not ask again before this time, which is a ttl from now at most. */
  #waits(kept: KeptClaim, { recheck = Infinity }: Contended): void {
    kept.recheck = this.#core.alarms.now() + Math.max(1, Math.min(recheck, this.ttl));
  }

  /**
   * A lock that its holder has been granted cannot be waiting in the store, nor have another token: it
   * is another one that stands there. An answer that was asked for before the grant is merely old.
   */
  #replaced(kept: KeptClaim, outcome: Outcome, sent: number): boolean {
    return outcome.state === "granted" ? outcome.token !== kept.token : sent >= kept.granted;
  }

  /** A lock that ran out may still stand in the store; one that the store dropped does not. */
  afterLoss(kept: KeptClaim): void {
    if (!this.#isGone(kept)) void this.withdraw(kept);
    else {
      this.#claims.delete(kept);
      this.#rest();
    }
  }

  /** The store speaks by itself: one claim is gone, or all of them. */
  #gone({ why }: Gone, id?: string): void {
    if (id !== undefined) return this.#claims.values().find(({ claim }) => claim.id === id)?.lose(why);
    this.#ended = true;
    for (const kept of this.#claims.values()) kept.lose(why);
    void this.close();
  }

  #isGone({ loss }: KeptClaim): boolean {
    return loss !== undefined && loss !== "expired";
  }

  #owe(kept: KeptClaim): void {
    if (this.#ended) return;
    const { alarms } = this.#core;
    const until = this.#shared ? Infinity : alarms.now() + this.ttl + this.#core.callTimeout(this.ttl);
    this.#debts.owe(kept, until);
    if (this.#due === Infinity) this.#schedule(this.#retryAfter());
  }

  #release(kept: KeptClaim, sent: number = this.#core.alarms.now()): Promise<boolean> {
    return new ReleaseQuestion(this.#core, this, this.#lease, kept, sent).ask();
  }

  /** The next heartbeat. Whatever is held or waited for keeps the process alive by itself. */
  #schedule(ms: number, from: number = this.#core.alarms.now()): void {
    if (this.#ended) return;
    this.#due = from + ms;
    if (this.#beat !== undefined && this.#beat.at <= this.#due) return;
    this.#stopAlarm();
    this.#beat = this.#core.alarms.set(this.#due, this.#rung, true);
  }

  /** The alarm of the heartbeat has rung. It is not stopped each time that nothing is kept for a while. */
  readonly #rung = (): void => {
    this.#beat = undefined;
    const due = this.#due;
    if (due === Infinity) return;
    this.#due = Infinity;
    const early = due - this.#core.alarms.now();
    if (early > 0) this.#schedule(early);
    else void this.#pulse();
  };

  #stopAlarm(): void {
    if (this.#beat !== undefined) this.#core.alarms.clear(this.#beat);
    this.#beat = undefined;
  }

  /** One heartbeat: renew what is kept, and then pay debts. Nothing but the renewal is waited for. */
  async #pulse(): Promise<void> {
    if (this.#beating || this.#ended) return;
    this.#beating = true;
    const started = this.#core.alarms.now();
    try {
      const renewed = this.#renewAll();
      void this.#payDebts();
      await renewed;
      this.#failures = 0;
    } catch (error) {
      this.#failures++;
      for (const kept of this.#claims.values()) if (!kept.over) kept.listener?.failed?.(error);
      this.#core.log("warn", "a heartbeat failed", { error });
    } finally {
      this.#beating = false;
    }
    this.#rest();
    if (this.#ended || (this.#idle && !this.#shared)) return;
    const next = this.#failures > 0
      ? this.#retryAfter()
      : this.#untilNext(started) - (this.#core.alarms.now() - started);
    this.#schedule(Math.max(next, 1));
  }

  /**
   * A period; but after a gap the first renewal proves nothing until another has followed it (see `Acknowledged`),
   * and what was proven before the gap is nearly over.
   */
  #untilNext(started: number): number {
    const settled = 1.05 * this.#core.backend.traits.settle;
    const gap = started - this.#acknowledged.since > settled + 1.5 * this.#period;
    return this.#shared && gap ? Math.min(settled, this.#period) : this.#period;
  }

  async #payDebts(): Promise<void> {
    if (this.#paying || this.#debts.size === 0) return;
    this.#paying = true;
    await this.#debts.pay();
    this.#paying = false;
    this.#rest();
  }

  #retryAfter(): number {
    return this.#core.backoff(this.#failures, this.#period / 2);
  }

  async #renewAll(): Promise<void> {
    const claims = this.#claims.values().filter(({ renews, token, over, progress }) =>
      // A place in the queue is kept alive in any case.
      (renews || token === undefined) && !over && progress === "entered"
    );
    if (claims.length === 0 && !this.#shared) return;
    const timeout = Math.min(this.#period, this.#left(claims), this.#core.patience(ANSWER));
    const open = new Set(await this.#renew(claims, timeout));
    for (const kept of claims) if (!open.has(kept)) this.#tellRenewed(kept);
    // The next heartbeat does not wait for these: many unanswered ones would cost all the others their locks.
    const asked = [...open].filter((kept) => !this.#asking.has(kept));
    for (const kept of asked) {
      this.#asking.add(kept);
      this.#questions.run(() => this.#askAbout(kept))
        .catch((error) => kept.listener?.failed?.(error))
        .finally(() => this.#asking.delete(kept));
    }
  }

  /** Nothing is held, waited for or owed under it. */
  get #idle(): boolean {
    return this.#claims.size === 0 && this.#debts.size === 0 && this.#releasing === 0;
  }

  /** Stops beating, or ends, when there is nothing left to beat for. */
  #rest(): void {
    if (this.#ended || this.#claims.size > 0 || this.#releasing > 0) return;
    const indebted = this.#debts.size > 0;
    // Ending the lease pays its debts where they live by it.
    if (this.#shared ? indebted || this.#retired : !indebted && this.#retired) void this.close();
    else if (!indebted) {
      if (!this.#shared) this.#due = Infinity;
      this.#idleness.begin();
      this.#home.thin();
    }
  }
}

/** What is asked about a claim: whether it holds, or that it ends. */
abstract class ClaimQuestion<T> extends Question<T> {
  declare protected readonly lease: KeptLease;
  declare protected readonly store: Lease;
  declare protected readonly kept: KeptClaim;
  declare protected readonly sent: number;

  constructor(core: Core, lease: KeptLease, store: Lease, kept: KeptClaim, sent: number) {
    super(core.alarms, sent, core.callTimeout(lease.ttl), kept.progress === "entered");
    this.lease = lease;
    this.store = store;
    this.kept = kept;
    this.sent = sent;
  }

  protected get name(): string {
    return JSON.stringify(decodeKey(this.kept.claim.key));
  }
}

class AttemptQuestion extends ClaimQuestion<Outcome> {
  protected override what(): string {
    return `acquire lock ${this.name}`;
  }

  protected override send(): Promise<Outcome> {
    return this.store.attempt(this.kept.claim, this);
  }

  protected override heard(outcome: Outcome): void {
    this.lease.attempted(this.kept, outcome, this.sent);
  }

  protected override failed({ retryable }: BackendError): void {
    if (this.kept.progress === "new" && retryable) this.kept.progress = "unsure";
  }
}

class ReleaseQuestion extends ClaimQuestion<boolean> {
  protected override what(): string {
    return `release lock ${this.name}`;
  }

  protected override send(): Promise<boolean> {
    return this.store.release(this.kept.claim, this);
  }

  protected override heard(): void {
    this.lease.released(this.kept, true);
  }

  protected override failed(): void {
    this.lease.released(this.kept, false);
  }
}
