import type {
  Backend,
  Call,
  Claim,
  Entry,
  Lease,
  LeaseRequest,
  Traits,
  Watcher,
} from "../../internal/backend.ts";
import { list } from "../redis/replies.ts";
import type { Route } from "../redis/route.ts";
import { entries, fields, type NodeVotes } from "./entries.ts";
import { RedlockLease } from "./lease.ts";
import { keyOf, votesKey, votesPattern } from "./names.ts";
import { Node, type NodeEvents } from "./node.ts";
import { failures, Quorum } from "./quorum.ts";
import { LIST } from "./scripts.ts";
import { Spread } from "./spread.ts";
import type { Track } from "./track.ts";
import { Waiters } from "./waiters.ts";

/** See `redlock()`. */
export class RedlockBackend implements Backend {
  readonly name = "redlock";
  readonly traits: Traits;
  readonly users: Set<object> = new Set();
  readonly quorum: Quorum;
  /** Milliseconds. */
  readonly maxTtl: number;
  /** Every claim that was sent and not seen to end, by id. */
  readonly tracks: Map<string, Track> = new Map();
  /** What is to be brought to all nodes. */
  readonly spread: Spread = new Spread(this);
  /** Votes that are being taken back. */
  readonly retractions: Set<Promise<unknown>> = new Set();
  readonly #waiters = new Map<string, Waiters>();

  constructor(routes: readonly Route[], maxTtl: number) {
    this.maxTtl = maxTtl;
    const events: NodeEvents = {
      message: (node, text) => this.#heard(node, text),
      awaits: () => this.tracks.size > 0,
    };
    this.quorum = new Quorum(routes.map((route) => new Node(route, maxTtl, events)));
    this.traits = {
      fencing: "clock",
      order: "none",
      inOrder: true,
      semaphore: false,
      minTtl: 100,
      maxTtl,
      timer: "claim",
      settle: 0,
    };
  }

  /** Nothing is sent: a lease is a ttl. */
  lease(request: LeaseRequest): Promise<Lease> {
    return Promise.resolve(new RedlockLease(request, this));
  }

  list(scope: string, call: Call): Promise<Entry[]> {
    const { nodes, majority } = this.quorum;
    return this.quorum.poll(call, (node) => votesAt(node, scope, call), (replies, missing) => {
      const all = replies.filter((reply) => "value" in reply).map(({ value }) => value);
      if (all.length + missing < majority) throw this.quorum.missed("list locks", failures(replies));
      return all.length < majority
        ? undefined
        : entries(all, majority, missing, nodes.length - all.length - missing);
    });
  }

  async watch(key: string, watcher: Watcher, call: Call): Promise<AsyncDisposable> {
    const ears: AsyncDisposable[] = [];
    let open = true;
    const leave = async () => {
      open = false;
      await Promise.all(ears.splice(0).map((ear) => ear[Symbol.asyncDispose]()));
    };
    const listener = {
      heard: () => watcher.changed(),
      deaf(error: unknown) {
        if (!open) return;
        void leave();
        watcher.failed(error);
      },
    };
    // More than a minority must be heard for no grant to be missed: all that answer are.
    await this.quorum.poll(call, async (node) => {
      const ear = await node.listen(votesKey(key), listener, call);
      if (open) ears.push(ear);
      else await ear[Symbol.asyncDispose]();
    }, (replies, missing) => {
      if (ears.length + missing < this.quorum.majority) {
        void leave();
        throw this.quorum.missed("watch a lock", failures(replies));
      }
      return missing === 0 ? true : undefined;
    });
    return { [Symbol.asyncDispose]: leave };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.spread.clear();
    // A minority that nobody waited for may still have a vote: cut off now, it would keep it for its ttl.
    if (this.retractions.size > 0) await soon(Promise.allSettled(this.retractions));
    for (const node of this.quorum.nodes) node.close();
    this.tracks.clear();
    this.#waiters.clear();
  }

  /** Resolves once the clocks of a majority are known, which takes a round trip at the first call. */
  async ready(call: Call): Promise<void> {
    const { nodes, majority } = this.quorum;
    let known = 0;
    for (const node of nodes) if (node.serverTime !== undefined) known++;
    if (known >= majority) return;
    await this.quorum.poll(call, (node) => node.open(call), (replies, missing) => {
      const failed = failures(replies);
      if (replies.length - failed.length >= majority) return true;
      if (failed.length <= nodes.length - majority && missing > 0) return undefined;
      throw this.quorum.missed("reach the Redlock nodes", failed);
    });
  }

  /** The track of a claim, a new one if need be. */
  track(claim: Claim, lease: RedlockLease): Track {
    const known = this.tracks.get(claim.id);
    if (known !== undefined) return known;
    const track: Track = {
      lease,
      claim,
      ballot: 0,
      token: undefined,
      attempt: undefined,
      withdrawn: false,
      losses: 0,
      asked: new Set(),
      robbed: new Set(),
      wake: undefined,
      called: false,
    };
    this.tracks.set(claim.id, track);
    return track;
  }

  /** The claim is over. */
  forget(track: Track): void {
    const { id } = track.claim;
    if (this.tracks.get(id) === track) this.tracks.delete(id);
    this.leave(track);
  }

  /** Those of this process who wait for a key, if there are any. */
  waiting(key: string): Waiters | undefined {
    return this.#waiters.get(key);
  }

  /** The claim waits from now on. Whether something may have been missed before. */
  join(track: Track, call: Call): Promise<boolean> {
    const { key } = track.claim;
    const waiters = this.#waiters.get(key) ?? new Waiters(votesKey(key), this.quorum);
    this.#waiters.set(key, waiters);
    return waiters.add(track, call);
  }

  /** The claim waits no longer. */
  leave(track: Track): void {
    const { key } = track.claim;
    const waiters = this.#waiters.get(key);
    waiters?.leave(track);
    if (waiters?.empty) this.#waiters.delete(key);
  }

  /** A node tells of a theft. The lock is lost once so many have that no majority can be left. */
  #heard(node: Node, text: string): void {
    const track = this.tracks.get(text.split(" ")[1]!);
    if (track?.token === undefined) return;
    track.robbed.add(node);
    if (track.asked.size - track.robbed.size >= this.quorum.majority) return;
    this.forget(track);
    track.lease.request.lost("stolen", track.claim.id);
  }
}

/** Milliseconds for which closing waits for nodes that do not answer. */
const PARTING = 500;

async function soon(done: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout>;
  await Promise.race([done, new Promise((resolve) => timer = setTimeout(resolve, PARTING))]);
  clearTimeout(timer!);
}

/** How many keys one listing call reads. */
const PAGE = 100;

async function votesAt(node: Node, scope: string, call: Call): Promise<NodeVotes> {
  const keys = scope.endsWith("/") ? (await node.scan(votesPattern(scope), call)).map(keyOf) : [scope];
  const votes: NodeVotes = new Map();
  for (let at = 0; at < keys.length; at += PAGE) {
    const some = keys.slice(at, at + PAGE);
    const reply = list(await node.read(LIST, some.map(votesKey), call), some.length);
    some.forEach((key, index) => votes.set(key, fields(reply[index])));
  }
  return votes;
}
