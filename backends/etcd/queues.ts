import { Buffer } from "node:buffer";
import type { Call, Claim, Gone, LeaseRequest } from "../../internal/backend.ts";
import { BackendError } from "../../internal/errors.ts";
import { holders } from "../../internal/queue.ts";
import type { OwnClaim } from "../shared/own_claim.ts";
import type { Ears, Found, Queues, Send, View } from "../shared/queues.ts";
import { Believed, sameTerm } from "./client/believed.ts";
import { EtcdError, isLeaseGone } from "./client/errors.ts";
import type {
  Header,
  KeyValue,
  LeaseGrantResponse,
  RangeRequest,
  TxnRequest,
  TxnResponse,
} from "./client/messages.ts";
import type { Bounds, Port } from "./client/port.ts";
import { endOf, found } from "./client/requests.ts";
import { type EtcdQueued, queueOf } from "./entries.ts";
import { Fence } from "./fence.ts";
import { homeOf, nameOf, prefixOf } from "./names.ts";
import { Notices, type Victims } from "./notices.ts";
import * as txns from "./txns.ts";

type Own = OwnClaim<EtcdQueued>;

/** How often an attempt is made anew because something else has happened to its lease meanwhile. */
const ROUNDS = 100;

/** Queues read in one transaction, which may have 128 operations. */
const BATCH = 100;

/** What a lease keeps for itself under one prefix. */
interface Home {
  readonly range: RangeRequest;
  readonly fence: Fence;
  readonly notices: Notices;
}

/** The queues of etcd, as one etcd lease reaches them: a claim is a key that is attached to it. */
export class EtcdQueues implements Queues<EtcdQueued> {
  ttl: number;
  readonly #port: Port;
  readonly #etcd: Believed;
  readonly #ears: Ears<EtcdQueued>;
  /** Its id, as etcd's messages have it. */
  readonly #id: string;
  /** Its id, as names have it. */
  readonly #hex: string;
  readonly #opened: bigint;
  /** By prefix. */
  readonly #homes = new Map<string, Home>();
  #ended = false;

  constructor(port: Port, { ttl }: LeaseRequest, granted: LeaseGrantResponse, ears: Ears<EtcdQueued>) {
    this.#port = port;
    this.#ears = ears;
    this.#id = granted.ID;
    this.#hex = BigInt(granted.ID).toString(16);
    this.#opened = BigInt(granted.header.revision);
    this.#etcd = new Believed(port, granted.header, {
      answered: () => this.#listen(),
      // One that nothing is held under is done with: whoever waits enters anew.
      foreign: () => this.#ears.owned().some(isHeld) || this.#lost(),
    });
    this.ttl = Math.min(ttl, Number(granted.TTL) * 1_000);
  }

  enter(own: Own, call: Call, send: Send): Promise<Found<EtcdQueued>> {
    return own.claim.steal ? this.#steal(own, call, send) : this.#append(own, call, send);
  }

  read(own: Own, call: Call): Promise<Found<EtcdQueued>> {
    return this.#lookAt(own, own.token, call);
  }

  /** By the fence, where copies of an attempt may be under way. */
  async leave(own: Own, call: Call): Promise<boolean> {
    const name = this.#nameOf(own);
    if (own.doubts === 0) return await this.#remove(txns.release(name, own.token!), call);
    const { fence } = this.#home(own.claim);
    const known = own.token !== undefined;
    return await this.#remove(txns.withdraw(name, fence, this.#id), call, fence) && known;
  }

  async departure(_own: Own, ahead: readonly EtcdQueued[], signal: AbortSignal): Promise<boolean> {
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    const watches = ahead.map((other) =>
      this.#port.watch(txns.departure(other), {
        changed: () => resolve(true),
        failed: (error, compacted) => compacted ? resolve(true) : reject(error),
      })
    );
    signal.addEventListener("abort", () => resolve(false), { once: true });
    try {
      return await promise;
    } finally {
      for (const watch of watches) watch.cancel();
    }
  }

  /**
   * A keep-alive, then a linearizable read. It counts only if every answer comes from the same term:
   * a deposed leader that does not know it yet acknowledges keep-alives too. A keep-alive says nothing
   * of the keys: those of held claims are asked of the lease, the queues of the others are read.
   */
  async renew(owns: readonly Own[], { timeout }: Bounds): Promise<Map<Own, Found<EtcdQueued>>> {
    const call: Bounds = { timeout, urgent: true };
    const kept = await this.#etcd.call("leaseKeepAlive", { ID: this.#id }, call);
    if (kept.ID !== this.#id) throw EtcdError.unreadable("the renewal of another lease");
    if (Number(kept.TTL) <= 0) {
      await this.#mourn(kept.header, call);
      return new Map();
    }
    const held = owns.filter(isHeld);
    const [attached, { found, replies }] = await Promise.all([
      // Those that this would have told of are looked at by themselves.
      held.length === 0
        ? undefined
        : this.#etcd.call("leaseTimeToLive", { ID: this.#id, keys: true }, call).catch(() => undefined),
      this.#look(owns.filter((own) => !isHeld(own)), call),
    ]);
    sameTerm([kept, ...replies, ...(attached ? [attached] : [])].map(({ header }) => header));
    this.ttl = Math.min(this.ttl, Number(kept.TTL) * 1_000);
    const names = new Set(attached?.keys.map(String));
    // A claim whose name is not there is left out, and looked at by itself.
    for (const own of held) if (names.has(own.name!)) found.set(own, own.outcome!);
    return found;
  }

  async close(call: Call): Promise<void> {
    this.#stop();
    await this.#port.call("leaseRevoke", { ID: this.#id }, call).catch((error) => {
      if (!isLeaseGone(error)) throw error; // gone is gone
    });
  }

  /** A member says that there is no such lease: then there is no key of it either. */
  async #mourn(header: Header, call: Bounds): Promise<void> {
    const owns = this.#ears.owned();
    const { found, replies } = await this.#look(owns, call);
    sameTerm([header, ...replies.map(({ header }) => header)]);
    const isGone = (said?: Found<EtcdQueued>) =>
      said !== undefined && "state" in said && said.state === "gone";
    if (!owns.every((own) => isGone(found.get(own)))) {
      throw new BackendError("Cannot renew the etcd lease: a member does not know it; ask again");
    }
    this.#lost();
  }

  /** Enters, or finds that an earlier copy has. */
  async #append(own: Own, call: Call, send: Send): Promise<Found<EtcdQueued>> {
    const { claim } = own;
    const entering = this.#entering(own);
    const { fence } = entering;
    let before = 1n;
    for (let round = 0; round < ROUNDS; round++) {
      const { epoch } = fence;
      const reply = await this.#send(send, txns.enter(entering, before), call);
      const { revision } = reply.header;
      if (reply.succeeded) {
        if (!claim.wait) return alone(entering, revision);
        const view = viewOf(entering.name, BigInt(revision), queueOf(found(reply, 1), revision));
        if (view === undefined) throw EtcdError.unreadable("a queue without the one who has entered it");
        return view;
      }
      const known = found(reply, 0)[0];
      if (known !== undefined) return await this.#lookAt(own, BigInt(known.create_revision), call);
      await this.#learn(claim, reply, call);
      if (fence.epoch !== epoch) continue; // another claim was withdrawn at the same time
      if (claim.wait) throw EtcdError.unreadable("a refusal without a reason");
      // It was not to wait, and somebody is there. Beside readers or other permits it may still hold.
      if (claim.limit > 1) {
        const queue = [...queueOf(found(reply, 2), revision), claim];
        if (holders(queue) === queue.length) {
          before = BigInt(revision) + 1n;
          continue;
        }
      }
      return { state: "contended" };
    }
    throw tooBusy();
  }

  /** Takes the place of everyone: reads who is there, then removes them and enters in one step. */
  async #steal(own: Own, call: Call, send: Send): Promise<Found<EtcdQueued>> {
    const { claim } = own;
    const entering = this.#entering(own);
    for (let round = 0; round < ROUNDS; round++) {
      const seen = await this.#etcd.call("txn", txns.look(entering.home, [txns.wholeQueue(claim.key)]), call);
      learn(this.#home(claim), found(seen, 0));
      const notices = txns.noticesFor(claim, queueOf(found(seen, 1), seen.header.revision));
      const reply = await this.#send(send, txns.steal(entering, notices), call);
      if (reply.succeeded) return alone(entering, reply.header.revision);
      const known = found(reply, 0)[0];
      if (known !== undefined) return await this.#lookAt(own, BigInt(known.create_revision), call);
      await this.#learn(claim, reply, call);
    }
    throw tooBusy();
  }

  /** Takes in the lease's own keys that an attempt has met. Somebody who cleans up may have deleted the fence. */
  async #learn(claim: Claim, reply: TxnResponse, call: Call): Promise<void> {
    const home = this.#home(claim);
    if (learn(home, found(reply, 1))) return;
    const { fence } = home;
    const written = await this.#etcd.call("txn", { success: [fence.raise(this.#id)] }, call);
    fence.raised(BigInt(written.header.revision));
  }

  /** How one claim stands that was created at this revision. */
  async #lookAt(own: Own, created: bigint | undefined, call: Call): Promise<Found<EtcdQueued>> {
    const { found } = await this.#look([own], call, created);
    return found.get(own)!;
  }

  /**
   * How claims stand, by linearizable reads, and the answers those came in: at least one. The claims of one key are
   * looked at together. What could not be read is left out.
   *
   * @throws {EtcdError} If nothing could be read.
   */
  async #look(
    owns: readonly Own[],
    call: Bounds,
    created?: bigint,
  ): Promise<{ found: Map<Own, Found<EtcdQueued>>; replies: readonly TxnResponse[] }> {
    const [home = this.#newHome("holdfast")] = this.#homes.values(); // any will do to have read something
    const queues = [...Map.groupBy(owns, ({ claim }) => claim.key)].map(([key, owns]) => ({
      owns,
      range: owns.length > 1
        ? txns.wholeQueue(key)
        : owns[0]!.inherits
        ? txns.itself(this.#nameOf(owns[0]!))
        : txns.queueFor(owns[0]!.claim, owns[0]!.token ?? created),
    }));
    const all = new Map<Own, Found<EtcdQueued>>();
    const read = await Promise.allSettled(
      batches(queues).map(async (batch) => {
        const reply = await this.#etcd.call(
          "txn",
          txns.look(home.range, batch.map(({ range }) => range)),
          call,
        );
        learn(home, found(reply, 0));
        for (const [index, { owns }] of batch.entries()) {
          const queue = queueOf(found(reply, index + 1), reply.header.revision);
          for (const own of owns) {
            all.set(own, viewOf(this.#nameOf(own), own.token ?? created, queue) ?? GONE);
          }
        }
        return reply;
      }),
    );
    const replies = read.flatMap((each) => each.status === "fulfilled" ? [each.value] : []);
    const [first] = read;
    if (replies.length === 0 && first?.status === "rejected") throw first.reason;
    return { found: all, replies };
  }

  /** Sends an attempt. */
  async #send(send: Send, request: TxnRequest, { timeout }: Call): Promise<TxnResponse> {
    try {
      return await send((doubt) => this.#etcd.call("txn", request, { timeout, doubt }));
    } catch (error) {
      if (isLeaseGone(error)) await this.#mourned({ timeout });
      throw error;
    }
  }

  /** Whether this has removed a claim; if it had to be repeated, absence is its success. */
  async #remove(request: TxnRequest, { timeout }: Bounds, fence?: Fence): Promise<boolean> {
    let repeated = false;
    try {
      const reply = await this.#etcd.call("txn", request, { timeout, doubt: () => repeated = true });
      fence?.raised(BigInt(reply.header.revision));
      return reply.succeeded || repeated;
    } catch (error) {
      if (isLeaseGone(error)) await this.#mourned({ timeout });
      throw error;
    }
  }

  /** Makes sure that the lease is gone: an error does not say whose it is, a renewal does. */
  async #mourned(call: Bounds): Promise<void> {
    if (!this.#ended) await this.renew([], call);
    if (!this.#ended) {
      throw new BackendError("Cannot use the etcd lease: a member does not know it; ask again");
    }
  }

  #nameOf({ claim, number }: Own): string {
    return nameOf(claim, this.#hex, number);
  }

  #entering(own: Own): txns.Entering {
    const { claim } = own;
    const { fence, range } = this.#home(claim);
    return { claim, name: this.#nameOf(own), lease: this.#id, fence, home: range };
  }

  #home({ key }: Claim): Home {
    const prefix = prefixOf(key);
    let home = this.#homes.get(prefix);
    if (home === undefined) this.#homes.set(prefix, home = this.#newHome(prefix));
    this.#listen();
    return home;
  }

  #newHome(prefix: string): Home {
    const name = homeOf(prefix, this.#hex);
    const range = { key: Buffer.from(name), range_end: endOf(name) };
    const fence = new Fence(name);
    const notices = new Notices(range, fence.key, this.#opened + 1n, (victims) => this.#robbed(victims));
    return { range, fence, notices };
  }

  /** For notices, again after each failure: etcd can be reached, so it is worth a try. */
  #listen(): void {
    if (this.#ended) return;
    for (const { notices } of this.#homes.values()) notices.listen(this.#port);
  }

  /** A thief says that it has removed these. */
  #robbed(victims: Victims): void {
    for (const own of this.#ears.owned()) {
      if (own.token !== undefined && victims.get(own.name!) === own.token) this.#ears.lost(own, "stolen");
    }
  }

  /** etcd has no such lease any more, and no key of it. */
  #lost(): void {
    this.#stop();
    this.#ears.ended("revoked");
  }

  #stop(): void {
    this.#ended = true;
    for (const { notices } of this.#homes.values()) notices.close();
  }
}

const GONE: Gone = { state: "gone", why: "revoked" };

function isHeld({ outcome }: Own): boolean {
  return outcome?.state === "granted";
}

/** A queue as one claim sees it, created then if that is known; `undefined` if it is not in it. */
function viewOf(
  name: string,
  created: bigint | undefined,
  queue: readonly EtcdQueued[],
): View<EtcdQueued> | undefined {
  const at = queue.findIndex((each) => each.name === name && each.created === (created ?? each.created));
  return at < 0 ? undefined : { queue: queue.slice(0, at + 1), token: queue[at]!.created };
}

/** The queue of one who has it for itself, or holds whatever stands ahead. */
function alone({ claim: { limit }, name }: txns.Entering, revision: string): View<EtcdQueued> {
  const created = BigInt(revision);
  return { queue: [{ name, limit, created, since: created + 1n }], token: created };
}

/** Takes in a read of a home. `false`: its fence is gone. */
function learn({ fence, notices }: Home, keys: readonly KeyValue[]): boolean {
  notices.learn(keys);
  return fence.learn(keys);
}

/** At least one, if an empty one. */
function batches<T>(items: readonly T[]): T[][] {
  const all = [items.slice(0, BATCH)];
  for (let at = BATCH; at < items.length; at += BATCH) all.push(items.slice(at, at + BATCH));
  return all;
}

function tooBusy(): BackendError {
  return new BackendError("Cannot enter the queue: attempts of the same lease are withdrawn all the time");
}
