import { clearTimeout, setTimeout } from "node:timers";
import type { Call, Claim, Gone } from "../../internal/backend.ts";
import { BackendError } from "../../internal/errors.ts";
import type { Limiter } from "../../internal/limiter.ts";
import { holders } from "../../internal/queue.ts";
import type { OwnClaim } from "../shared/own_claim.ts";
import type { Ears, Found, Queues, Send } from "../shared/queues.ts";
import type { ConsulApi } from "./client/api.ts";
import { type Bounds, boundsOf } from "./client/http.ts";
import { encodeValue, type Operation, type Pair } from "./client/kv.ts";
import type { Departures } from "./departures.ts";
import { type ConsulQueued, queueOf } from "./entries.ts";
import { Fence, namesNoSession, SessionEnded } from "./fence.ts";
import { type Names, names, prefixOf, sessionOf, treeOf } from "./names.ts";
import { Notices } from "./notices.ts";
import { theft } from "./theft.ts";
import { Tries } from "./tries.ts";

type Own = OwnClaim<ConsulQueued>;

const CONTENDED: Found<ConsulQueued> = { state: "contended" };

/** How many entries are asked about by name, in one transaction. More are looked up in a list. */
const BY_NAME = 64;

/** What the leases of a backend share. */
export interface Store {
  readonly api: ConsulApi;
  /** Before every key. */
  readonly root: string;
  readonly departures: Departures;
  /** For what comes in crowds. A renewal does not stand in line. */
  readonly limiter: Limiter;
}

/** What the session keeps for itself. */
interface Home {
  readonly fence: Fence;
  readonly notices: Notices;
}

/** The queues of Consul, as one session reaches them: a claim is an entry that is locked under it. */
export class ConsulQueues implements Queues<ConsulQueued> {
  readonly ttl: number;
  readonly #store: Store;
  readonly #session: string;
  readonly #ears: Ears<ConsulQueued>;
  readonly #tries = new Tries();
  #home: Home | undefined;

  constructor(store: Store, session: string, ttl: number, ears: Ears<ConsulQueued>) {
    this.ttl = ttl;
    this.#store = store;
    this.#session = session;
    this.#ears = ears;
  }

  enter(own: Own, call: Call, send: Send): Promise<Found<ConsulQueued>> {
    const { wait, steal, key, limit } = own.claim;
    const enter = () => this.#inTurn(call, (bounds) => this.#enter(own, bounds, send));
    return wait || steal ? enter() : this.#tries.ask(`${limit} ${key}`, enter);
  }

  read(own: Own, call: Call): Promise<Found<ConsulQueued>> {
    return this.#inTurn(call, (bounds) => this.#look(own, bounds));
  }

  leave(own: Own, call: Call): Promise<boolean> {
    return this.#inTurn(call, (bounds) => this.#remove(own, bounds));
  }

  departure(own: Own, ahead: readonly ConsulQueued[], signal: AbortSignal): Promise<boolean> {
    const { departures, root } = this.#store;
    return departures.untilOneGone(own, { root, ahead, ttl: this.ttl, signal });
  }

  async renew(owns: readonly Own[], call: Call): Promise<Map<Own, Found<ConsulQueued>>> {
    const bounds = boundsOf(call);
    if (!await this.#store.api.renewSession(this.#session, bounds)) {
      this.#ended();
      return new Map();
    }
    this.#home?.notices.listen();
    // From here on the renewal counts, whatever becomes of the rest: what stays open is left out.
    return await inTime(bounds, (bounds) => this.#standings(owns, bounds));
  }

  async close(call: Call): Promise<void> {
    this.#home?.notices.stop();
    await this.#store.api.destroySession(this.#session, boundsOf(call));
  }

  /** Of those claims of which it can be told. */
  async #standings(owns: readonly Own[], bounds: Bounds): Promise<Map<Own, Found<ConsulQueued>>> {
    const found = new Map<Own, Found<ConsulQueued>>();
    try {
      const present = await this.#present(owns.map((own) => this.#names(own).contender), bounds, true);
      const absent: Own[] = [];
      for (const own of owns) {
        if (present.has(this.#names(own).contender)) found.set(own, own.outcome!);
        else absent.push(own);
      }
      if (absent.length === 0) return found;
      const stolen = await this.#home?.notices.read(bounds);
      for (const own of absent) found.set(own, gone(own, stolen));
    } catch {
      // They are asked about one by one.
    }
    return found;
  }

  async #enter(own: Own, bounds: Bounds, send: Send): Promise<Found<ConsulQueued>> {
    const { claim } = own;
    if (!claim.wait && !claim.steal && own.doubts === 0) {
      if (this.#stands(claim)) return CONTENDED;
      const queue = queueOf(this.#store.root, await this.#queue(claim, bounds));
      if (holders([...queue, claim]) <= queue.length) return CONTENDED;
    }
    return await this.#standing(own, await this.#append(own, bounds, send), bounds);
  }

  /** Whether a claim of our own, which is known to be there, is in the way. */
  #stands({ key, limit }: Claim): boolean {
    return this.#ears.ownedOn(key).some((other) =>
      other.token !== undefined && Math.min(limit, other.claim.limit) === 1
    );
  }

  /**
   * Puts the claim at the tail of its queue, unless it stands there already, and returns the queue,
   * read in the same step.
   */
  async #append(own: Own, bounds: Bounds, send: Send): Promise<Pair[]> {
    const { claim } = own;
    const { api, root } = this.#store;
    const names = this.#names(own);
    const read: Operation = { Verb: "get-tree", Key: treeOf(root, claim.key) };
    const entry = [this.#lock(names.contender, claim.client)];
    if (claim.metadata !== undefined) entry.push(this.#lock(names.metadata, claim.metadata));
    const { fence, notices } = this.#settled(claim.key);
    for (let { steal } = claim;;) {
      const robs = steal ? await theft(api, root, claim, names, bounds) : [];
      const index = await fence.index(bounds);
      const operations = [fence.guard(index), ...robs, ...entry, read];
      const answer = await send((doubt) => api.transact(operations, { ...bounds, doubt }));
      if (Array.isArray(answer)) {
        notices.listen();
        return answer;
      }
      const refused = operations[answer.at]!;
      if (answer.at === 0) fence.refused(index);
      else if (refused.Verb === "check-not-exists") steal = false; // the theft itself had succeeded
      else if (!namesNoSession(answer)) {
        throw new BackendError(`Cannot enter the queue: Consul refused: ${answer.why}`);
      } else if (entry.includes(refused)) throw new SessionEnded(answer.why);
      // Otherwise it was a victim's session that has ended meanwhile: look again.
    }
  }

  /** Takes a claim out; by the fence, where copies of an attempt may be under way. */
  async #remove(own: Own, bounds: Bounds): Promise<boolean> {
    const { contender, slot, metadata, metadataSlot } = this.#names(own);
    const described = own.claim.metadata !== undefined;
    if (own.doubts === 0) {
      const operations: Operation[] = [
        { Verb: "check-session", Key: contender, Session: this.#session },
        { Verb: "delete-tree", Key: slot },
      ];
      if (described) operations.push({ Verb: "delete-tree", Key: metadataSlot });
      let doubted = false;
      const answer = await this.#store.api.transact(operations, {
        ...bounds,
        doubt: () => void (doubted = true),
      });
      if (Array.isArray(answer)) return true;
      if (answer.why.includes("doesn't exist")) return doubted; // then it was a copy of this that removed it
    }
    // A late copy of this must not hit the next claim in the slot, hence not the slot but the names.
    const pairs = await this.#settled(own.claim.key).fence.raise([
      { Verb: "get-tree", Key: contender },
      { Verb: "delete", Key: contender },
      ...(described ? [{ Verb: "delete", Key: metadata } as const] : []),
    ], bounds);
    return pairs.some(({ Key }) => Key === contender);
  }

  /** How a claim stands that has entered. */
  async #look(own: Own, bounds: Bounds): Promise<Found<ConsulQueued>> {
    const { contender } = this.#names(own);
    if (own.inherits) return await this.#standing(own, await this.#entries([contender], bounds), bounds);
    const before = own.ahead.map(({ name }) => name);
    if (before.length > 0) {
      // As long as all of these are there, so does it wait: no need to read the whole queue.
      const present = await this.#present([contender, ...before], bounds);
      if (present.has(contender) && before.every((name) => present.has(name))) return CONTENDED;
    }
    return await this.#standing(own, await this.#queue(own.claim, bounds), bounds);
  }

  /** The queue as the claim sees it. Who is not in it was taken out: by a thief, if one has said so. */
  async #standing(own: Own, pairs: readonly Pair[], bounds: Bounds): Promise<Found<ConsulQueued>> {
    const queue = queueOf(this.#store.root, pairs);
    const at = queue.findIndex(({ id, session }) => id === own.claim.id && session === this.#session);
    if (at < 0) return gone(own, await this.#home?.notices.read(bounds));
    return { queue: queue.slice(0, at + 1), token: BigInt(queue[at]!.token) };
  }

  #queue({ key }: Claim, bounds: Bounds): Promise<Pair[]> {
    const { api, root } = this.#store;
    return api.tree(treeOf(root, key), bounds);
  }

  /** Which of these entries are there. `urgent` as of a question. */
  async #present(names: readonly string[], bounds: Bounds, urgent = false): Promise<Set<string>> {
    const { api, root } = this.#store;
    const present = new Set<string>();
    let open = names;
    if (names.length > BY_NAME) {
      for (const prefix of new Set(names.map((name) => prefixOf(root, name)))) {
        for (const name of await api.names(prefix, bounds, urgent)) present.add(name);
      }
      // A list that is not whole must not cost a lock.
      open = names.filter((name) => !present.has(name));
    }
    for (let from = 0; from < open.length; from += BY_NAME) {
      for (const { Key, Session } of await this.#entries(open.slice(from, from + BY_NAME), bounds, urgent)) {
        if (Session !== undefined) present.add(Key);
      }
    }
    return present;
  }

  async #entries(names: readonly string[], bounds: Bounds, urgent?: boolean): Promise<Pair[]> {
    const operations = names.map((Key) => ({ Verb: "get-tree", Key } as const));
    const answer = await this.#store.api.transact(operations, bounds, urgent);
    if (Array.isArray(answer)) return answer;
    throw new BackendError(`Cannot look for claims: Consul refused: ${answer.why}`);
  }

  #lock(Key: string, text: string): Operation {
    return { Verb: "lock", Key, Session: this.#session, Value: encodeValue(text) };
  }

  #names({ claim, number }: Own): Names {
    return names(this.#store.root, claim, `${this.#session}.${number}`);
  }

  /** The session's own corner is below the prefix of its claims, so that one ACL rule covers it all. */
  #settled(key: string): Home {
    if (this.#home === undefined) {
      const { api, root } = this.#store;
      const home = sessionOf(root, key, this.#session);
      this.#home = {
        fence: new Fence(api, this.#session, `${home}fence`),
        notices: new Notices(api, this.#session, home, {
          stolen: (id) => {
            const own = this.#ears.owned().find(({ claim }) => claim.id === id);
            if (own !== undefined) this.#ears.lost(own, "stolen");
          },
          ended: () => this.#ended(),
        }),
      };
    }
    return this.#home;
  }

  /** In its turn. An answer that shows the session to be gone ends the lease. */
  #inTurn<T>(call: Call, work: (bounds: Bounds) => Promise<T>): Promise<T> {
    const bounds = boundsOf(call);
    return this.#store.limiter.run(async () => {
      try {
        return await work(bounds);
      } catch (error) {
        if (error instanceof SessionEnded) this.#ended();
        throw error;
      }
    }, call);
  }

  #ended(): void {
    this.#home?.notices.stop();
    this.#ears.ended("revoked");
  }
}

function gone({ claim }: Own, stolen?: ReadonlySet<string>): Gone {
  return { state: "gone", why: stolen?.has(claim.id) ? "stolen" : "revoked" };
}

/** Does it in most of the time there is: the answer must not come too late because a part of it hangs. */
async function inTime<T>(
  { signal, until = Infinity }: Bounds,
  task: (bounds: Bounds) => Promise<T>,
): Promise<T> {
  const ms = (until - performance.now()) * 0.8;
  if (ms === Infinity) return await task({ signal });
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error("it takes too long")), ms);
  timer.unref();
  try {
    return await task({ signal: AbortSignal.any([signal, late.signal]), until: performance.now() + ms });
  } finally {
    clearTimeout(timer);
  }
}
