import type { Call, Claim, Lease, LeaseRequest, LossReason, Outcome } from "../../internal/backend.ts";
import { BackendError } from "../../internal/errors.ts";
import type { Table } from "../../internal/table.ts";
import { ASKS } from "./attempt.ts";
import { batches } from "./batches.ts";
import type { Connection } from "./connection.ts";
import type { Gather } from "./gather.ts";
import type { KeyChannels } from "./key_channels.ts";
import { listing } from "./listing.ts";
import { claimName, claimOf, queueKey } from "./names.ts";
import { pool } from "./pool.ts";
import { numbers, unexpected, whole } from "./replies.ts";
import type { Scripts } from "./scripts.ts";
import { sleep, type Sleeper } from "./sleeper.ts";
import { STATE } from "./states.ts";

/** What the reply to an attempt says: recheck in milliseconds, time in microseconds. */
type Standing = [state: number, token: number, recheck: number, time: number, more: number];

/** Reads the reply to an attempt. */
function standing(reply: unknown): Standing {
  const said = Array.isArray(reply) ? numbers(reply, 5) : [STATE.granted, whole(reply), 0, 0, 0];
  const [state, token] = said as Standing;
  if (state === STATE.granted ? token > 0 : state >= STATE.unsettled && state < STATE.granted) {
    return said as Standing;
  }
  throw unexpected(reply);
}

/**
 * Milliseconds after which a waiter asks at the latest who is not the first in line: it may have become so by the end
 * of one who can tell nobody.
 */
const RECHECK = 5_000;

/** How many calls of one key each a Cluster gets at once. */
const CLUSTER_WIDTH = 64;

/** What this process knows of one of its claims. */
export interface Track extends Sleeper<Outcome | void> {
  readonly lease: RedisLease;
  readonly claim: Claim;
  /** Attempts that nobody has answered, and the server time at which the last of them is refused. */
  unanswered: number;
  latest: number;
  /** The server time until which they may enter: a second place must not follow the first, lost or not. */
  until: number | undefined;
  /** Attempts whose answer is awaited now. */
  asking: number;
  /** Whether the claim's place, as far as known, does not hold yet. */
  waiting: boolean;
  /** What a message has said, and how many calls had been sent when it came. */
  told: Outcome | undefined;
  toldAfter: number;
  /** Nobody has taken the message yet. */
  news: boolean;
  /** Messages may have been missed since the last attempt. */
  missed: boolean;
}

/** What the leases of a backend share. */
export interface Shared {
  readonly connection: Connection;
  /** Every claim that was sent and not seen to end, by id. */
  readonly tracks: Table<Track>;
  readonly attempts: Gather;
  readonly releases: Gather;
  readonly scripts: Scripts;
  readonly channels: KeyChannels;
}

/** A lease is only a ttl: every claim has a timer of its own in Redis, and one call renews many. */
export class RedisLease implements Lease {
  readonly ttl: number;
  readonly #request: LeaseRequest;
  readonly #connection: Connection;
  readonly #tracks: Table<Track>;
  readonly #attempts: Gather;
  readonly #releases: Gather;
  readonly #scripts: Scripts;
  readonly #channels: KeyChannels;
  /** The names of the claims that were made here. */
  readonly #names = new WeakMap<Claim, string>();
  /** How many calls were sent: tells which answers a message has overtaken. */
  #sent = 0;

  constructor(request: LeaseRequest, { connection, tracks, attempts, releases, scripts, channels }: Shared) {
    this.ttl = request.ttl;
    this.#request = request;
    this.#connection = connection;
    this.#tracks = tracks;
    this.#attempts = attempts;
    this.#releases = releases;
    this.#scripts = scripts;
    this.#channels = channels;
  }

  attempt(claim: Claim, call: Call): Promise<Outcome> {
    const link = this.#connection.link(call);
    if (link instanceof Promise) return link.then(() => this.#ask(this.#track(claim), call));
    return this.#ask(this.#track(claim), call);
  }

  changed(claim: Claim, call: Call): Promise<Outcome | void> {
    const track = this.#tracks.get(claim.id);
    if (track === undefined || track.missed) return Promise.resolve();
    if (track.news) return Promise.resolve(this.#settle(track, track.told!, this.#sent));
    return sleep(track, call).then((news) => news && this.#settle(track, news, this.#sent));
  }

  release(claim: Claim, call: Call): Promise<boolean> {
    const track = this.#tracks.get(claim.id);
    const fence = track !== undefined && track.unanswered > 0 ? `${track.latest}` : "";
    return this.#leave(claim.key, this.#name(claim), fence, call, (removed, stolen) => {
      // Before the message that says so, if that comes at all.
      if (stolen && track?.waiting === false) this.#request.lost("stolen", claim.id);
      if (track !== undefined && this.#tracks.get(claim.id) === track) this.#forget(track);
      return removed || !this.#names.has(claim) && this.#releaseForeign(claim, call);
    });
  }

  async renew(claims: readonly Claim[], call: Call): Promise<Map<string, Outcome>> {
    const outcomes = new Map<string, Outcome>();
    const link = await this.#connection.link(call);
    // One server gets them one after the other, so that it serves others in between.
    const width = link.cluster ? CLUSTER_WIDTH : 1;
    const failed = await pool(batches(claims, link.cluster), width, (batch) => {
      return this.#renewBatch(batch, outcomes, call);
    });
    if ("failure" in failed && outcomes.size === 0) throw failed.failure;
    return outcomes;
  }

  async close(call: Call): Promise<void> {
    const mine = this.#tracks.values().filter((track) => track.lease === this);
    await Promise.all(mine.map(({ claim }) => this.release(claim, call)));
  }

  /** A message about a claim. A holder learns its loss here; anything else waits to be asked for. */
  hear(track: Track, news: Outcome): void {
    track.told = news;
    track.toldAfter = this.#sent;
    if (track.wake !== undefined) return track.wake(news);
    track.news = true;
    if (news.state !== "gone" || track.waiting || track.asking > 0) return;
    this.#forget(track);
    this.#request.lost(news.why, track.claim.id);
  }

  /** Who has to wait, and would not have heard of it until now, listens first and asks again. */
  #ask(track: Track, call: Call): Promise<Outcome> {
    const { key, wait } = track.claim;
    if (!wait || this.#channels.stands(key)) return this.#enter(track, call);
    return this.#enter(track, call).then(async (outcome) => {
      if (outcome.state !== "contended" || !this.#connection.sharded) return outcome;
      try {
        await this.#channels.join(key, track, call);
      } catch (error) {
        // Refused for good means that nothing is left of it.
        if (!(error as BackendError).retryable) await this.release(track.claim, call).catch(() => {});
        throw error;
      }
      return await this.#enter(track, call);
    });
  }

  /** The claim is over, or holds: it waits for no message any more. */
  #forget(track: Track): void {
    this.#tracks.delete(track.claim.id);
    this.#channels.leave(track.claim.key, track);
  }

  /** Sends an attempt, and remembers it for as long as it may arrive. `again`: it was late before. */
  #enter(track: Track, call: Call, again = false): Promise<Outcome> {
    const { key, wait, steal, metadata, progress } = track.claim;
    const started = performance.now();
    const now = this.#connection.serverTimeAt(started);
    // Until then an entry that we have not heard of is surely still there. Later it may have come and gone.
    track.until ??= now + this.ttl * 1_000 - Math.min(this.#connection.uncertainty, this.ttl * 500);
    const entered = progress === "entered" || track.unanswered > 0 && track.until < now;
    const latest = Math.min(now + Math.ceil(call.timeout * 1_000), track.until);
    const asks = (wait ? ASKS.wait : 0) + (steal ? ASKS.steal : 0) + (entered ? ASKS.entered : 0);
    const ask = `${this.ttl * 1_000} ${latest} ${asks} ${this.#name(track.claim)}`;
    track.missed = false;
    track.asking++;
    track.unanswered++;
    track.latest = Math.max(track.latest, latest);
    const sent = ++this.#sent;
    return this.#attempts.run(queueKey(key), [ask, metadata ?? ""], call).then((reply) => {
      track.asking--;
      const [state, token, recheck, time, more] = standing(reply);
      track.unanswered--;
      const answer = this.#outcome(state, token, recheck);
      this.#connection.learn(time);
      if (answer !== undefined) {
        if (more && answer.state === "granted") void this.#advance([queueKey(key)], call);
        return this.#settle(track, answer, sent);
      }
      const left = started + call.timeout - performance.now();
      if (state === STATE.unsettled && left > 0) return this.#enter(track, { ...call, timeout: left });
      if (state === STATE.unsettled) {
        throw new BackendError("Cannot enter the queue: too much of it has expired at once");
      }
      // Refused in time, so the server's clock is further than we thought. It has not entered.
      if (track.unanswered === 0) track.until = undefined;
      if (!again && left > 0) return this.#enter(track, call, true);
      throw new BackendError("Cannot enter the queue: the call arrived too late");
    }, (error: BackendError) => {
      track.asking--;
      // Refused for good: nobody will ask about it again.
      if (!error.retryable && progress === "new") this.#forget(track);
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

  /** Somebody else's claim, of which only the id need be right. */
  async #releaseForeign({ id, key }: Claim, call: Call): Promise<boolean> {
    for await (const { name } of listing(this.#connection, this.#scripts.list, [key], call)) {
      if (claimOf(name)?.id === id) return await this.#leave(key, name, "", call, (removed) => removed);
    }
    return false;
  }

  async #renewBatch(batch: Map<string, Claim[]>, outcomes: Map<string, Outcome>, call: Call): Promise<void> {
    const keys: string[] = [];
    const args: (string | number)[] = [this.ttl * 1_000];
    for (const [key, claims] of batch) {
      keys.push(queueKey(key));
      args.push(claims.length, ...claims.map((claim) => this.#name(claim)));
    }
    const sent = ++this.#sent;
    const all = [...batch.values()].flat();
    const reply = await this.#connection.run(this.#scripts.renew, [keys.length, ...keys, ...args], call);
    const [now, more, ...rest] = numbers(reply, 2 + 3 * all.length);
    this.#connection.learn(now!);
    if (more) void this.#advance(keys, call);
    all.forEach((claim, n) => {
      const outcome = this.#outcome(rest[3 * n]!, rest[3 * n + 1]!, rest[3 * n + 2]!);
      if (outcome === undefined) return;
      if (outcome.state === "gone" && claim.progress !== "entered") return; // it may be about to enter
      const track = this.#tracks.get(claim.id);
      outcomes.set(claim.id, track === undefined ? outcome : this.#settle(track, outcome, sent));
    });
  }

  /**
   * Does the rest of what was too much for one script. Nobody depends on it: each script does a part, those with
   * which the others renew too.
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

  /** `undefined`: it has not entered. */
  #outcome(state: number, token: number, recheck: number): Outcome | undefined {
    if (state === STATE.granted) return { state: "granted", token: BigInt(token) };
    if (state === STATE.contended) {
      return { state: "contended", recheck: recheck || Math.min(this.ttl, RECHECK) };
    }
    const why = WHY[state];
    return why && { state: "gone", why };
  }

  /**
   * What the answer to a call says of a claim, unless a message that overtook the answer knows better.
   * The track says so from here on.
   */
  #settle(track: Track, answer: Outcome, sent: number): Outcome {
    const { told } = track;
    const overtaken = told !== undefined && sent <= track.toldAfter &&
      (told.state === "gone" || answer.state === "contended");
    const outcome = overtaken ? told : answer;
    track.news = false;
    track.waiting = outcome.state === "contended" && track.claim.wait;
    const left = outcome.state === "contended" && !track.claim.wait && track.unanswered === 0;
    if (left || outcome.state === "gone") this.#forget(track);
    else if (outcome.state === "granted") this.#channels.leave(track.claim.key, track);
    return outcome;
  }

  #track(claim: Claim): Track {
    const known = this.#tracks.get(claim.id);
    if (known !== undefined) return known;
    this.#names.set(claim, this.#name(claim));
    const track: Track = {
      lease: this,
      claim,
      unanswered: 0,
      latest: 0,
      until: undefined,
      asking: 0,
      waiting: false,
      told: undefined,
      toldAfter: 0,
      news: false,
      missed: false,
      wake: undefined,
    };
    this.#tracks.set(claim.id, track);
    return track;
  }
}

const WHY: { readonly [state: number]: LossReason | undefined } = {
  [STATE.stolen]: "stolen",
  [STATE.revoked]: "revoked",
  [STATE.expired]: "expired",
};
