import type { Call, Claim, Contended, Gone, Lease, LeaseRequest, Outcome } from "../../internal/backend.ts";
import { holders, watched } from "../../internal/queue.ts";
import { clearTimeout, setTimeout } from "node:timers";
import { setTimeout as sleep } from "node:timers/promises";
import type { Bounds, ConsulApi, Pair } from "./api.ts";
import { SessionEnded } from "./fence.ts";
import { boundsOf } from "./http.ts";
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
  /** Claims that were stolen while an enter of them was unanswered, which has not been shut out yet. */
  readonly #doubts = new Set<Place>();
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
    const bounds = boundsOf(call);
    const look = ask(() => this.#look(place, bounds));
    const enter = ask(() => this.#enter(claim, place, bounds));
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
    await this.#restAfterWrongHint(place, call.signal);
    const stop = new AbortController();
    const signal = AbortSignal.any([call.signal, stop.signal]);
    // Who leaves from here need not be asked after.
    const departures = own.map(({ id }) => this.#places.left(id, signal));
    if (others.length > 0) {
      departures.push(waiting.untilOneGone(root, claim.key, others, { ttl: this.ttl, signal }));
    }
    try {
      if (await Promise.race(departures)) {
        place.hinted = place.ahead;
        place.ahead = []; // so that `attempt` reads the queue
      }
    } finally {
      stop.abort();
    }
  }

  async release(claim: Claim, call: Call): Promise<boolean> {
    const place = this.#places.get(claim.id);
    if (place === undefined || this.#ended) return false;
    place.withdrawn = true;
    try {
      const bounds = boundsOf(call);
      const remove = (): Promise<boolean> => this.#session.remove(place, bounds);
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
    const bounds = boundsOf(call);
    if (this.#ended || !await this.#session.renew(bounds)) {
      const gone = this.#end();
      return new Map(claims.map(({ id }) => [id, gone]));
    }
    // From here on the renewal counts, whatever becomes of the rest: what stays open is left out.
    return await inTime(bounds, async (bounds) => {
      const [outcomes] = await Promise.all([this.#standings(places, bounds), this.#shutOut(bounds)]);
      return outcomes;
    });
  }

  async close(call: Call): Promise<void> {
    this.#stop();
    await this.#session.end(boundsOf(call));
  }

  /** Of those claims of which it can be told. */
  async #standings(places: readonly Place[], bounds: Bounds): Promise<Map<string, Outcome>> {
    const outcomes = new Map<string, Outcome>();
    try {
      const present = await this.#session.present(places.map(({ names }) => names.contender), bounds, true);
      const absent: Place[] = [];
      for (const place of places) {
        if (present.has(place.names.contender)) outcomes.set(place.id, place.outcome!);
        else absent.push(place);
      }
      if (absent.length === 0) return outcomes;
      const stolen = await this.#session.stolen(bounds);
      for (const place of absent) outcomes.set(place.id, await this.#gone(place, stolen, bounds));
    } catch (error) {
      if (error instanceof SessionEnded) { for (const { id } of places) outcomes.set(id, this.#end()); }
    }
    return outcomes;
  }

  async #enter(claim: Claim, place: Place, bounds: Bounds): Promise<Outcome> {
    if (!claim.wait && !claim.steal && place.unanswered === 0) {
      if (this.#stands(claim)) return CONTENDED;
      const queue = parseQueue(this.#store.root, await this.#queue(place, bounds));
      if (holders([...queue, claim]) <= queue.length) return CONTENDED;
    }
    const outcome = await this.#standing(place, await this.#session.enter(claim, place, bounds), bounds);
    if (outcome.state !== "contended" || claim.wait) return outcome;
    await this.#session.remove(place, bounds); // somebody was faster between the look and the enter
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
  async #look(place: Place, bounds: Bounds): Promise<Outcome> {
    const { contender } = place.names;
    const before = place.ahead.map(({ name }) => name);
    if (before.length > 0) {
      // As long as all of these are there, so does it wait: no need to read the whole queue.
      const present = await this.#session.present([contender, ...before], bounds);
      if (present.has(contender) && before.every((name) => present.has(name))) return CONTENDED;
    }
    return await this.#standing(place, await this.#queue(place, bounds), bounds);
  }

  /** The rule of the queue, for one claim of it. */
  async #standing(place: Place, pairs: readonly Pair[], bounds: Bounds): Promise<Outcome> {
    const queue = parseQueue(this.#store.root, pairs);
    const at = queue.findIndex(({ id, session }) => id === place.id && session === this.#session.id);
    if (at < 0) return await this.#gone(place, await this.#session.stolen(bounds), bounds);
    place.ahead = watched(queue, at);
    const held = place.ahead.length === 0;
    return place.outcome = held ? { state: "granted", token: BigInt(queue[at]!.token) } : CONTENDED;
  }

  async #queue({ key }: Place, bounds: Bounds): Promise<Pair[]> {
    const { api, root } = this.#store;
    return await api.tree(queueOf(root, key), bounds);
  }

  /** Somebody took this claim out: a thief, if he has said so. */
  async #gone(place: Place, stolen: ReadonlySet<string>, bounds: Bounds): Promise<Gone> {
    if (place.unanswered > 0) await this.#session.remove(place, bounds); // a late enter must not bring it back
    this.#places.leave(place);
    return { state: "gone", why: stolen.has(place.id) ? "stolen" : "revoked" };
  }

  #robbed(id: string): void {
    const place = this.#places.get(id);
    if (place === undefined || this.#doubts.has(place)) return;
    place.withdrawn = true;
    if (place.unanswered === 0) this.#places.leave(place);
    else {
      this.#doubts.add(place);
      void this.#shutOut(NEVER);
    }
    this.#request.lost("stolen", id);
  }

  /**
   * Nobody asks for these claims any more, and an enter of theirs may be under way: under a session that
   * lives on, nothing would remove what it leaves. What fails is done again with the next renewal.
   */
  async #shutOut(bounds: Bounds): Promise<void> {
    for (const place of this.#doubts) {
      try {
        await this.#session.remove(place, bounds);
      } catch (error) {
        if (error instanceof SessionEnded) this.#end();
        return;
      }
      this.#doubts.delete(place);
      this.#places.leave(place);
    }
  }

  /** What was said to have changed, and has not, would be said again at once, and for ever. */
  async #restAfterWrongHint(place: Place, signal: AbortSignal): Promise<void> {
    const { hinted, ahead } = place;
    const names = new Set(ahead.map(({ name }) => name));
    const wrong = hinted.length > 0 && hinted.every(({ name }) => names.has(name));
    place.misled = wrong ? place.misled + 1 : 0;
    if (wrong) await sleep(Math.min(25 * 2 ** place.misled, 1_000), undefined, { signal, ref: false });
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
    this.#doubts.clear();
  }
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
