/**
 * Redlock: locks that a majority of independent Redis servers has agreed to.
 *
 * ```ts ignore
 * import { LockManager } from "@holdfast/lock";
 * import { redlock } from "@holdfast/lock/redlock";
 *
 * const nodes = ["redis://r1", "redis://r2", "redis://r3", "redis://r4", "redis://r5"];
 * await using locks = new LockManager(redlock(nodes));
 * await using lock = await locks.acquire("invoice:42");
 * ```
 *
 * A lock is held once more than half of the nodes have given it their vote. With five nodes two may be
 * away. The fencing token is the ballot: one number, proposed to all, that a node accepts only if it is
 * greater than any it has voted for. Any two majorities share a node, so tokens rise strictly.
 *
 * A bare majority is asked first, the same for all who want the same key; the others only if one of it
 * refuses, fails or is silent for 5 ms. A lock that is still held after 20 ms is brought to the others
 * too, and by each renewal to those that were away, so that the loss of any two of five does not end it.
 * A lock rests on a majority and nothing else: whom else one has asked makes no second one possible.
 * Within these 20 ms the loss of a node may cost the lock, and the signal tells.
 *
 * What it does not promise:
 *
 * - **Order.** There is no queue at the nodes: of several processes, whoever gets the votes first. A key that many
 *   of them want at once costs several rounds. Those of one process are served in order of arrival, and cost the
 *   nodes no more than one. Semaphores (a finite `limit` above 1) cannot be had from majorities at all: three
 *   holders could each have two of three nodes. `limit` is refused.
 * - **Clocks.** Votes expire by the nodes' clocks. If the clock of a node jumps ahead, its vote ends
 *   too early, and with a bare majority that is enough for two holders; if it falls back, tokens may.
 *   A node whose clock is more than four seconds from those of the others is as good as away.
 * - **Memory.** A node that restarts, is flushed or is new stays out for `maxTtl` (at least 5 s), counted
 *   from when somebody first connects to it, because it may have forgotten votes. Nodes that nobody has
 *   used yet cannot be told from nodes that have all lost their memory at once, nor a new server from
 *   one that has taken the place of another, however long it has been up. So new nodes grant their
 *   first lock after that time: `acquire` waits for it as it would for a holder, `tryAcquire` rejects
 *   with a `QuorumError` that says how long it will take. Who knows that there is nothing to forget can let
 *   a node in: `redis-cli HSET holdfast:node run <its run_id, from INFO server> since 0`. A server that
 *   evicts keys (`maxmemory-policy` other than `noeviction`) forgets votes unnoticed.
 * - **Replicas.** Each node must be one server by itself: a Cluster, or a node of one, is refused. If a
 *   replica takes over, it counts as new.
 *
 * All clients must name the same nodes, best in the same order, and should name the same `maxTtl`. An ACL user needs what
 * `redis` needs, and `+info +hlen +hmget +pexpireat ~holdfast:node`.
 *
 * @module
 */
import type { Backend, Call, Entry, Lease, LeaseRequest, Traits, Watcher } from "../internal/backend.ts";
import { isObject } from "../internal/checks.ts";
import { RedisBackend } from "./redis/backend.ts";
import { type RedisTarget, route } from "./redis/address.ts";
import type { Route } from "./redis/client/link.ts";
import { checkApart } from "./redlock/address.ts";
import { OwnClaims } from "./redlock/claim.ts";
import { Node, type NodeEvents } from "./redlock/client/node.ts";
import { Quorum } from "./redlock/client/quorum.ts";
import { RedlockLease, type Shared } from "./redlock/lease.ts";
import { Observer } from "./redlock/observer.ts";
import { Spread } from "./redlock/spread.ts";
import { redlockTraits } from "./redlock/traits.ts";
import { Votes } from "./redlock/votes.ts";
import { Waiters } from "./redlock/waiters.ts";

/** Milliseconds for which closing waits for nodes that do not answer. */
const PARTING = 500;

/** Options of {@linkcode redlock}. */
export interface RedlockOptions {
  /**
   * Milliseconds: the longest ttl that may be asked for, and how long a node that has lost its memory
   * stays out, new ones included. Shorter lets new nodes begin sooner.
   * @default {30_000}
   */
  readonly maxTtl?: number;
}

/**
 * Locks by a majority of Redis servers, each a `redis(...)` backend or what one is made of. Nothing
 * connects before the first call.
 *
 * @throws {TypeError | RangeError} If there is no node, something that is none, one twice, or a Cluster.
 * @throws {RangeError} If `maxTtl` is not between 100 ms and a day.
 */
export function redlock(nodes: readonly (Backend | RedisTarget)[], options: RedlockOptions = {}): Backend {
  if (!Array.isArray(nodes) || nodes.length === 0) {
    throw new TypeError(
      "Cannot use Redlock without nodes: give an array of Redis servers, best three or five",
    );
  }
  const traits = redlockTraits(options.maxTtl);
  const routes = nodes.map(routeTo);
  checkApart(routes.filter(({ named }) => named).map(({ place }) => place));
  return new RedlockBackend(routes, traits);
}

function routeTo(one: Backend | RedisTarget): Route {
  if (isObject(one) && "traits" in one && !(one instanceof RedisBackend)) {
    throw new TypeError(`Cannot use a ${one.name} backend as a Redlock node: give redis(...)`);
  }
  const to: Route = one instanceof RedisBackend ? one.route : route(one as RedisTarget);
  if (to.cluster) {
    throw new TypeError(
      "Cannot use a Cluster as a Redlock node: give servers that know nothing of each other",
    );
  }
  return to;
}

class RedlockBackend implements Backend {
  readonly name = "redlock";
  readonly traits: Traits;
  readonly #shared: Shared;
  readonly #observer: Observer;

  constructor(routes: readonly Route[], traits: Traits) {
    const { maxTtl } = traits;
    this.traits = traits;
    const events: NodeEvents = {
      message: (node, text) => claims.robbed(node, text, quorum.majority),
      awaits: () => claims.size > 0,
    };
    const quorum = new Quorum(routes.map((route) => new Node(route, maxTtl, events)));
    const waiters = new Waiters(quorum);
    const claims = new OwnClaims(waiters);
    const votes = new Votes(quorum, maxTtl);
    this.#shared = { quorum, claims, waiters, votes, spread: new Spread(quorum, claims, votes) };
    this.#observer = new Observer(quorum);
  }

  /** Nothing is sent: a lease is a ttl. */
  lease(request: LeaseRequest): Promise<Lease> {
    return Promise.resolve(new RedlockLease(request, this.#shared));
  }

  list(scope: string, call: Call): Promise<Entry[]> {
    return this.#observer.list(scope, call);
  }

  watch(key: string, watcher: Watcher, call: Call): Promise<AsyncDisposable> {
    return this.#observer.watch(key, watcher, call);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { quorum, claims, waiters, votes, spread } = this.#shared;
    spread.clear();
    // A minority whose answer was not waited for may still have a vote: cut off now, it would keep it for its ttl.
    await soon(votes.retracted());
    for (const node of quorum.nodes) node.close();
    claims.clear();
    waiters.clear();
  }
}

async function soon(done: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout>;
  await Promise.race([done, new Promise((resolve) => timer = setTimeout(resolve, PARTING))]);
  clearTimeout(timer!);
}
