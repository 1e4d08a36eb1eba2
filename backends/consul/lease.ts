import type { Call, Claim, Contended, Gone, Lease, LeaseRequest, Outcome } from "../../internal/backend.ts";
import { holders, watched } from "../../internal/queue.ts";
import type { Bounds, ConsulApi, Pair } from "./api.ts";
import { SessionEnded } from "./fence.ts";
import { queueOf } from "./names.ts";
import { type Place, Places } from "./places.ts";
import { parseQueue } from "./queue.ts";
import { Session } from "./session.ts";
import { Tries } from "./tries.ts";
import type { Turnstile } from "./turnstile.ts";
import type { Waiting } from "./waiting.ts";

const CONTENDED: Contended = { state: "contended" };
const GONE: Gone = { state: "gone", why: "revoked" };

/** For what must not be given up. */
const NEVER: Bounds = { signal: new AbortController().signal };

/** What the leases of a backend share. */
export interface Store {
  readonly api: ConsulApi;
  /** Before every key. */
  readonly root: string;
  readonly waiting: Waiting;
  /** For what comes in crowds. A renewal does not stand in line. */
  readonly turnstile: Turnstile;
}

/** A session, and the claims that are locked under it. */
export class ConsulLease implements Lease {
  readonly ttl: number;
  readonly #store: Store;
  readonly #session: Session;
  readonly #request: LeaseRequest;
  readonly #places: Places;
  readonly #tries = new Tries();
  #ended = false;

  constructor(store: Store, session: string, request: LeaseRequest) {
    this.ttl = request.ttl;
    this.#store = store;
    this.#session = new Session(store.api, store.root, session, {
      stolen: (id) => this.#robbed(id),
      ended: () => this.#end(),
    });
    this.#request = request;
    this.#places = new Places(store.root, session);
  }

  async attempt(claim: Claim, call: Call): Promise<Outcome> {
    const entered = claim.progress === "entered";
    const place = this.#ended ? undefined : entered ? this.#places.get(claim.id) : this.#places.take(claim);
    if (place === undefined) return GONE;
    const ask = (how: () => Promise<Outcome>) => (): Promise<Outcome> =>
      this.#store.turnstile.pass(how, call.signal);
    const look = ask(() => this.#look(place, call));
    const enter = ask(() => this.#enter(claim, place, call));
    place.attempts++;
    try {
      if (entered) return await look();
      if (claim.wait || claim.steal) return await enter();
      return await this.#tries.ask(`${claim.limit} ${claim.key}`, enter);
    } catch (error) {
      if (error instanceof SessionEnded) return this.#end();
      throw error;
    } finally {
      place.attempts--;
      if (place.outcome === undefined && place.attempts + place.unanswered === 0) this.#places.leave(place);
    }
  }

  async changed(claim: Claim, call: Call): Promise<void> {
    const place = this.#places.get(claim.id);
    if (place === undefined || place.ahead.length === 0) return;
    const own = place.ahead.filter(({ session }) => session === this.#session.id);
    const others = place.ahead.filter(({ session }) => session !== this.#session.id);
    const { root, waiting } = this.#store;
    const stop = new AbortController();
    const signal = AbortSignal.any([call.signal, stop.signal]);
    // Who leaves from here need not be asked after.
    const departures = own.map(({ id }) => this.#places.left(id, signal));
    if (others.length > 0) {
      departures.push(waiting.untilOneGone(root, claim.key, others, { ttl: this.ttl, signal }));
    }
    try {
      if (await Promise.race(departures)) place.ahead = []; // so that `attempt` reads the queue
    } finally {
      stop.abort();
    }
  }

  async release(claim: Claim, call: Call): Promise<boolean> {
    const place = this.#places.get(claim.id);
    if (place === undefined || this.#ended) return false;
    place.withdrawn = true;
    try {
      const remove = (): Promise<boolean> => this.#session.remove(place, call);
      const removed = await this.#store.turnstile.pass(remove, call.signal);
      this.#places.leave(place);
      return removed;
    } catch (error) {
      if (!(error instanceof SessionEnded)) throw error;
      this.#end();
      return false;
    }
  }

  async renew(claims: readonly Claim[], call: Call): Promise<Map<string, Outcome>> {
    const places = claims.map(({ id }) => this.#places.get(id)).filter((place) => place !== undefined)
      .filter(({ outcome }) => outcome !== undefined);
    const [alive, present] = await Promise.all([
      !this.#ended && this.#session.renew(call),
      this.#session.present(places.map(({ names }) => names.contender), call),
    ]);
    if (!alive) {
      const gone = this.#end();
      return new Map(claims.map(({ id }) => [id, gone]));
    }
    const absent = places.filter(({ names }) => !present.has(names.contender));
    const gone = absent.length > 0 ? await this.#gone(absent, call) : new Map<string, Outcome>();
    return new Map(places.map(({ id, outcome }) => [id, gone.get(id) ?? outcome!]));
  }

  async close(call: Call): Promise<void> {
    this.#stop();
    await this.#session.end(call);
  }

  async #enter(claim: Claim, place: Place, call: Call): Promise<Outcome> {
    if (!claim.wait && !claim.steal && place.unanswered === 0) {
      if (this.#stands(claim)) return CONTENDED;
      const queue = parseQueue(this.#store.root, await this.#queue(place, call));
      if (holders([...queue, claim]) <= queue.length) return CONTENDED;
    }
    const outcome = await this.#standing(place, await this.#session.enter(claim, place, call), call);
    if (outcome.state !== "contended" || claim.wait) return outcome;
    await this.#session.remove(place, call); // somebody was faster between the look and the enter
    this.#places.leave(place);
    return CONTENDED;
  }

  /** Whether a claim of our own, which we know to be there, is in the way. */
  #stands({ key, limit }: Claim): boolean {
    return [...this.#places.on(key).values()].some((other) =>
      other.outcome !== undefined && !other.withdrawn && Math.min(limit, other.limit) === 1
    );
  }

  /** How a claim that has entered stands. It does not enter again. */
  async #look(place: Place, call: Call): Promise<Outcome> {
    const { contender } = place.names;
    const before = place.ahead.map(({ name }) => name);
    if (before.length > 0) {
      // As long as all of these are there, so does it wait: no need to read the whole queue.
      const present = await this.#session.present([contender, ...before], call);
      if (present.has(contender) && before.every((name) => present.has(name))) return CONTENDED;
    }
    return await this.#standing(place, await this.#queue(place, call), call);
  }

  /** The rule of the queue, for one claim of it. */
  async #standing(place: Place, pairs: readonly Pair[], call: Call): Promise<Outcome> {
    const queue = parseQueue(this.#store.root, pairs);
    const at = queue.findIndex(({ id, session }) => id === place.id && session === this.#session.id);
    if (at < 0) return (await this.#gone([place], call)).get(place.id)!;
    place.ahead = watched(queue, at);
    const held = place.ahead.length === 0;
    return place.outcome = held ? { state: "granted", token: BigInt(queue[at]!.token) } : CONTENDED;
  }

  async #queue({ key }: Place, call: Call): Promise<Pair[]> {
    const { api, root } = this.#store;
    return await api.tree(queueOf(root, key), call);
  }

  /** Somebody took these claims out. */
  async #gone(places: readonly Place[], call: Call): Promise<Map<string, Gone>> {
    const stolen = await this.#session.stolen(call);
    const outcomes = new Map<string, Gone>();
    for (const place of places) {
      if (place.unanswered > 0) await this.#session.remove(place, call); // a late enter must not bring it back
      this.#places.leave(place);
      outcomes.set(place.id, { state: "gone", why: stolen.has(place.id) ? "stolen" : "revoked" });
    }
    return outcomes;
  }

  #robbed(id: string): void {
    const place = this.#places.get(id);
    if (place === undefined) return;
    place.withdrawn = true;
    if (place.unanswered === 0) this.#places.leave(place);
    else void this.#session.remove(place, NEVER).then(() => this.#places.leave(place), () => {});
    this.#request.lost("stolen", id);
  }

  /** The session is gone. */
  #end(): Gone {
    if (!this.#ended) {
      this.#stop();
      this.#request.lost("revoked");
    }
    return GONE;
  }

  #stop(): void {
    this.#ended = true;
    this.#session.stop();
    this.#places.clear();
  }
}
