import type { Claim, Gone, LossReason, Outcome } from "../../mod.ts";
import { holders } from "../../internal/queue.ts";
import type { Network } from "./network.ts";
import type {
  Append,
  Appended,
  Entry,
  Named,
  Request,
  ServerLease,
  Standing,
  StoreTraits,
  Witness,
} from "./records.ts";
import { Sessions } from "./sessions.ts";
import type { World } from "./world.ts";

interface Watcher {
  readonly ids: ReadonlySet<string>;
  readonly answer: () => void;
}

/** The server side: queues of claims, and the leases they hang on. Each request runs as one step. */
export class Store {
  readonly traits: StoreTraits;
  readonly sessions: Sessions;
  readonly #world: World;
  readonly #network: Network;
  readonly #witness: Witness;
  readonly #queues = new Map<string, Entry[]>();
  readonly #entries = new Map<string, Entry>();
  readonly #named = new Map<string, Entry>();
  /** Claims that must not enter again, and why. */
  readonly #barred = new Map<string, LossReason>();
  #watchers: Watcher[] = [];
  #last = 0n;

  constructor(world: World, network: Network, traits: StoreTraits, witness: Witness) {
    this.#world = world;
    this.#network = network;
    this.#witness = witness;
    this.traits = traits;
    this.sessions = new Sessions(world, network, traits, (lease, why) => this.#drop(lease, why));
  }

  /** The store's own clock. */
  get time(): number {
    return this.sessions.time;
  }

  /** What is really there. */
  entry(id: string): Entry | undefined {
    return this.#entries.get(id);
  }

  /** Everything that has not expired. */
  live(): Entry[] {
    return [...this.#entries.values()].filter(({ expires }) => expires > this.time);
  }

  /** Enters the queue, or says how the claim stands. */
  attempt(lease: ServerLease, claim: Request): Standing {
    this.#prune(claim.key);
    if (lease.gone !== undefined) return { state: "lease gone", why: lease.gone };
    let entry = this.#entries.get(claim.id);
    if (entry === undefined) {
      const why = this.#barred.get(claim.id);
      if (claim.entered || why !== undefined) return { state: "gone", why: why ?? "expired" };
      if (this.time > claim.latest) return { state: "late" };
      entry = this.#enter(lease, claim, claim.id);
      if (entry === undefined) return { state: "passed" };
    } else if (this.traits.kind === "claim") entry.expires = this.time + lease.ttl;
    return this.#standing(entry);
  }

  /** Takes a claim out, and never lets it in again. */
  release(claim: Pick<Claim, "id" | "key">): boolean {
    this.#prune(claim.key);
    this.#barred.set(claim.id, "revoked");
    const entry = this.#entries.get(claim.id);
    if (entry === undefined) return false;
    this.#remove([entry], "released");
    return true;
  }

  /** How the claims of a renewal stand, each with its timer restarted where it has one. */
  renew(lease: ServerLease, claims: readonly Pick<Claim, "id" | "key">[]): Map<string, Standing> {
    const standings = new Map<string, Standing>();
    for (const { id, key } of claims) {
      this.#prune(key);
      const entry = this.#entries.get(id);
      if (entry === undefined) standings.set(id, { state: "gone", why: this.#barred.get(id) ?? "expired" });
      else {
        if (this.traits.kind === "claim") entry.expires = this.time + lease.ttl;
        standings.set(id, this.#standing(entry));
      }
    }
    return standings;
  }

  /** Ends a lease with all its claims. */
  close(lease: ServerLease): void {
    this.#remove([...lease.entries], "released");
    this.sessions.end(lease, "revoked");
  }

  /** Appends an entry of this name, unless there is one; refuses what was sent before the lease was fenced. */
  append(lease: ServerLease, request: Append): Appended {
    if (lease.gone !== undefined) return { state: "lease gone", why: lease.gone };
    if (!this.#named.has(request.name)) {
      if (request.epoch !== lease.epoch) return { state: "fenced", epoch: lease.epoch };
      if (this.#enter(lease, request, request.name) === undefined) return { state: "passed" };
    }
    return { state: "present", view: this.view(request.name)! };
  }

  /** The queue up to an entry, which may be of an earlier claim if no token is given. */
  view(name: string, token?: bigint): { queue: Named[]; token: bigint } | undefined {
    const entry = this.#named.get(name);
    if (entry === undefined || (token !== undefined && entry.token !== token)) return undefined;
    const queue = this.#queues.get(entry.key)!;
    const ahead = queue.slice(0, queue.indexOf(entry) + 1);
    return {
      queue: ahead.map(({ id, name, limit, token }) => ({ id, name, limit, token })),
      token: entry.token,
    };
  }

  /** What has become of a claim that is not there. */
  fate(id: string): Gone {
    return { state: "gone", why: this.#barred.get(id) ?? "revoked" };
  }

  /** Takes an entry out, by its token or by its name alone; `fence`: and keeps out what was sent before. */
  leave(
    lease: ServerLease,
    name: string,
    { token, fence }: { token: bigint | undefined; fence: boolean },
  ): { removed: boolean; epoch: number } {
    if (fence) lease.epoch++;
    const entry = this.#named.get(name);
    const removed = entry !== undefined && (token === undefined || entry.token === token);
    if (removed) this.#remove([entry], "released");
    return { removed, epoch: lease.epoch };
  }

  /** Answers once one of the claims has gone. */
  watch(ids: readonly string[], answer: () => void): void {
    if (ids.some((id) => !this.#entries.has(id))) answer();
    else this.#watchers.push({ ids: new Set(ids), answer });
  }

  /** An administrator deletes a claim: the nth of a queue. */
  revoke(key: string, index: number): void {
    const queue = this.#queues.get(key) ?? [];
    const entry = queue[index % Math.max(1, queue.length)];
    if (entry === undefined) return;
    this.#barred.set(entry.id, "revoked");
    this.#remove([entry], "revoked");
    this.#tell(entry, "revoked");
  }

  /** The connections of a store that restarts are gone, and with them what was watched. */
  forgetWatchers(): void {
    this.#watchers = [];
  }

  #enter(lease: ServerLease, claim: Claim, name: string): Entry | undefined {
    const queue = this.#queues.get(claim.key) ?? [];
    this.#queues.set(claim.key, queue);
    const { id, key, limit, steal } = claim;
    const expires = this.traits.kind === "claim" ? this.time + lease.ttl : Infinity;
    const { now } = this.#world;
    const entry: Entry = {
      id,
      name,
      key,
      limit,
      lease,
      token: ++this.#last,
      expires,
      held: false,
      entered: now,
      granted: NaN,
    };
    queue.push(entry);
    if (!claim.wait && !steal && holders(queue) < queue.length) {
      queue.pop();
      // Its client will not come back to release it: a late copy must not enter.
      this.#barred.set(id, "revoked");
      return undefined;
    }
    this.#entries.set(id, entry);
    this.#named.set(name, entry);
    lease.entries.add(entry);
    this.#witness.entered(entry);
    const ahead = queue.slice(0, -1);
    if (steal && ahead.length > 0) {
      for (const victim of ahead) this.#barred.set(victim.id, "stolen");
      this.#remove(ahead, "stolen");
      for (const victim of ahead) this.#tell(victim, "stolen");
    } else this.#grant(key);
    return entry;
  }

  /** Takes out what has expired; the claims of a lease go with it. */
  #prune(key: string): void {
    const { time } = this;
    const expired = this.#queues.get(key)?.filter(({ expires }) => expires <= time) ?? [];
    if (expired.length > 0) this.#remove(expired, "expired");
  }

  #drop(lease: ServerLease, why: LossReason): void {
    this.#remove([...lease.entries], why);
  }

  #remove(entries: readonly Entry[], why: LossReason | "released"): void {
    for (const entry of entries) {
      const queue = this.#queues.get(entry.key)!;
      queue.splice(queue.indexOf(entry), 1);
      this.#entries.delete(entry.id);
      this.#named.delete(entry.name);
      entry.lease.entries.delete(entry);
      this.#witness.left(entry, why);
    }
    for (const key of new Set(entries.map(({ key }) => key))) this.#grant(key);
    const gone = new Set(entries.map(({ id }) => id));
    const woken = this.#watchers.filter(({ ids }) => [...gone].some((id) => ids.has(id)));
    if (woken.length === 0) return;
    this.#watchers = this.#watchers.filter((watcher) => !woken.includes(watcher));
    for (const { answer } of woken) answer();
  }

  #grant(key: string): void {
    const queue = this.#queues.get(key)!;
    for (const entry of queue.slice(0, holders(queue))) {
      if (entry.held) continue;
      entry.held = true;
      entry.granted = this.#world.now;
      this.#witness.granted(entry, queue);
      if (this.traits.push) this.#push(entry, { state: "granted", token: entry.token });
    }
  }

  #standing(entry: Entry): Standing {
    const queue = this.#queues.get(entry.key)!;
    const recheck = Math.min(...queue.map(({ expires }) => expires)) - this.time;
    return {
      state: "present",
      queue: queue.map(({ id, limit, token }) => ({ id, limit, token })),
      ...(Number.isFinite(recheck) && { recheck: Math.max(1, Math.ceil(recheck)) }),
    };
  }

  /** A victim's notice: to a holder that it has lost, to a waiter that it has to ask again. */
  #tell(entry: Entry, why: LossReason): void {
    if (entry.held) {
      this.#network.push(
        entry.lease.process,
        `notice of loss`,
        () => entry.lease.lost(why, entry.id, entry.token),
      );
    } else if (this.traits.push) this.#push(entry, { state: "gone", why });
  }

  #push(entry: Entry, outcome: Outcome): void {
    const { lease, id } = entry;
    this.#network.push(lease.process, `"${outcome.state}"`, () => lease.hear(id, outcome));
  }
}
