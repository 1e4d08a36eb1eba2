import type { Call, Claim, Lease, LeaseRequest, LossReason, Outcome } from "../../internal/backend.ts";
import { BackendError } from "../../internal/errors.ts";
import type { Table } from "../../internal/table.ts";
import { ASKS } from "./attempt.ts";
import { batches } from "./batches.ts";
import type { Connection } from "./connection.ts";
import type { Gather } from "./gather.ts";
import { queueKey } from "./names.ts";
import { pool } from "./pool.ts";
import { RENEW, STATE } from "./scripts.ts";
import { sleep, type Sleeper } from "./sleeper.ts";

/** State, token, recheck in milliseconds, server time in microseconds; strings, if the client likes it so. */
type Reply = [state: number, token: number, recheck: number, now: number];

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
}

/** A lease is only a ttl: every claim has a timer of its own in Redis, and one call renews many. */
export class RedisLease implements Lease {
  readonly ttl: number;
  readonly #request: LeaseRequest;
  readonly #connection: Connection;
  readonly #tracks: Table<Track>;
  readonly #attempts: Gather;
  readonly #releases: Gather;
  /** How many calls were sent: tells which answers a message has overtaken. */
  #sent = 0;

  constructor(request: LeaseRequest, { connection, tracks, attempts, releases }: Shared) {
    this.ttl = request.ttl;
    this.#request = request;
    this.#connection = connection;
    this.#tracks = tracks;
    this.#attempts = attempts;
    this.#releases = releases;
  }

  attempt(claim: Claim, call: Call): Promise<Outcome> {
    const link = this.#connection.link(call);
    if (link instanceof Promise) return link.then(() => this.#enter(this.#track(claim), call));
    return this.#enter(this.#track(claim), call);
  }

  changed(claim: Claim, call: Call): Promise<Outcome | void> {
    const track = this.#tracks.get(claim.id);
    if (track === undefined || track.missed) return Promise.resolve();
    if (track.news) return Promise.resolve(this.#settle(track, track.told!, this.#sent));
    return sleep(track, call).then((news) => news && this.#settle(track, news, this.#sent));
  }

  release(claim: Claim, call: Call): Promise<boolean> {
    const track = this.#tracks.get(claim.id);
    const fence = track !== undefined && track.unanswered > 0 ? track.latest : 0;
    const args: (string | number)[] = [claim.id];
    if (claim.metadata !== undefined || fence > 0) args.push(claim.metadata === undefined ? 0 : 1, fence);
    return this.#releases.run(queueKey(claim.key), args, call).then((removed) => {
      if (this.#tracks.get(claim.id) === track) this.#tracks.delete(claim.id);
      return Number(removed) > 0;
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
    this.#tracks.delete(track.claim.id);
    this.#request.lost(news.why, track.claim.id);
  }

  /** Sends an attempt, and remembers it for as long as it may arrive. `again`: it was late before. */
  #enter(track: Track, call: Call, again = false): Promise<Outcome> {
    const { id, key, limit, client, wait, steal, metadata, progress } = track.claim;
    const started = performance.now();
    const now = this.#connection.serverTimeAt(started);
    // Until then an entry that we have not heard of is surely still there. Later it may have come and gone.
    track.until ??= now + this.ttl * 1_000 - Math.min(this.#connection.uncertainty, this.ttl * 500);
    const entered = progress === "entered" || track.unanswered > 0 && track.until < now;
    const latest = Math.min(now + Math.ceil(call.timeout * 1_000), track.until);
    const asks = (wait ? ASKS.wait : 0) + (steal ? ASKS.steal : 0) + (entered ? ASKS.entered : 0);
    const has = metadata === undefined ? 0 : 1;
    const rest = `${limit === Infinity ? 0 : limit} ${this.#connection.channel} ${has} ${client}`;
    const args = [id, `${this.ttl * 1_000} ${latest} ${asks} ${rest}`];
    if (metadata !== undefined) args.push(metadata);
    track.missed = false;
    track.asking++;
    track.unanswered++;
    track.latest = Math.max(track.latest, latest);
    const sent = ++this.#sent;
    return this.#attempts.run(queueKey(key), args, call).then((reply) => {
      track.asking--;
      track.unanswered--;
      if (!Array.isArray(reply)) {
        return this.#settle(track, this.#outcome(STATE.granted, reply as number, 0), sent);
      }
      const [state, token, recheck, time] = reply as Reply;
      this.#connection.learn(Number(time));
      if (Number(state) !== STATE.late) {
        return this.#settle(track, this.#outcome(state, token, recheck), sent);
      }
      // Refused in time, so the server's clock is further than we thought. It has not entered.
      if (track.unanswered === 0) track.until = undefined;
      if (!again && performance.now() < started + call.timeout) return this.#enter(track, call, true);
      throw new BackendError("Cannot enter the queue: the call arrived too late");
    }, (error: BackendError) => {
      track.asking--;
      // Refused for good: nobody will ask about it again.
      if (!error.retryable && progress === "new") this.#tracks.delete(id);
      throw error;
    });
  }

  async #renewBatch(batch: Map<string, Claim[]>, outcomes: Map<string, Outcome>, call: Call): Promise<void> {
    const keys: string[] = [];
    const args: (string | number)[] = [this.ttl];
    for (const [key, claims] of batch) {
      keys.push(queueKey(key));
      args.push(claims.length, ...claims.map(({ id }) => id));
    }
    const sent = ++this.#sent;
    const reply = await this.#connection.run(RENEW, [keys.length, ...keys, ...args], call) as number[];
    this.#connection.learn(Number(reply[0]));
    let at = 1;
    for (const claim of [...batch.values()].flat()) {
      const outcome = this.#outcome(reply[at]!, reply[at + 1]!, reply[at + 2]!);
      at += 3;
      if (outcome.state === "gone" && claim.progress !== "entered") continue; // it may be about to enter
      const track = this.#tracks.get(claim.id);
      outcomes.set(claim.id, track === undefined ? outcome : this.#settle(track, outcome, sent));
    }
  }

  #outcome(state: number, token: number, recheck: number): Outcome {
    if (Number(state) === STATE.granted) return { state: "granted", token: BigInt(token) };
    if (Number(state) !== STATE.contended) return { state: "gone", why: WHY[Number(state)]! };
    return { state: "contended", recheck: Number(recheck) || this.ttl };
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
    if (left || outcome.state === "gone") this.#tracks.delete(track.claim.id);
    return outcome;
  }

  #track(claim: Claim): Track {
    const known = this.#tracks.get(claim.id);
    if (known !== undefined) return known;
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

const WHY: Record<number, LossReason> = {
  [STATE.stolen]: "stolen",
  [STATE.revoked]: "revoked",
  [STATE.expired]: "expired",
};
