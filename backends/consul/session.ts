import type { Claim } from "../../internal/backend.ts";
import { BackendError } from "../../internal/errors.ts";
import { type Bounds, type ConsulApi, encodeValue, type Operation, type Pair } from "./api.ts";
import { Fence, namesNoSession, SessionEnded } from "./fence.ts";
import { prefixOf, queueOf, sessionOf } from "./names.ts";
import { type Hearers, Notices } from "./notices.ts";
import type { Place } from "./places.ts";
import { theft } from "./theft.ts";

/** How many entries are asked about by name, in one transaction. More are looked up in a list. */
const BY_NAME = 64;

/** A session of Consul, and what is done to the store under it. */
export class Session {
  readonly id: string;
  readonly #api: ConsulApi;
  readonly #root: string;
  readonly #hearers: Hearers;
  #fence: Fence | undefined;
  #notices: Notices | undefined;

  constructor(api: ConsulApi, root: string, id: string, hearers: Hearers) {
    this.#api = api;
    this.#root = root;
    this.id = id;
    this.#hearers = hearers;
  }

  /**
   * Puts the claim at the tail of its queue, unless it stands there already, and returns the queue,
   * read in the same step.
   *
   * @throws {SessionEnded}
   */
  async enter(claim: Claim, place: Place, bounds: Bounds): Promise<Pair[]> {
    const { names } = place;
    const read: Operation = { Verb: "get-tree", Key: queueOf(this.#root, claim.key) };
    const own = [this.#lock(names.contender, claim.client)];
    if (claim.metadata !== undefined) own.push(this.#lock(names.metadata, claim.metadata));
    const fence = this.#settle(claim.key);
    for (let { steal } = claim;;) {
      const robs = steal ? await theft(this.#api, this.#root, claim, names, bounds) : [];
      const index = await fence.index(bounds);
      if (place.withdrawn) throw new BackendError("Cannot enter the queue: the claim has been given up");
      const operations = [fence.guard(index), ...robs, ...own, read];
      place.unanswered++;
      const answer = await this.#api.transact(operations, {
        ...bounds,
        doubt: () => void place.unanswered++,
      });
      place.unanswered--; // a refused one cannot arrive any more either
      if (Array.isArray(answer)) {
        this.#notices!.listen();
        return answer;
      }
      const refused = operations[answer.at]!;
      if (answer.at === 0) fence.refused(index);
      else if (refused.Verb === "check-not-exists") steal = false; // the theft itself had succeeded
      else if (!namesNoSession(answer)) {
        throw new BackendError(`Cannot enter the queue: Consul refused: ${answer.why}`);
      } else if (own.includes(refused)) throw new SessionEnded(answer.why);
      // Otherwise it was a victim's session that has ended meanwhile: look again.
    }
  }

  /** Takes a claim out, and makes sure that no enter of it arrives later. Whether it was there. */
  async remove({ names, described, unanswered, outcome }: Place, bounds: Bounds): Promise<boolean> {
    if (unanswered === 0) {
      if (outcome === undefined) return false; // it never entered
      const operations: Operation[] = [
        { Verb: "check-session", Key: names.contender, Session: this.id },
        { Verb: "delete-tree", Key: names.slot },
      ];
      if (described) operations.push({ Verb: "delete-tree", Key: names.metadataSlot });
      let doubted = false;
      const answer = await this.#api.transact(operations, { ...bounds, doubt: () => void (doubted = true) });
      if (Array.isArray(answer)) return true;
      if (answer.why.includes("doesn't exist")) return doubted; // then it was a copy of this that removed it
    }
    // A late copy of this must not hit the next claim in the slot, hence not the slot but the names.
    const pairs = await this.#fence!.raise([
      { Verb: "get-tree", Key: names.contender },
      { Verb: "delete", Key: names.contender },
      ...(described ? [{ Verb: "delete", Key: names.metadata } as const] : []),
    ], bounds);
    return pairs.some(({ Key }) => Key === names.contender);
  }

  /** Which of these entries are there. `urgent` as of a question. */
  async present(names: readonly string[], bounds: Bounds, urgent = false): Promise<Set<string>> {
    const present = new Set<string>();
    let open = names;
    if (names.length > BY_NAME) {
      for (const prefix of new Set(names.map((name) => prefixOf(this.#root, name)))) {
        for (const name of await this.#api.names(prefix, bounds, urgent)) present.add(name);
      }
      // A list that is not whole must not cost a lock.
      open = names.filter((name) => !present.has(name));
    }
    for (let from = 0; from < open.length; from += BY_NAME) {
      const operations = open.slice(from, from + BY_NAME).map((Key) => ({ Verb: "get-tree", Key } as const));
      const answer = await this.#api.transact(operations, bounds, urgent);
      if (!Array.isArray(answer)) {
        throw new BackendError(`Cannot look for claims: Consul refused: ${answer.why}`);
      }
      for (const { Key, Session } of answer) if (Session !== undefined) present.add(Key);
    }
    return present;
  }

  /** The claims that thieves say they took. */
  async stolen(bounds: Bounds): Promise<Set<string>> {
    return await this.#notices?.read(bounds) ?? new Set();
  }

  /** Starts the ttl again. `false`: the session is gone. */
  async renew(bounds: Bounds): Promise<boolean> {
    const alive = await this.#api.renewSession(this.id, bounds);
    if (alive) this.#notices?.listen();
    return alive;
  }

  /** Ends it, and with it all that is locked under it. */
  async end(bounds: Bounds): Promise<void> {
    this.stop();
    await this.#api.destroySession(this.id, bounds);
  }

  /** Listens no longer. */
  stop(): void {
    this.#notices?.stop();
  }

  #lock(Key: string, text: string): Operation {
    return { Verb: "lock", Key, Session: this.id, Value: encodeValue(text) };
  }

  /** The session's own corner is below the prefix of its claims, so that one ACL rule covers it all. */
  #settle(key: string): Fence {
    if (this.#fence === undefined) {
      const home = sessionOf(this.#root, key, this.id);
      this.#fence = new Fence(this.#api, this.id, `${home}fence`);
      this.#notices = new Notices(this.#api, this.id, home, this.#hearers);
    }
    return this.#fence;
  }
}
