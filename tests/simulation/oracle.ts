import type { Lock, LossReason } from "../../mod.ts";
import type { SimProcess } from "./process.ts";
import type { Entry, Witness } from "./records.ts";
import type { Store } from "./store.ts";
import type { World } from "./world.ts";

/** A lock that a process was given, for one of its keys. */
interface Belief {
  readonly process: SimProcess;
  readonly lock: Lock;
  readonly signal: AbortSignal;
  readonly key: string;
  readonly id: string;
  readonly ttl: number;
}

/** The flag itself, without the look at the clock that a lock's signal takes when it is read. */
const { get: flag } = Object.getOwnPropertyDescriptor(AbortSignal.prototype, "aborted")!;

/** How soon, without faults, a grant reaches its waiter. Milliseconds. */
const PROMPT = 250;

/** Milliseconds by which a time may seem to pass sooner: too little to tell a suspension, but counted. */
const BLUR = 50;

/** More claims of one process within a second than its operations can explain. */
const HAMMERING = 60;

/**
 * Knows what the store has really granted and what each process believes, and compares the two
 * after everything that happens. It is no part of the core and uses none of it.
 */
export class Oracle implements Witness {
  readonly #world: World;
  #store!: Store;
  #beliefs: Belief[] = [];
  /** Every grant, by key and token. */
  readonly #grants = new Map<string, { entry: Entry; order: number }>();
  /** The greatest tokens granted so far of a key: of all, and of the exclusive ones. */
  readonly #greatest = new Map<string, { any: bigint; exclusive: bigint }>();
  /** When a claim was stolen or revoked: its holder learns that later. */
  readonly #evicted = new Map<string, number>();
  /** How often a process entered a queue in this second. */
  readonly #entering = new Map<SimProcess, { second: number; times: number }>();
  readonly #withdrawn = new Set<string>();
  /** Until when a claim is to stay, unless its lock is lost. */
  readonly #staying = new Map<string, { process: SimProcess; signal: AbortSignal; until: number }>();
  readonly #names = new Map<string, string>();
  /** From when on nothing is allowed to be late or lost. */
  calmSince = Infinity;

  constructor(world: World) {
    this.#world = world;
    world.watch = () => this.#look();
  }

  /** Knows the store. */
  observe(store: Store): void {
    this.#store = store;
  }

  /** The same on every run, unlike the id. */
  readonly name = (id: string): string => {
    let name = this.#names.get(id);
    if (name === undefined) this.#names.set(id, name = `c${this.#names.size + 1}`);
    return name;
  };

  /** How a claim is called in messages. */
  show(entry: Entry): string {
    const { id, key, limit, token, lease } = entry;
    return `${this.name(id)} of ${lease.process.name} (${key}, limit ${limit}, token ${token})`;
  }

  entered(entry: Entry): void {
    this.#count(entry.lease.process);
    this.#world.note("store", `${this.show(entry)} enters`);
    if (this.#withdrawn.has(entry.id)) {
      this.#world.fail("a withdrawn claim never revives", `${this.show(entry)} has entered again`);
    }
  }

  granted(entry: Entry, queue: readonly Entry[]): void {
    this.#world.note("store", `${this.show(entry)} holds`);
    const holding = queue.filter(({ held }) => held);
    if (holding.length > Math.min(...holding.map(({ limit }) => limit))) {
      this.#world.fail("the one rule", `too many hold: ${holding.map((each) => this.show(each)).join("; ")}`);
    }
    const greatest = this.#greatest.get(entry.key) ?? { any: 0n, exclusive: 0n };
    const { token, limit } = entry;
    if (token <= (limit === 1 ? greatest.any : greatest.exclusive)) {
      this.#world.fail(
        "tokens rise",
        `${this.show(entry)} is granted after ${JSON.stringify(greatest, plain)}`,
      );
    }
    if (token > greatest.any) greatest.any = token;
    if (limit === 1 && token > greatest.exclusive) greatest.exclusive = token;
    this.#greatest.set(entry.key, greatest);
    this.#grants.set(`${entry.key} ${token}`, { entry, order: this.#grants.size });
  }

  left(entry: Entry, why: LossReason | "released"): void {
    this.#world.note("store", `${this.show(entry)} leaves: ${why}`);
    if (why === "released") this.#mayLeave(entry);
    if (why === "stolen" || why === "revoked") this.#evicted.set(entry.id, this.#world.now);
    else if (why === "expired" && this.#calm(entry.entered)) {
      this.#world.fail("nothing expires without a fault", this.show(entry));
    }
  }

  /** A release or withdrawal has been confirmed. */
  readonly withdrawn = (id: string): void => {
    this.#withdrawn.add(id);
    const entry = this.#store.entry(id);
    if (entry !== undefined) {
      this.#world.fail("a release that was confirmed is done", `${this.show(entry)} is still there`);
    }
  };

  /** Somebody has a lock. */
  acquired(process: SimProcess, lock: Lock, atLeast: number): void {
    const { signal, ttl } = lock;
    for (const [key, token] of lock.tokens) {
      const encoded = `holdfast/${key}`;
      const grant = this.#grants.get(`${encoded} ${token}`)?.entry;
      if (grant === undefined || grant.lease.process !== process) {
        this.#world.fail("a token is of one's own grant", `${process.name} has token ${token} for ${key}`);
        continue;
      }
      const { id, granted, entered } = grant;
      this.#beliefs.push({ process, lock, signal, key: encoded, id, ttl });
      this.#staying.set(id, { process, signal, until: granted + 0.994 * atLeast - BLUR });
      if (this.#calm(entered) && lock.keys.length === 1 && this.#world.now - granted > PROMPT) {
        const after = Math.round(this.#world.now - granted);
        this.#world.fail("a waiter is woken", `${this.show(grant)} learns of its grant after ${after} ms`);
      }
    }
  }

  /** Whether its key need not stay taken for longer. */
  #mayLeave(entry: Entry): void {
    const stays = this.#staying.get(entry.id);
    if (stays === undefined || this.#world.now >= stays.until) return;
    const { process, signal, until } = stays;
    const lost = flag!.call(signal) && signal.reason.code === "lost";
    // To a clock that is put forward it may seem that the time is over.
    if (lost || process.advanced) return;
    const early = Math.round(until - this.#world.now);
    this.#world.fail(
      "a key stays taken for as long as was asked",
      `${this.show(entry)} leaves ${early} ms too early`,
    );
  }

  /** Who is refused time and again has to wait a little in between. */
  #count(process: SimProcess): void {
    const second = Math.floor(this.#world.now / 1_000);
    const last = this.#entering.get(process);
    const times = last?.second === second ? last.times + 1 : 1;
    this.#entering.set(process, { second, times });
    if (times === HAMMERING) {
      this.#world.fail("the store is not hammered", `${process.name} enters ${times} times within a second`);
    }
  }

  /** The signal of a lock has aborted. */
  lost(lock: Lock, { code, why }: { code: string; why: LossReason }): void {
    if (code !== "lost" || why === "expired") return;
    for (const [key, token] of lock.tokens) {
      const { id } = this.#grants.get(`holdfast/${key} ${token}`)?.entry ?? { id: "" };
      const entry = this.#store.entry(id);
      // A late copy may stand in its place, with another token: it is taken out again.
      if (entry?.token !== token || !entry.held) return;
    }
    this.#world.fail(
      "what is said to be gone is gone",
      `${lock.keys.join("+")} was lost as ${why}, and still stands`,
    );
  }

  /** When the grant of this token came, among all. */
  order(key: string, token: bigint): number {
    return this.#grants.get(`holdfast/${key} ${token}`)?.order ?? -1;
  }

  /** Whether the holder has been robbed of it, which it may not know yet. */
  robbed(key: string, token: bigint): boolean {
    return this.#evicted.has(this.#grants.get(`holdfast/${key} ${token}`)?.entry.id ?? "");
  }

  /** Since when things go without faults, claims that entered before that have an excuse. */
  #calm(since: number): boolean {
    return since >= this.calmSince;
  }

  /** The safety promise, at this moment. */
  #look(): void {
    if (this.#beliefs.length === 0) return;
    this.#beliefs = this.#beliefs.filter(({ process, signal }) =>
      !process.dead && !(process.running && flag!.call(signal))
    );
    const holding = this.#beliefs.filter((belief) => belief.process.running && !this.#excused(belief));
    // The signals alone say whether two exclude each other; nothing of the store is asked.
    const keys = new Map<string, Belief[]>();
    for (const belief of holding) {
      const others = keys.get(belief.key);
      if (others === undefined) keys.set(belief.key, [belief]);
      else others.push(belief);
    }
    for (const [key, all] of keys) {
      const least = (those: Belief[]) => Math.min(...those.map(({ lock }) => lock.limit));
      if (all.length <= least(all)) continue;
      const sure = all.filter(believes);
      if (sure.length <= least(sure)) continue;
      const who = sure.map(({ process, id }) => `${process.name} ${this.name(id)}`).join(" and ");
      return this.#world.fail("never two holders beyond the limit", `${who} see unaborted signals of ${key}`);
    }
    for (const belief of holding) {
      if (this.#store.entry(belief.id)?.held || !believes(belief)) continue;
      return this.#world.fail(
        "the signal aborts before the store can give the lock away",
        `${belief.process.name} believes in ${this.name(belief.id)} of ${belief.key}, which is gone`,
      );
    }
  }

  /** Robbed, and not for longer than a deadline takes. */
  #excused({ id, ttl }: Belief): boolean {
    const evicted = this.#evicted.get(id);
    return evicted !== undefined && this.#world.now <= evicted + ttl * 1.02;
  }
}

/** What code that runs now can see: by the flag where timers are on time, by reading it elsewhere. */
function believes({ process, signal }: Belief): boolean {
  return !(process.fresh ? flag!.call(signal) : signal.aborted);
}

function plain(_name: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}
