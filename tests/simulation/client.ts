import type {
  Attempt,
  Backend,
  Call,
  Claim,
  Entry as Listed,
  Gone,
  Lease,
  LeaseRequest,
  LossReason,
  Outcome,
  Traits,
} from "../../mod.ts";
import { QueueLease } from "../../backends/shared/queue_lease.ts";
import { holders, watched } from "../../internal/queue.ts";
import type { Network } from "./network.ts";
import type { SimProcess } from "./process.ts";
import { type SimQueued, SimQueues } from "./queues.ts";
import type { Random } from "./random.ts";
import type { Place, ServerLease, Standing } from "./records.ts";
import { SETTLE } from "./sessions.ts";
import type { Store } from "./store.ts";

/** What the clients of all processes share. */
export interface Surroundings {
  readonly store: Store;
  readonly network: Network;
  readonly random: Random;
  /** Probability that a renewal leaves a claim out. */
  readonly partial: number;
  /** A release has been confirmed to its caller. */
  readonly withdrawn: (id: string) => void;
  /** A short name for the history. */
  readonly name: (id: string) => string;
}

/** The client side: what a process loads as its backend. */
export class SimBackend implements Backend {
  readonly name = "simulation";
  readonly traits: Traits;
  readonly #process: SimProcess;
  readonly #around: Surroundings;

  constructor(process: SimProcess, around: Surroundings) {
    this.#process = process;
    this.#around = around;
    const { kind } = around.store.traits;
    this.traits = {
      fencing: "consensus",
      order: "fifo",
      inOrder: false,
      semaphore: true,
      minTtl: kind === "settle" ? 3 * SETTLE : 100,
      maxTtl: 86_400_000,
      timer: kind === "claim" ? "claim" : "lease",
      settle: kind === "settle" ? SETTLE : 0,
    };
  }

  async lease({ ttl, client, told, warn }: LeaseRequest): Promise<Lease> {
    const { store, network } = this.#around;
    const news = new News();
    // A copy of the request opens another lease, of which nobody knows: what becomes of it is no news.
    const mine: { lease?: ServerLease } = {};
    const open = (): ServerLease => {
      const lease: ServerLease = store.sessions.open(ttl, {
        process: this.#process,
        hear: news.hear,
        lost: (why, id, token) => {
          if (lease !== mine.lease) return;
          if (queues !== undefined) queues.told({ state: "gone", why }, id, token);
          else told({ state: "gone", why }, id);
        },
      });
      return lease;
    };
    let queues: SimQueues | undefined;
    const lease = mine.lease = await network.call<ServerLease>(
      this.#process,
      "open",
      (answer) => store.sessions.severed || answer(open()),
    );
    if (lease.gone !== undefined) told({ state: "gone", why: lease.gone });
    if (store.traits.kind !== "claim") {
      const request = { ttl, client, told, warn };
      const over = new QueueLease<SimQueued>(
        request,
        (ears) => queues = new SimQueues(this.#process, this.#around, lease, ears),
      );
      return witnessed(over, this.#around.withdrawn);
    }
    return new SimLease(this.#process, this.#around, lease, news, told);
  }

  list(): Promise<Listed[]> {
    return Promise.reject(new Error("not simulated"));
  }

  watch(): Promise<AsyncDisposable> {
    return Promise.reject(new Error("not simulated"));
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** A lease of which it is told when it has confirmed a release. */
function witnessed(lease: Lease, withdrawn: (id: string) => void): Lease {
  return {
    get ttl() {
      return lease.ttl;
    },
    attempt: (claim, call) => lease.attempt(claim, call),
    changed: (claim, call) => lease.changed(claim, call),
    renew: (claims, call) => lease.renew(claims, call),
    close: (call) => lease.close(call),
    async release(claim, call) {
      const removed = await lease.release(claim, call);
      withdrawn(claim.id);
      return removed;
    },
  };
}

/** What the store has pushed, kept until somebody listens. */
class News {
  readonly #told = new Map<string, Outcome>();
  readonly #listeners = new Map<string, (outcome: Outcome) => void>();

  readonly hear = (id: string, outcome: Outcome): void => {
    const listener = this.#listeners.get(id);
    if (listener === undefined) this.#told.set(id, outcome);
    else listener(outcome);
  };

  listen(id: string): Promise<Outcome> {
    const told = this.#told.get(id);
    if (told !== undefined) return Promise.resolve(told);
    return new Promise((resolve) => this.#listeners.set(id, resolve));
  }

  forget(id: string): void {
    this.#told.delete(id);
    this.#listeners.delete(id);
  }
}

class SimLease implements Lease {
  readonly #process: SimProcess;
  readonly #around: Surroundings;
  readonly #lease: ServerLease;
  readonly #news: News;
  readonly #told: (outcome: Gone, id?: string) => void;
  /** Until when, by the store's clock, a claim may enter: no later than its first entry can expire. */
  readonly #latest = new Map<string, number>();
  /** Of waiting claims, by their last answer: whom to watch, and the token that it will be. */
  readonly #waiting = new Map<string, { readonly watched: readonly Place[]; readonly token: bigint }>();

  constructor(
    process: SimProcess,
    around: Surroundings,
    lease: ServerLease,
    news: News,
    told: (outcome: Gone, id?: string) => void,
  ) {
    this.#process = process;
    this.#around = around;
    this.#lease = lease;
    this.#news = news;
    this.#told = told;
  }

  get ttl(): number {
    return this.#lease.ttl;
  }

  async attempt(claim: Claim, { timeout, entered }: Attempt): Promise<Outcome> {
    const { store } = this.#around;
    // As if the client knew the store's clock: real ones carry the time of the last answer.
    const last = this.#latest.get(claim.id) ?? store.time + this.ttl;
    this.#latest.set(claim.id, last);
    const request = { ...claim, entered, latest: Math.min(store.time + timeout, last) };
    const standing = await this.#ask<Standing>("attempt", claim, (answer) => {
      answer(store.attempt(this.#lease, request));
    });
    return this.#outcome(claim, standing);
  }

  async changed(claim: Claim, call: Call): Promise<Outcome | void> {
    const { store } = this.#around;
    if (store.traits.push) {
      call.signal.addEventListener("abort", () => this.#news.forget(claim.id));
      return this.#news.listen(claim.id);
    }
    const ids = [claim.id, ...(this.#waiting.get(claim.id)?.watched ?? []).map(({ id }) => id)];
    await this.#ask<void>("watch", claim, (answer) => store.watch(ids, answer));
  }

  async release(claim: Claim): Promise<boolean> {
    const { store, withdrawn } = this.#around;
    const { id, key } = claim;
    const was = await this.#ask<boolean>("release", claim, (answer) => answer(store.release({ id, key })));
    withdrawn(id);
    this.#news.forget(id);
    this.#waiting.delete(id);
    this.#latest.delete(id);
    return was;
  }

  async renew(claims: readonly Claim[]): Promise<Map<string, Outcome>> {
    const { store, random, partial } = this.#around;
    const asked = claims.filter(() => !random.chance(partial)).map(({ id, key }) => ({ id, key }));
    const standings = await this.#ask<Map<string, Standing> | LossReason>("renewal", undefined, (answer) => {
      if (this.#lease.gone !== undefined) return answer(this.#lease.gone);
      store.sessions.touch(this.#lease);
      answer(store.renew(this.#lease, asked));
    });
    if (typeof standings === "string") throw this.#leaseGone(standings);
    const outcomes = new Map<string, Outcome>();
    for (const claim of claims) {
      const standing = standings.get(claim.id);
      if (standing !== undefined) outcomes.set(claim.id, this.#outcome(claim, standing));
    }
    return outcomes;
  }

  async close(): Promise<void> {
    const { store } = this.#around;
    await this.#ask<void>("close", undefined, (answer) => answer(store.close(this.#lease)));
  }

  /** What the queue rule makes of the store's answer. */
  #outcome(claim: Claim, standing: Standing): Outcome {
    switch (standing.state) {
      case "passed":
        return { state: "contended" };
      case "late":
        // It has not entered now, and what entered before has expired: another claim has to be made.
        return { state: "gone", why: "expired" };
      case "gone":
        return { state: "gone", why: standing.why };
      case "lease gone":
        this.#leaseGone(standing.why);
        return { state: "gone", why: standing.why };
      case "present": {
        const { queue, recheck } = standing;
        const index = queue.findIndex(({ id }) => id === claim.id);
        if (index < holders(queue)) return { state: "granted", token: queue[index]!.token };
        this.#waiting.set(claim.id, { watched: watched(queue, index), token: queue[index]!.token });
        return { state: "contended", ...(recheck !== undefined && { recheck }) };
      }
    }
  }

  #leaseGone(why: LossReason): Error {
    this.#told({ state: "gone", why });
    return new Error("the lease is gone");
  }

  #ask<T>(what: string, claim: Claim | undefined, handle: (answer: (reply: T) => void) => void): Promise<T> {
    const { network, store, name } = this.#around;
    return network.call<T>(
      this.#process,
      claim === undefined ? what : `${what} ${name(claim.id)}`,
      // A follower without a leader answers nothing that can be relied on.
      (answer) => void (store.sessions.severed || handle(answer)),
    );
  }
}
