import type { Call, Outcome } from "../../internal/backend.ts";
import { unexpected } from "../redis/client/replies.ts";
import { defeat, GRANTED, proposal, type Tally } from "./ballots.ts";
import type { OwnClaim } from "./claim.ts";
import { MEMORY } from "./client/memory.ts";
import type { Node } from "./client/node.ts";
import { failures, type Quorum, type Reply } from "./client/quorum.ts";
import { nameOf, votesKey } from "./names.ts";
import { ADOPT, ANSWER, RENEW, RETRACT, VOTE } from "./scripts.ts";

/** The votes for claims of this process, at the nodes: asked for, brought to others, renewed, taken back. */
export class Votes {
  readonly #quorum: Quorum;
  /** Milliseconds. */
  readonly #maxTtl: number;
  /** The last ballot proposed: of claims that are made in the same moment, none has to raise its ballot over another. */
  #last = 0;
  /** Votes that are being taken back. */
  readonly #retractions = new Set<Promise<unknown>>();

  constructor(quorum: Quorum, maxTtl: number) {
    this.#quorum = quorum;
    this.#maxTtl = maxTtl;
  }

  /**
   * Asks for votes, with a new ballot: a bare majority first, which is enough if all of it is free. If none can be
   * had, all votes are taken back. A thief asks every node: victims are to learn of it.
   */
  async ask(own: OwnClaim, atLeast: number, call: Call): Promise<Tally> {
    const quorum = this.#quorum;
    await quorum.ready(call);
    const ballot = own.ballot = this.#last = Math.max(proposal(quorum, atLeast), this.#last + 1);
    own.voted.clear();
    const { key, steal } = own.claim;
    const keys = [votesKey(key), MEMORY];
    const ask = (node: Node) => {
      own.asked.add(node);
      return node.run(
        VOTE,
        keys,
        (run) => this.#terms(own, ballot, `${steal ? 1 : 0} ${run}`, node),
        2,
        call,
      );
    };
    let all: readonly Reply<number[]>[] = [];
    try {
      const tally = await quorum.poll(
        call,
        ask,
        (replies, missing) => {
          all = replies;
          const last = replies.at(-1)!;
          if ("value" in last && last.value[0] === ANSWER.granted) own.voted.add(last.node);
          if ("value" in last && last.value[0] === ANSWER.excluded) quorum.late(last.node, last.value[1]);
          if (own.voted.size >= quorum.majority) return GRANTED;
          return own.voted.size + missing >= quorum.majority
            ? undefined
            : defeat(replies, missing, quorum, own.claim);
        },
        quorum.order(key),
        steal ? quorum.nodes.length : quorum.majority,
      );
      if (tally.result !== "granted" && tally.result !== "raise") await this.#retreat(own, all, call);
      return tally;
    } catch (error) {
      await this.#retreat(own, all, call);
      throw error;
    }
  }

  /** Has a node vote for a lock that a majority has just granted or renewed without it. */
  async adopt(own: OwnClaim, node: Node, call: Call): Promise<void> {
    const until = performance.now() + call.timeout;
    const keys = [votesKey(own.claim.key), MEMORY];
    own.asked.add(node);
    const [there] = await node.run(
      ADOPT,
      keys,
      (run) => {
        const latest = Math.ceil(node.serverTime! + (until - performance.now()) * 1_000);
        return this.#terms(own, own.token!, `${latest} ${run}`, node);
      },
      1,
      call,
    );
    if (there === 1) own.voted.add(node);
  }

  /** Has a node take back its vote, and refuse copies of it that are still under way. Whether there was one. */
  async retract({ claim, ballot }: OwnClaim, node: Node, call: Call): Promise<boolean> {
    const args = [claim.id, ballot, claim.metadata === undefined ? 0 : 1];
    const retraction = node.run(RETRACT, [votesKey(claim.key)], () => args, 1, call);
    this.#retractions.add(retraction);
    try {
      const [there] = await retraction;
      return there === 1;
    } finally {
      this.#retractions.delete(retraction);
    }
  }

  /** Has a majority take back its votes for a claim that is withdrawn. Whether there was one. */
  async retractAll(own: OwnClaim, call: Call): Promise<boolean> {
    const quorum = this.#quorum;
    const { asked } = own;
    // Nowhere else can there be a vote; of a claim that is not known here there may be one anywhere.
    const nodes = asked.size < quorum.majority
      ? quorum.nodes
      : [...asked, ...quorum.nodes.filter((node) => !asked.has(node))];
    const first = asked.size < quorum.majority ? nodes.length : asked.size;
    let removed = false;
    await quorum.poll(
      call,
      (node) => this.retract(own, node, call),
      (replies, missing) => {
        const last = replies.at(-1)!;
        removed ||= "value" in last && last.value;
        const answers = replies.length - failures(replies).length;
        if (answers >= quorum.majority) return true;
        if (answers + missing >= quorum.majority) return undefined;
        throw quorum.missed(`release lock ${nameOf(own.claim)}`, failures(replies));
      },
      nodes,
      first,
    );
    return removed;
  }

  /** Resolves once no vote is being taken back any more. */
  async retracted(): Promise<void> {
    await Promise.allSettled(this.#retractions);
  }

  /**
   * Renews the votes for some locks under one lease at all nodes, in one call to each. Resolves with what is known
   * of each lock; what is left of those that are gone is taken back.
   */
  async renew(held: readonly OwnClaim[], ttl: number, call: Call): Promise<Map<OwnClaim, Outcome>> {
    const quorum = this.#quorum;
    const { majority, nodes } = quorum;
    const byKey = Map.groupBy(held, ({ claim }) => claim.key);
    const ordered = [...byKey.values()].flat();
    const keys = [MEMORY, ...[...byKey.keys()].map(votesKey)];
    const named = [...byKey.values()].flatMap((same) => [
      same.length,
      ...same.flatMap(({ claim, token }) => [claim.id, token!]),
    ]);
    const ask = async (node: Node) => {
      const reply = await node.run(RENEW, keys, (run) => [ttl, run, this.#maxTtl, ...named], 0, call);
      // The time alone, if the node stays out.
      if (reply.length === 1 || reply.length === 1 + ordered.length) return reply;
      throw unexpected(reply);
    };
    const replies = await quorum.poll(call, ask, (replies, missing) => {
      const known = ordered.every((_, index) => {
        const { there } = standing(replies, index);
        return there >= majority || there + missing < majority;
      });
      return known || missing === 0 ? replies : undefined;
    });
    const outcomes = new Map<OwnClaim, Outcome>();
    ordered.forEach((own, index) => {
      const { there, missing, stolen } = standing(replies, index);
      if (there >= majority) {
        outcomes.set(own, { state: "granted", token: BigInt(own.token!) });
        for (const node of free(replies, index)) this.adopt(own, node, call).catch(() => {});
      } else if (missing > nodes.length - majority) {
        outcomes.set(own, { state: "gone", why: stolen > 0 ? "stolen" : "revoked" });
        for (const node of own.asked) this.retract(own, node, call).catch(() => {});
      }
    });
    if (outcomes.size === 0 && replies.length - failures(replies).length < majority) {
      throw quorum.missed("renew", failures(replies));
    }
    return outcomes;
  }

  /** What a claim asks of a node, with what differs between {@linkcode VOTE} and {@linkcode ADOPT}. */
  #terms({ claim, request, withdrawn }: OwnClaim, ballot: number, rest: string, node: Node): string[] {
    // Asked for when it is sent: nothing may follow a vote that is taken back.
    if (withdrawn) throw new Error("it was given up before it was sent");
    const { id, limit, client, metadata } = claim;
    const record = `${limit === Infinity ? 0 : limit} ${node.channel} ${
      metadata === undefined ? 0 : 1
    } ${client}`;
    const terms = [id, `${ballot} ${request.ttl * 1_000} ${this.#maxTtl} ${rest}`, record];
    if (metadata !== undefined) terms.push(metadata);
    return terms;
  }

  /** Takes votes back from the nodes that may have given one, and waits for those that surely did. */
  async #retreat(own: OwnClaim, replies: readonly Reply<number[]>[], call: Call): Promise<void> {
    const quorum = this.#quorum;
    const said = new Map(replies.map((reply) => [reply.node, "value" in reply ? reply.value[0] : undefined]));
    const back = (node: Node) => this.retract(own, node, call);
    for (const node of own.asked) if (said.get(node) === undefined) back(node).catch(() => {});
    const voters = quorum.nodes.filter((node) => said.get(node) === ANSWER.granted);
    if (voters.length > 0) {
      await quorum.poll(call, back, (_, missing) => missing === 0 ? true : undefined, voters);
    }
  }
}

/** What the replies to a renewal say of one claim: votes that are there, surely missing, and of these stolen. */
function standing(replies: readonly Reply<number[]>[], index: number) {
  let there = 0, missing = 0, stolen = 0;
  for (const reply of replies) {
    if ("error" in reply) continue;
    const answer = reply.value[index + 1];
    if (answer === 1) there++;
    else missing++;
    if (answer === -1) stolen++;
  }
  return { there, missing, stolen };
}

/** The nodes that have no vote for a claim, though they could have one. */
function free(replies: readonly Reply<number[]>[], index: number): Node[] {
  return replies.filter((reply) => "value" in reply && reply.value[index + 1] === 0).map(({ node }) => node);
}
