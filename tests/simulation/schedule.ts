import type { Noise, Way } from "./network.ts";
import type { ClockRates, Freeze } from "./process.ts";
import { Random } from "./random.ts";
import type { StoreTraits } from "./records.ts";
import { SETTLE } from "./sessions.ts";
import { type Operation, show } from "./workload.ts";

/** Something that is done to the system. Times in milliseconds. */
export type Action =
  | { readonly at: number; readonly do: "acquire"; readonly process: number; readonly operation: Operation }
  | { readonly at: number; readonly do: Freeze; readonly process: number; readonly ms: number }
  | { readonly at: number; readonly do: "wall"; readonly process: number; readonly ms: number }
  | {
    readonly at: number;
    readonly do: "cut";
    readonly process: number;
    readonly way: Way;
    readonly ms: number;
  }
  | { readonly at: number; readonly do: "restart" | "sever"; readonly ms: number }
  | { readonly at: number; readonly do: "revoke"; readonly key: string; readonly index: number }
  | { readonly at: number; readonly do: "expel"; readonly index: number }
  | { readonly at: number; readonly do: "crash" | "close"; readonly process: number };

/** All that happens in one run; it follows from the seed. */
export interface Schedule {
  readonly seed: number;
  readonly store: StoreTraits;
  readonly processes: readonly ClockRates[];
  readonly noise: Noise;
  /** Probability that a renewal's answer leaves a claim out. */
  readonly partial: number;
  readonly retryFor: number;
  /** In the order of their times. */
  readonly actions: readonly Action[];
  /** When faults stop. */
  readonly calm: number;
  /** How far away the store is then, in milliseconds. */
  readonly distance: number;
  /** What is asked for after that; times from when everything has settled. */
  readonly after: readonly Action[];
}

const SECOND = 1_000;

/** Suspensions that are shorter than that are below what the core tells from a wall clock that is set. */
const SHORTEST = 25;

/** What a seed stands for. */
export function schedule(seed: number): Schedule {
  const random = new Random(`schedule ${seed}`);
  const kind = random.pick(["claim", "claim", "lease", "lease", "settle"] as const);
  const calm = random.between(8, 45) * SECOND;
  const count = random.whole(2, 4);
  const keys = ["a", "b", "c"].slice(0, random.pick([1, 1, 2, 3]));
  const stays = random.fork("stays");
  const rough = random.fork("rough").chance(0.15);
  const context = { random, count, keys, calm, ttls: ttls(kind, random), stays, rough };
  const actions = [
    ...Array.from({ length: random.whole(3, 22) }, () => acquisition(context)),
    ...Array.from({ length: random.whole(0, 7) }, () => fault(context, kind)),
  ];
  return {
    seed,
    store: {
      kind,
      push: kind === "claim" && random.chance(0.6),
      rate: drift(random),
      late: random.pick([0, 0, 500, 5_000]) * random.next(),
      grants: random.chance(0.15) ? random.between(0.6, 1) : 1,
    },
    processes: Array.from({ length: count }, () => ({
      monotonic: drift(random),
      wall: 1 + random.between(-0.0004, 0.0004),
    })),
    noise: kind === "settle" && random.chance(0.5) ? SLUGGISH : noise(random, rough),
    partial: random.chance(0.3) ? 0.2 : 0,
    retryFor: random.pick([0, 500, 3_000, 10_000]),
    actions: actions.sort((one, other) => one.at - other.at),
    calm,
    after: Array.from({ length: random.whole(3, 9) }, () => probe(context))
      .sort((one, other) => one.at - other.at),
    distance: random.pick([2, 2, 10]),
  };
}

/** Renewals that overtake each other, or nearly so: the worst for a store that passes them on. */
const SLUGGISH: Noise = { delay: 20, slow: 0.6, slowest: 1_500, loss: 0, copy: 0, reset: 0 };

function noise(random: Random, rough: boolean): Noise {
  const noisy = random.low(2);
  const usual = {
    delay: random.pick([1, 5, 50, 200]),
    slow: noisy * 0.3,
    slowest: random.pick([300, 3_000, 15_000]),
    loss: noisy * 0.15,
    copy: random.pick([0, 0, noisy * 0.3, noisy * 0.3, 0.5]),
    reset: random.next(),
  };
  return rough ? { ...usual, loss: Math.max(usual.loss, 0.1), copy: Math.max(usual.copy, 0.4) } : usual;
}

interface Context {
  readonly random: Random;
  readonly count: number;
  readonly keys: readonly string[];
  readonly calm: number;
  readonly ttls: readonly number[];
  /** A stream of its own, so that the seeds that once found a bug still mean what they did. */
  readonly stays: Random;
  /** Many thieves, and messages that are lost or come twice. */
  readonly rough: boolean;
}

/** A few of them, so that claims share leases. */
function ttls(kind: StoreTraits["kind"], random: Random): number[] {
  const all = kind === "settle" ? [3 * SETTLE, 4_000, 6_000, 10_000] : [1_000, 2_000, 4_000, 10_000];
  return [random.pick(all), random.pick(all)].slice(0, random.whole(1, 2));
}

/** Within 0.5 % of true time, so that two clocks are within 1 % of each other. */
function drift(random: Random): number {
  return random.chance(0.3) ? random.pick([0.995, 1.005]) : random.between(0.995, 1.005);
}

function acquisition({ random, count, keys, calm, ttls, stays, rough }: Context): Action {
  const steal = random.chance(rough ? 0.3 : 0.06);
  const limit = steal ? 1 : random.pick([1, 1, 1, 1, 2, 3, Infinity, Infinity]);
  const wait = random.chance(0.85);
  const several = keys.length > 1 && random.chance(0.25);
  const first = random.pick(keys);
  const chosen = several ? [first, random.pick(keys.filter((key) => key !== first))] : [first];
  return {
    at: random.low(2) * calm,
    do: "acquire",
    process: random.whole(0, count - 1),
    operation: {
      keys: chosen,
      options: {
        ...(limit === Infinity ? { mode: "shared" } : limit > 1 ? { limit } : {}),
        ttl: random.pick(ttls),
        ...(random.chance(0.15) ? { renew: false } : stays.chance(0.1) && { atLeast: stays.low(2) * 15_000 }),
        ...(steal && { steal }),
      },
      wait,
      patience: wait && random.chance(0.3) ? random.low(2) * 15_000 : undefined,
      hold: random.low(2) * 15_000 + 1,
      writes: random.between(50, 3_000),
      travels: random.low(3) * 15_000,
      reads: random.chance(0.5),
      renews: random.chance(0.1),
    },
  };
}

/** An acquisition of the calm time: nothing may go wrong with it. */
function probe({ random, count, keys, ttls, stays }: Context): Action {
  const limit = random.pick([1, 1, 1, 2, Infinity, Infinity, Infinity]);
  return {
    at: random.next() * 3_000,
    do: "acquire",
    process: random.whole(0, count - 1),
    operation: {
      keys: keys.length > 1 && random.chance(0.15) ? [...keys].reverse() : [random.pick(keys)],
      options: {
        ...(limit === Infinity ? { mode: "shared" } : limit > 1 ? { limit } : {}),
        ttl: random.pick(ttls),
        ...(stays.chance(0.15) && { atLeast: stays.next() * 2 * Math.max(...ttls) }),
      },
      wait: random.chance(0.95),
      patience: undefined,
      hold: random.pick([50, 500, 5_000, 2 * Math.max(...ttls)]) * random.between(0.5, 1),
      writes: 1_000,
      travels: 1,
      reads: false,
      renews: false,
    },
  };
}

function fault({ random, count, keys, calm, ttls }: Context, kind: StoreTraits["kind"]): Action {
  const at = random.next() * calm;
  const process = random.whole(0, count - 1);
  const ms = random.low(2) * 2.5 * Math.max(...ttls);
  const what = random.pick(
    [
      ...["stop", "stop", "suspend", "suspend", "stall", "wall", "cut", "cut", "restart", "revoke"] as const,
      ...["expel", "crash", "close"] as const,
      ...(kind === "settle" ? ["sever", "sever", "sever", "sever"] as const : []),
    ],
  );
  switch (what) {
    case "wall":
      return { at, do: what, process, ms: random.pick([-1, 1]) * random.low(2) * 60_000 };
    case "cut":
      return { at, do: what, process, way: random.pick(["both", "both", "out", "in"] as const), ms };
    case "restart":
    case "sever":
      return { at, do: what, ms };
    case "revoke":
      return { at, do: what, key: random.pick(keys), index: random.whole(0, 2) };
    case "expel":
      return { at, do: what, index: random.whole(0, 5) };
    case "crash":
    case "close":
      return { at, do: what, process };
    case "suspend":
      return { at, do: what, process, ms: Math.max(ms, SHORTEST) };
    default:
      return { at, do: what, process, ms };
  }
}

/** For people. */
export function describe(action: Action): string {
  const at = `${Math.round(action.at)}`.padStart(7);
  switch (action.do) {
    case "acquire":
      return `${at}  p${action.process} acquires ${show(action.operation)}`;
    case "wall":
      return `${at}  p${action.process} wall clock ${Math.round(action.ms)} ms`;
    case "cut":
      return `${at}  p${action.process} cut off (${action.way}) for ${Math.round(action.ms)} ms`;
    case "restart":
    case "sever":
      return `${at}  store ${action.do} for ${Math.round(action.ms)} ms`;
    case "revoke":
      return `${at}  store revokes claim ${action.index} of ${action.key}`;
    case "expel":
      return `${at}  store revokes lease ${action.index}`;
    case "crash":
    case "close":
      return `${at}  p${action.process} ${action.do}`;
    default:
      return `${at}  p${action.process} ${action.do} for ${Math.round(action.ms)} ms`;
  }
}
