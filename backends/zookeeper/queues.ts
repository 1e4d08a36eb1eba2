import type { Call, LeaseRequest, LossReason } from "../../internal/backend.ts";
import { Entrances } from "../../internal/entrances.ts";
import { holders } from "../../internal/queue.ts";
import type { Ears, Found, Queues, Send } from "../shared/queues.ts";
import { code, failedWith, ignore, refused } from "./client/errors.ts";
import * as op from "./client/operations.ts";
import type { Parents } from "./client/parents.ts";
import { Session } from "./client/session.ts";
import type { Settings } from "./client/settings.ts";
import { type Told, Watches } from "./client/watches.ts";
import { Guards } from "./guards.ts";
import { endOf, queueOf, type ZooKeeperQueued } from "./names.ts";
import type { Own, OwnNode } from "./own_node.ts";
import { type MaybeLater, OwnNodes, type Seen } from "./own_nodes.ts";

/** Bytes of a request; the server takes a MiB (`jute.maxbuffer`). */
const LARGEST = 500_000;

/** The queues of ZooKeeper, as one session reaches them: each claim is an ephemeral node of it. */
export class ZooKeeperQueues implements Queues<ZooKeeperQueued> {
  /** An event of our own departure comes with the answer to it, and says how the next one stands. */
  readonly hearsOwn = true;
  readonly #ttl: number;
  readonly #ears: Ears<ZooKeeperQueued>;
  readonly #session: Session;
  readonly #watches = new Watches();
  readonly #nodes: OwnNodes;
  readonly #guards: Guards;
  readonly #entrances = new Entrances();
  /** Attempts under way. */
  readonly #entering = new Map<Own, Promise<Found<ZooKeeperQueued>>>();

  /** Nothing connects before {@linkcode open}. `patience`: milliseconds that a call may take. */
  constructor(
    { ttl }: LeaseRequest,
    settings: Settings,
    parents: Parents,
    patience: number,
    ears: Ears<ZooKeeperQueued>,
  ) {
    this.#ttl = ttl;
    this.#ears = ears;
    this.#session = new Session({
      settings,
      parents,
      timeout: ttl,
      patience,
      restore: (connection) => this.#guards.restore(connection),
      event: (type, path) => this.#watches.event(type, path),
      disconnected: () => this.#disconnected(),
      expired: () => this.#expired(),
    });
    this.#nodes = new OwnNodes(this.#session, parents);
    this.#guards = new Guards(
      this.#session,
      this.#watches,
      this.#nodes,
      (node, why) => this.#lost(node, why),
    );
  }

  /** Opens the session. */
  async open(call: Call): Promise<void> {
    const abandon = () => this.abandon();
    call.signal.addEventListener("abort", abandon, { once: true });
    try {
      await this.#session.connection();
    } catch (error) {
      abandon();
      throw refused("open a session", error);
    } finally {
      call.signal.removeEventListener("abort", abandon);
    }
  }

  /** What the server granted, if that is less than was asked for. */
  get ttl(): number {
    return Math.min(this.#ttl, this.#session.timeout);
  }

  /** Whether the session is over. */
  get ended(): boolean {
    return this.#session.ended;
  }

  /** An attempt outlives its caller, and is joined by the next one: a late answer still tells the node's name. */
  enter(own: Own, call: Call, send: Send): Promise<Found<ZooKeeperQueued>> {
    let entering = this.#entering.get(own);
    if (entering === undefined) this.#entering.set(own, entering = this.#enter(own, call, send));
    return entering;
  }

  async read(own: Own, call: Call): Promise<Found<ZooKeeperQueued>> {
    const node = this.#nodes.get(own);
    if (node === undefined) return { state: "gone", why: "revoked" };
    try {
      const connection = this.#session.current ?? await this.#session.connection();
      const children = await this.#nodes.children(node.parent, connection);
      return await this.#stand({ node, children, connection }, call);
    } catch (error) {
      throw refused(`read ${node.parent}`, error);
    }
  }

  /**
   * The session's order is the fence: on one connection a deletion comes after the creation, and a later connection
   * shows what came of those before.
   */
  async leave(own: Own): Promise<boolean> {
    const entering = this.#entering.get(own);
    if (entering) await entering.catch(() => {}); // the deletion needs the node's name
    const node = this.#nodes.get(own);
    const parent = this.#nodes.parentOf(own);
    try {
      if (node) this.#giveUp(node);
      const name = node?.name ?? await this.#nodes.find(own);
      if (name === undefined) return false;
      await this.#session.request(op.remove(`${parent}/${name}`));
      if (node) this.#nodes.drop(node);
      return true;
    } catch (error) {
      if (!failedWith(error, code.noNode)) throw refused(`delete a node in ${parent}`, error);
      if (node) this.#nodes.drop(node);
      return false;
    }
  }

  async departure(
    own: Own,
    ahead: readonly ZooKeeperQueued[],
    signal: AbortSignal,
  ): Promise<Found<ZooKeeperQueued> | boolean> {
    const connection = await this.#session.connection();
    const node = this.#nodes.get(own);
    if (node === undefined || signal.aborted) return false;
    const { promise, resolve, reject } = Promise.withResolvers<Found<ZooKeeperQueued> | boolean>();
    node.heard = resolve;
    signal.addEventListener("abort", () => resolve(false), { once: true });
    const wanted = new Map(ahead.map(({ name }) => [`${node.parent}/${name}`, name]));
    // Watches stay from one wait to the next, as far as they are of use.
    for (const [path, told] of node.watching) if (!wanted.delete(path)) this.#unwatch(node, path, told);
    for (const [path, name] of wanted) {
      const other = this.#ears.named(name);
      const told: Told = (type) => {
        node.watching.delete(path);
        node.heard(type === "deleted" && node.passed(name, other));
      };
      node.watching.set(path, told);
      this.#watches.add(path, told, connection).then((isThere) => isThere || told("deleted"), reject);
    }
    return await promise;
  }

  held(own: Own): void {
    const node = this.#nodes.get(own);
    if (node === undefined) return;
    this.#stopWaiting(node);
    this.#guards.soon(node);
  }

  /**
   * One write, which the quorum and the session tracker must both accept. The watches of this
   * session's nodes are on the same connection, and what they had to tell of earlier transactions has
   * come before the answer: silence proves presence, however many claims there are.
   */
  async renew(owns: readonly Own[]): Promise<Map<Own, Found<ZooKeeperQueued>>> {
    for (const own of owns) {
      const node = this.#nodes.get(own);
      if (node) this.#guards.set(node);
    }
    await this.#session.write();
    const found = new Map<Own, Found<ZooKeeperQueued>>();
    for (const own of owns) {
      if (this.#nodes.get(own)?.guarded && own.outcome) found.set(own, own.outcome);
    }
    return found;
  }

  async close(call: Call): Promise<void> {
    this.#guards.stop();
    await this.#session.close(call.signal);
    for (const node of this.#nodes.values()) node.heard(false);
  }

  /** Leaves the session's end to its timeout. */
  abandon(): void {
    this.#guards.stop();
    this.#session.abandon();
  }

  async #enter(own: Own, call: Call, send: Send): Promise<Found<ZooKeeperQueued>> {
    const { key, wait, steal } = own.claim;
    const enter = () => this.#nodes.enter(own, send, (seen) => this.#stand(seen, call));
    try {
      if (own.doubts > 0) return await enter();
      const isTaken = wait || steal ? undefined : () => this.#isTaken(own);
      return await this.#entrances.enter(key, isTaken, enter) ?? { state: "contended" };
    } catch (error) {
      throw refused(`enter ${this.#nodes.parentOf(own)}`, error);
    } finally {
      this.#entering.delete(own);
    }
  }

  /** How a claim stands among these; a thief removes everyone ahead first. */
  #stand(seen: Seen, call: Call): MaybeLater<Found<ZooKeeperQueued>> {
    const { node, children } = seen;
    const { own: { claim }, name, token } = node;
    const all = queueOf(children);
    const index = all.findIndex((queued) => queued.name === name);
    if (index < 0) {
      this.#giveUp(node);
      this.#nodes.drop(node);
      return { state: "gone", why: endOf(name, all) };
    }
    const queue = all.slice(0, index + 1);
    const room = queue.reduce((least, { limit }) => Math.min(least, limit), Infinity);
    if (index >= room && claim.steal) return this.#evict(seen, queue.slice(0, -1), call);
    if (index >= room && claim.wait) this.#guards.set(node);
    node.queue = index === room ? queue : undefined; // by the queue rule so many are waited for
    return { queue, token };
  }

  /**
   * Removes everyone ahead in one step (unless they are thousands), and looks again: if one of them has left by itself
   * meanwhile, none is removed. The last first: a waiter hears of its own end before that of whom it waits for.
   */
  async #evict(
    { node, connection }: Seen,
    ahead: readonly ZooKeeperQueued[],
    call: Call,
  ): Promise<Found<ZooKeeperQueued>> {
    if (call.signal.aborted) throw call.signal.reason;
    const { parent, path } = node;
    const last = ahead.slice(-Math.ceil(LARGEST / (path.length + 50)));
    const removals = last.map(({ name }) => op.remove(`${parent}/${name}`)).reverse();
    await this.#session.request(op.multi(removals), connection).catch(ignore(code.noNode));
    const children = await this.#nodes.children(parent, connection);
    return this.#stand({ node, children, connection }, call);
  }

  /**
   * Whether a claim that may not wait would have to: then it does not even enter. A server may still
   * show who has left; before that counts, the server catches up with the quorum.
   */
  async #isTaken(own: Own): Promise<boolean> {
    const parent = this.#nodes.parentOf(own);
    const connection = this.#session.current ?? await this.#session.connection();
    const isFull = async () => {
      const queue = queueOf(await this.#nodes.children(parent, connection));
      return holders([...queue, own.claim]) <= queue.length;
    };
    if (!await isFull()) return false;
    const [, still] = await Promise.all([this.#session.request(op.barrier, connection), isFull()]);
    return still;
  }

  /** The node is not to be heard of any more. */
  #giveUp(node: OwnNode): void {
    node.over = true;
    this.#stopWaiting(node);
    this.#guards.drop(node);
    node.heard(false);
  }

  #stopWaiting(node: OwnNode): void {
    for (const [path, told] of node.watching) this.#unwatch(node, path, told);
  }

  #unwatch(node: OwnNode, path: string, told: Told): void {
    node.watching.delete(path);
    this.#watches.remove(path, told, this.#session.current);
  }

  /** Another client has removed the node. */
  #lost(node: OwnNode, why: LossReason): void {
    this.#giveUp(node);
    this.#nodes.drop(node);
    this.#ears.lost(node.own, why);
  }

  #disconnected(): void {
    this.#watches.clear();
    for (const node of this.#nodes.values()) {
      node.guarded = node.guard = undefined;
      node.watching.clear();
      node.heard(false);
    }
  }

  #expired(): void {
    this.#ears.ended("revoked");
    for (const node of this.#nodes.values()) {
      this.#nodes.drop(node);
      node.heard(false);
    }
  }
}
