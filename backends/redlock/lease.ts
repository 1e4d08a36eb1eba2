import type { Call, Claim, Lease, LeaseRequest, Outcome } from "../../internal/backend.ts";
import { sleep } from "../redis/sleeper.ts";
import { proposal } from "./ballots.ts";
import type { RedlockBackend } from "./backend.ts";
import { nameOf, votesKey } from "./names.ts";
import type { Node } from "./node.ts";
import { failures, type Reply } from "./quorum.ts";
import { renewVotes } from "./renewal.ts";
import { ADOPT, ANSWER, MEMORY, RETRACT, VOTE } from "./scripts.ts";
import { defeat, GRANTED, recheck, type Tally } from "./tally.ts";
import type { Track } from "./track.ts";

/** How many claims one renewal call names. */
const BATCH = 400;
/** How often a ballot that was too low is raised within one attempt. */
const RAISES = 4;

/** The votes for many claims, kept alive together. */
export class RedlockLease implements Lease {
  readonly ttl: number;
  readonly request: LeaseRequest;
  readonly backend: RedlockBackend;

  constructor(request: LeaseRequest, backend: RedlockBackend) {
    this.ttl = request.ttl;
    this.request = request;
    this.backend = backend;
  }

  async attempt(claim: Claim, call: Call): Promise<Outcome> {
    // What has been in the store or waited is known here until it is over.
    if (claim.progress === "entered" && !this.backend.tracks.has(claim.id)) {
      return { state: "gone", why: "revoked" };
    }
    const track = this.backend.track(claim, this);
    // Whoever asks twice gets an answer to a question that was sent after the second.
    while (track.attempt !== undefined) await track.attempt.catch(() => {});
    track.called = false;
    const attempt = track.token === undefined ? this.#enter(track, call) : this.#confirm(track, call);
    track.attempt = attempt;
    try {
      return await attempt;
    } finally {
      track.attempt = undefined;
      this.backend.waiting(claim.key)?.done(track);
    }
  }

  changed(claim: Claim, call: Call): Promise<void> {
    const track = this.backend.tracks.get(claim.id);
    if (track === undefined || track.called) return Promise.resolve();
    return sleep(track, call);
  }

  async release(claim: Claim, call: Call): Promise<boolean> {
    const track = this.backend.track(claim, this);
    track.withdrawn = true;
    const { quorum } = this.backend;
    const { asked } = track;
    // Nowhere else can there be a vote; of a claim that is not known here there may be one anywhere.
    const nodes = asked.size < quorum.majority
      ? quorum.nodes
      : [...asked, ...quorum.nodes.filter((node) => !asked.has(node))];
    const first = asked.size < quorum.majority ? nodes.length : asked.size;
    let removed = false;
    await quorum.poll(
      call,
      (node) => this.retract(track, node, call),
      (replies, missing) => {
        const last = replies.at(-1)!;
        removed ||= "value" in last && last.value;
        const answers = replies.length - failures(replies).length;
        if (answers >= quorum.majority) return true;
        if (answers + missing >= quorum.majority) return undefined;
        throw quorum.missed(`release lock ${nameOf(claim)}`, failures(replies));
      },
      nodes,
      first,
    );
    this.backend.forget(track);
    return removed;
  }

  async renew(claims: readonly Claim[], call: Call): Promise<Map<string, Outcome>> {
    const outcomes = new Map<string, Outcome>();
    const held: Track[] = [];
    for (const { id } of claims) {
      const track = this.backend.tracks.get(id);
      if (track?.token !== undefined) held.push(track);
      // Who waits has left nothing at the nodes that could be renewed.
      else if (track !== undefined && track.attempt === undefined) outcomes.set(id, { state: "contended" });
    }
    let failed: unknown;
    for (let at = 0; at < held.length; at += BATCH) {
      try {
        await renewVotes(this, held.slice(at, at + BATCH), outcomes, call);
      } catch (error) {
        failed = error;
      }
    }
    if (failed !== undefined && outcomes.size === 0) throw failed;
    return outcomes;
  }

  async close(call: Call): Promise<void> {
    const mine = [...this.backend.tracks.values()].filter((track) => track.lease === this);
    await Promise.all(mine.map(({ claim }) => this.release(claim, call)));
  }

  /** Stands for election, once, with as many ballots as that takes. */
  async #enter(track: Track, call: Call): Promise<Outcome> {
    const { claim } = track;
    for (let raises = 0, atLeast = 0;;) {
      const tally = await this.#vote(track, atLeast, call);
      if (tally.result === "granted" && !track.withdrawn) {
        track.token = track.ballot;
        track.losses = 0;
        this.backend.leave(track);
        if (track.asked.size < this.backend.quorum.nodes.length) this.backend.spread.add(track);
        return { state: "granted", token: BigInt(track.ballot) };
      }
      if (tally.result === "raise" && raises++ < RAISES && !track.withdrawn) {
        atLeast = tally.ballot;
        continue;
      }
      if (tally.result === "stolen" || track.withdrawn) {
        this.backend.forget(track);
        return { state: "gone", why: tally.result === "stolen" ? "stolen" : "revoked" };
      }
      if (!claim.wait) {
        this.backend.forget(track);
        return { state: "contended" };
      }
      // What happened before we listened may have been what we wait for.
      if (await this.backend.join(track, call)) continue;
      return { state: "contended", recheck: recheck(tally, track.losses++) };
    }
  }

  /**
   * Asks for votes: a bare majority first, which is enough if all of it is free. If none can be had,
   * all votes are taken back. A thief asks everybody: victims are to learn of it.
   */
  async #vote(track: Track, atLeast: number, call: Call): Promise<Tally> {
    const { quorum } = this.backend;
    await this.backend.ready(call);
    const ballot = track.ballot = Math.max(proposal(quorum, atLeast), track.ballot + 1);
    const { key, steal } = track.claim;
    const keys = [votesKey(key), MEMORY];
    const ask = (node: Node) => {
      track.asked.add(node);
      return node.run(
        VOTE,
        keys,
        (run) => this.#terms(track, ballot, `${steal ? 1 : 0} ${run}`, node),
        2,
        call,
      );
    };
    let all: readonly Reply<number[]>[] = [];
    let granted = 0;
    try {
      const tally = await quorum.poll(
        call,
        ask,
        (replies, missing) => {
          all = replies;
          const last = replies.at(-1)!;
          if ("value" in last && last.value[0] === ANSWER.granted) granted++;
          if ("value" in last && last.value[0] === ANSWER.excluded) quorum.late(last.node, last.value[1]);
          if (granted >= quorum.majority) return GRANTED;
          return granted + missing >= quorum.majority
            ? undefined
            : defeat(replies, missing, quorum, track.claim);
        },
        quorum.order(key),
        steal ? quorum.nodes.length : quorum.majority,
      );
      if (tally.result !== "granted" && tally.result !== "raise") await this.#retreat(track, all, call);
      return tally;
    } catch (error) {
      await this.#retreat(track, all, call);
      throw error;
    }
  }

  /** What a claim asks of a node, with what differs between {@linkcode VOTE} and {@linkcode ADOPT}. */
  #terms({ claim, withdrawn }: Track, ballot: number, rest: string, node: Node): (string | number)[] {
    // Asked for when it is sent: nothing may follow a vote that is taken back.
    if (withdrawn) throw new Error("it was given up before it was sent");
    const { id, limit, client, metadata } = claim;
    const record = `${limit === Infinity ? 0 : limit} ${node.channel} ${
      metadata === undefined ? 0 : 1
    } ${client}`;
    const terms = [id, `${ballot} ${this.ttl * 1_000} ${this.backend.maxTtl} ${rest}`, record];
    if (metadata !== undefined) terms.push(metadata);
    return terms;
  }

  /** Takes votes back from the nodes that may have given one, and waits for those that surely did. */
  async #retreat(track: Track, replies: readonly Reply<number[]>[], call: Call): Promise<void> {
    const { quorum } = this.backend;
    const said = new Map(replies.map((reply) => [reply.node, "value" in reply ? reply.value[0] : undefined]));
    const back = (node: Node) => this.retract(track, node, call);
    for (const node of track.asked) if (said.get(node) === undefined) back(node).catch(() => {});
    const voters = quorum.nodes.filter((node) => said.get(node) === ANSWER.granted);
    if (voters.length > 0) {
      await quorum.poll(call, back, (_, missing) => missing === 0 ? true : undefined, voters);
    }
  }

  /** Has a node take back its vote. Whether there was one. */
  async retract({ claim, ballot }: Track, node: Node, call: Call): Promise<boolean> {
    const args = [claim.id, ballot, claim.metadata === undefined ? 0 : 1];
    const { retractions } = this.backend;
    const retraction = node.run(RETRACT, [votesKey(claim.key)], () => args, 1, call);
    retractions.add(retraction);
    try {
      const [there] = await retraction;
      return there === 1;
    } finally {
      retractions.delete(retraction);
    }
  }

  /** Has a node vote for a lock that a majority has just granted or renewed without it. */
  async adopt(track: Track, node: Node, call: Call): Promise<void> {
    const until = performance.now() + call.timeout;
    const keys = [votesKey(track.claim.key), MEMORY];
    track.asked.add(node);
    await node.run(
      ADOPT,
      keys,
      (run) => {
        const latest = Math.ceil(node.serverTime! + (until - performance.now()) * 1_000);
        return this.#terms(track, track.token!, `${latest} ${run}`, node);
      },
      1,
      call,
    );
  }

  /** Asks after a lock that has been granted. */
  async #confirm(track: Track, call: Call): Promise<Outcome> {
    const outcomes = new Map<string, Outcome>();
    await renewVotes(this, [track], outcomes, call);
    const outcome = outcomes.get(track.claim.id);
    if (outcome === undefined) throw this.backend.quorum.missed(`ask after lock ${nameOf(track.claim)}`, []);
    return outcome;
  }
}
