import type { Attempt, Call, Claim, Lease, LeaseRequest, Outcome } from "../../internal/backend.ts";
import type { BackendError } from "../../internal/errors.ts";
import { Limiter } from "../../internal/limiter.ts";
import { refused } from "../shared/errors.ts";
import type { KeyChannels } from "./channels.ts";
import { accept, type Hears, type OwnClaim, ownClaim } from "./claim.ts";
import type { Connection } from "./client/connection.ts";
import type { Gather } from "./client/gather.ts";
import { numbers, unexpected, whole } from "./client/replies.ts";
import { departure } from "../shared/departure.ts";
import { claimName, queueKey } from "./names.ts";
import type { Observer } from "./observer.ts";
import { ASKS } from "./scripts/attempt.ts";
import { batches } from "./scripts/renew.ts";
import type { Scripts } from "./scripts/scripts.ts";
import { outcomeOf, standing, STATE } from "./scripts/standing.ts";

/** How many calls of one key each a Cluster gets at once. */
const CLUSTER_WIDTH = 64;

/** What the leases of a backend share. */
export interface Shared {
  readonly connection: Connection;
  /** Every claim that was sent and not seen to end, by id. */
  readonly claims: Map<string, OwnClaim>;
  readonly attempts: Gather;
  readonly releases: Gather;
  readonly scripts: Scripts;
  readonly channels: KeyChannels;
  readonly observer: Observer;
}

/** A lease is only a ttl: every claim has a timer of its own in Redis, and one call renews many. */
export class RedisLease implements Lease, Hears {
  readonly ttl: number;
  readonly #request: LeaseRequest;
  readonly #connection: Connection;
  readonly #claims: Map<string, OwnClaim>;
  readonly #attempts: Gather;
  readonly #releases: Gather;
  readonly #scripts: Scripts;
  readonly #channels: KeyChannels;
  readonly #observer: Observer;
  /** The names of the claims that were made here. */
  readonly #names = new WeakMap<Claim, string>();
  /** How many calls were sent: tells which answers a message has overtaken. */
  #sent = 0;

  constructor(
    request: LeaseRequest,
    { connection, claims, attempts, releases, scripts, channels, observer }: Shared,
  ) {
    this.ttl = request.ttl;
    this.#request = request;
    this.#connection = connection;
    this.#claims = claims;
    this.#attempts = attempts;
    this.#releases = releases;
    this.#scripts = scripts;
    this.#channels = channels;
    this.#observer = observer;
  }

  attempt(claim: Claim, call: Attempt): Promise<Outcome> {
    const link = this.#connection.link(call);
    if (link instanceof Promise) return link.then(() => this.#ask(this.#own(claim), call));
    return this.#ask(this.#own(claim), call);
  }

  changed(claim: Claim, call: Call): Promise<Outcome | void> {
    const own = this.#claims.get(claim.id);
    if (own === undefined || own.missed) return Promise.resolve();
    if (own.news) return Promise.resolve(this.#accept(own, own.told!, this.#sent));
    return departure(own, call).then((news) => news && this.#accept(own, news, this.#sent));
  }

  release(claim: Claim, call: Call): Promise<boolean> {
    const own = this.#claims.get(claim.id);
    const fence = own !== undefined && own.doubts > 0 ? `${own.latest}` : "";
    return this.#leave(claim.key, this.#name(claim), fence, call, (removed, stolen) => {
      // Before the message that says so, if that comes at all.
      if (stolen && own?.waiting === false) this.#request.told({ state: "gone", why: "stolen" }, claim.id);
      if (own !== undefined && this.#claims.get(claim.id) === own) this.#drop(own);
      return removed || !this.#names.has(claim) && this.#releaseForeign(claim, call);
    });
  }

  async renew(claims: readonly Claim[], call: Call): Promise<Map<string, Outcome>> {
    const outcomes = new Map<string, Outcome>();
    const link = await this.#connection.link(call);
    // One server gets them one after the other, so that it serves others in between.
    const limiter = new Limiter(link.cluster ? CLUSTER_WIDTH : 1);
    const done = await Promise.allSettled(
      Array.from(batches(claims, link.cluster), (batch) => {
        return limiter.run(() => this.#renewBatch(batch, outcomes, call));
      }),
    );
    const failed = done.find((one) => one.status === "rejected");
    if (failed !== undefined && outcomes.size === 0) throw failed.reason;
    return outcomes;
  }

  async close(call: Call): Promise<void> {
    const mine = [...this.#claims.values()].filter((own) => own.lease === this);
    await Promise.all(mine.map(({ claim }) => this.release(claim, call)));
  }

  /** A message about a claim. A holder learns its loss here; anything else waits to be asked for. */
  hear(own: OwnClaim, news: Outcome): void {
    own.told = news;
    own.toldAfter = this.#sent;
    if (own.wake !== undefined) return own.wake(news);
    own.news = true;
    if (news.state !== "gone" || own.waiting || own.asking > 0) return;
    this.#drop(own);
    this.#request.told(news, own.claim.id);
  }

  /** A claim that has to wait, and has no channel to be told by yet, listens first and asks again. */
  #ask(own: OwnClaim, call: Attempt): Promise<Outcome> {
    const { key, wait } = own.claim;
    if (!wait || this.#channels.stands(key)) return this.#enter(own, call);
    return this.#enter(own, call).then(async (outcome) => {
      if (outcome.state !== "contended" || !this.#connection.sharded) return outcome;
      try {
        await this.#channels.join(key, own, call);
      } catch (error) {
        // Refused for good means that nothing is left of it.
        if (!(error as BackendError).retryable) await this.release(own.claim, call).catch(() => {});
        throw error;
      }
      return await this.#enter(own, call);
    });
  }

  /** The claim is over, or holds: it waits for no message any more. */
  #drop(own: OwnClaim): void {
    this.#claims.delete(own.claim.id);
    this.#channels.leave(own.claim.key, own);
  }

  /** Sends an attempt, and remembers it for as long as it may arrive. `again`: it was late before. */
  #enter(own: OwnClaim, call: Attempt, again = false): Promise<Outcome> {
    const { key, wait, steal, metadata } = own.claim;
    const started = performance.now();
    const now = this.#connection.time.at(started);
    // Until then an entry that we have not heard of is surely still there. Later it may have come and gone.
    own.until ??= now + this.ttl * 1_000 - this.#connection.time.uncertainty;
    const isNew = !call.entered && own.doubts === 0;
    const entered = call.entered || own.doubts > 0 && own.until < now;
    const latest = Math.min(now + Math.ceil(call.timeout * 1_000), own.until);
    const asks = (wait ? ASKS.wait : 0) + (steal ? ASKS.steal : 0) + (entered ? ASKS.entered : 0);
    const ask = `${this.ttl * 1_000} ${latest} ${asks} ${this.#name(own.claim)}`;
    own.missed = false;
    own.asking++;
    own.doubts++;
    own.latest = Math.max(own.latest, latest);
    const sent = ++this.#sent;
    return this.#attempts.run(queueKey(key), [ask, metadata ?? ""], call).then((reply) => {
      own.asking--;
      const [state, token, recheck, time, more] = standing(reply);
      own.doubts--;
      const answer = outcomeOf(this.ttl, state, token, recheck);
      if (time > 0) this.#connection.time.learn(time, started); // a bare token does not tell
      if (answer !== undefined) {
        if (more && answer.state === "granted") void this.#advance([queueKey(key)], call);
        return this.#accept(own, answer, sent);
      }
      const left = started + call.timeout - performance.now();
      if (state === STATE.unsettled && left > 0) {
        return this.#enter(own, { ...call, signal: call.signal, timeout: left });
      }
      if (state === STATE.unsettled) {
        throw refused("enter the queue", "too much of it has expired at once");
      }
      // Refused in time, so the server's clock is further than we thought. The claim has not entered.
      if (own.doubts === 0) own.until = undefined;
      if (!again && left > 0) return this.#enter(own, call, true);
      throw refused("enter the queue", "the call arrived too late");
    }, (error: BackendError) => {
      own.asking--;
      // Refused for good: the claim will not be asked about again.
      if (!error.retryable && isNew) this.#drop(own);
      throw error;
    });
  }

  #leave(
    key: string,
    name: string,
    fence: string,
    call: Call,
    then: (removed: boolean, stolen: boolean) => boolean | Promise<boolean>,
  ): Promise<boolean> {
    const queue = queueKey(key);
    return this.#releases.run(queue, [name, fence], call).then((reply) => {
      const said = whole(reply);
      if (said < 0 || said > 7) throw unexpected(reply);
      const [removed, more, stolen] = [(said & 1) > 0, (said & 2) > 0, (said & 4) > 0];
      return more ? this.#advance([queue], call).then(() => then(removed, stolen)) : then(removed, stolen);
    });
  }

  /** Another process's claim, of which only the id need be right. */
  async #releaseForeign({ id, key }: Claim, call: Call): Promise<boolean> {
    const name = await this.#observer.nameOf(key, id, call);
    return name !== undefined && await this.#leave(key, name, "", call, (removed) => removed);
  }

  async #renewBatch(batch: Map<string, Claim[]>, outcomes: Map<string, Outcome>, call: Call): Promise<void> {
    const keys: string[] = [];
    const args: (string | number)[] = [this.ttl * 1_000];
    for (const [key, claims] of batch) {
      keys.push(queueKey(key));
      args.push(claims.length, ...claims.map((claim) => this.#name(claim)));
    }
    const [sent, asked] = [++this.#sent, performance.now()];
    const all = [...batch.values()].flat();
    const reply = await this.#connection.run(this.#scripts.renew, [keys.length, ...keys, ...args], call);
    const [now, more, ...rest] = numbers(reply, 2 + 3 * all.length);
    this.#connection.time.learn(now!, asked);
    if (more) void this.#advance(keys, call);
    all.forEach((claim, n) => {
      const outcome = outcomeOf(this.ttl, rest[3 * n]!, rest[3 * n + 1]!, rest[3 * n + 2]!);
      if (outcome === undefined) return;
      const own = this.#claims.get(claim.id);
      outcomes.set(claim.id, own === undefined ? outcome : this.#accept(own, outcome, sent));
    });
  }

  /**
   * Does the rest of what was too much for one script. No claim depends on it: each script does a part, those with
   * which other processes renew too.
   */
  async #advance(keys: readonly string[], call: Call): Promise<void> {
    const none = keys.map(() => 0);
    try {
      const end = performance.now() + call.timeout;
      for (let more = 1; more && performance.now() < end;) {
        const args = [keys.length, ...keys, this.ttl * 1_000, ...none];
        more = numbers(await this.#connection.run(this.#scripts.renew, args, call), 2)[1]!;
      }
    } catch {
      // Others will.
    }
  }

  #name(claim: Claim): string {
    const { channel, sharded } = this.#connection;
    return this.#names.get(claim) ?? claimName(claim, sharded ? `${channel}{}` : channel);
  }

  /** What the answer to call number `sent` comes to, and whether the claim still has to be known. */
  #accept(own: OwnClaim, answer: Outcome, sent: number): Outcome {
    const outcome = accept(own, answer, sent);
    const left = outcome.state === "contended" && !own.claim.wait && own.doubts === 0;
    if (left || outcome.state === "gone") this.#drop(own);
    else if (outcome.state === "granted") this.#channels.leave(own.claim.key, own);
    return outcome;
  }

  #own(claim: Claim): OwnClaim {
    const known = this.#claims.get(claim.id);
    if (known !== undefined) return known;
    this.#names.set(claim, this.#name(claim));
    const own = ownClaim(this, claim);
    this.#claims.set(claim.id, own);
    return own;
  }
}
