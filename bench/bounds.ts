/** What the figures are held to: each a ratio of two things measured in one run, or a count. */
import type { Figure, Report, Series } from "./harness/report.ts";
import { floorOf, where } from "./harness/select.ts";
import { round } from "./harness/statistics.ts";

/** How a figure is found, and what it is held to. */
interface Rule {
  readonly name: string;
  readonly store: string;
  readonly what: string;
  readonly unit: Figure["unit"];
  readonly bound?: Figure["bound"];
  /** `undefined` or no number where the run has not measured it. */
  value(report: Report): number | undefined;
}

/** What every store is held to, where it differs by store: at most this. */
const LIMITS: Readonly<
  Record<string, Partial<Record<"cycle" | "far" | "handover" | "calls" | "held", number>>>
> = {
  sqlite: { cycle: 2 },
  redis: { cycle: 1.15, far: 1.1, handover: 1.5, calls: 3, held: 25 },
  redlock: { cycle: 1.5, far: 1.3 },
  etcd: { cycle: 1.2, far: 1.1, handover: 2, calls: 4, held: 1 },
  zookeeper: { cycle: 1.25, far: 1.1, handover: 2, calls: 3, held: 1 },
  consul: { cycle: 1.25, far: 1.1, handover: 2 },
  postgres: { cycle: 1.25, far: 1.1, handover: 2, calls: 3, held: 45 },
};

const most = (limit: number | undefined) => limit === undefined ? undefined : { most: limit };

/** For each store. */
function general(store: string): Rule[] {
  const limits = LIMITS[store] ?? {};
  const local = { store, network: "loopback" } as const;
  const far = { store, network: "1 ms" } as const;
  return [
    {
      ...{ name: "cycle", store, unit: "x", bound: most(limits.cycle) },
      what: "acquire + release against the bare calls",
      value: (report) => overFloor(report, { ...local, scenario: "uncontended" }),
    },
    {
      ...{ name: "cycle far", store, unit: "x", bound: most(limits.far) },
      what: "the same, with half a millisecond of network each way",
      value: (report) => overFloor(report, { ...far, scenario: "uncontended" }),
    },
    {
      ...{ name: "fresh", store, unit: "x", bound: most(limits.cycle) },
      what: "acquire + release of a new key each time, against the bare calls",
      value: (report) => overFloor(report, { ...local, scenario: "fresh" }),
    },
    {
      ...{ name: "hand-over", store, unit: "x", bound: most(limits.handover) },
      what: "hand-over to a waiting process against the least that wakes one",
      value: (report) => overFloor(report, { ...local, scenario: "handover" }),
    },
    {
      ...{ name: "calls", store, unit: "calls", bound: most(limits.calls) },
      what: "calls for each hand-over, 100 waiters in four processes",
      value: (report) => ours(report, { ...local, scenario: "crowd", size: 100 })?.values?.calls,
    },
    {
      ...{ name: "held", store, unit: "calls", bound: most(limits.held) },
      what: "calls in a third of the ttl to renew 10 000 locks",
      value: (report) => ours(report, { ...local, scenario: "held", size: 10_000 })?.values?.calls,
    },
    {
      ...{ name: "longest", store, unit: "ms", bound: most({ redis: 5, postgres: 20 }[store]) },
      what: "the longest of these calls in the store",
      value: (report) => ours(report, { ...local, scenario: "held", size: 10_000 })?.values?.longest,
    },
    {
      ...{ name: "standstill", store, unit: "ms", bound: most(20) },
      what: "the longest standstill of the process that renews 10 000 locks",
      value: (report) => ours(report, { ...local, scenario: "held", size: 10_000 })?.values?.standstill,
    },
    {
      ...{ name: "idle", store, unit: "%", bound: most(2) },
      what: "100 idle waiters in four processes, of one core, the store included",
      value: (report) => ours(report, { ...local, scenario: "crowd", size: 100 })?.values?.idle,
    },
    {
      ...{ name: "disorder", store, unit: "x", bound: store === "redlock" ? undefined : { most: 0.01 } },
      what: "disorder among 1 000 waiters: 0 is first come, first served, 1 a lottery",
      value: (report) => ours(report, { ...local, scenario: "crowd", size: 1_000 })?.values?.disorder,
    },
    {
      ...{ name: "crowd", store, unit: "x", bound: { most: 2 } },
      what: "a hand-over among 1 000 waiters against among ten",
      value: (report) => slower(report, { ...local, scenario: "crowd" }, 10, 1_000),
    },
    {
      ...{ name: "crowd of 10 000", store, unit: "x", bound: { most: 2 } },
      what: "a hand-over among 10 000 waiters against among ten",
      value: (report) => slower(report, { ...local, scenario: "crowd" }, 10, 10_000),
    },
    {
      ...{ name: "keys", store, unit: "x", bound: { most: 1.5 } },
      what: "acquire + release beside 100 000 other locks of the process, against beside one",
      value: (report) => growth(report, { ...local, scenario: "keys" }, 1, 100_000),
    },
    {
      ...{ name: "readers", store, unit: "x", bound: { most: 2 } },
      what: "a reader's acquire + release among 10 000 of one key, against beside one",
      value: (report) => growth(report, { ...local, scenario: "readers" }, 1, 10_000),
    },
    {
      ...{ name: "takeover", store, unit: "x", bound: { most: store === "consul" ? 2.2 : 1.5 } },
      what: "until a killed holder's lock is the next one's, of its ttl",
      value: (report) => {
        const found = ours(report, { ...local, scenario: "takeover" });
        return found?.times && found.times.p50 / found.size!;
      },
    },
  ];
}

/** Other packages on Redis: none is to be quicker when the lock is free. */
const REDIS_PEERS = [
  "redlock",
  "redis-semaphore",
  "@sesamecare-oss/redlock",
  "@verrou/core",
  "simple-redis-mutex",
  "node-redisson",
  "redlock-universal",
];

/** How many times as fast as theirs a hand-over is to be. */
const QUICKER = { "redlock": 100, "redis-semaphore": 8, "node-redisson": 2 };

/** What is particular. */
const PARTICULAR: readonly Rule[] = [
  ...REDIS_PEERS.map((name): Rule => ({
    ...{ name: `beside ${name}`, store: "redis", unit: "x", bound: { most: 1 } },
    what: `acquire + release against ${name}`,
    value: (report) => beside(report, name, { scenario: "uncontended", store: "redis", network: "loopback" }),
  })),
  ...Object.entries(QUICKER).map(([name, least]): Rule => ({
    ...{ name: `hand-over beside ${name}`, store: "redis", unit: "x", bound: { least } },
    what: `hand-over, how many times as fast as ${name}`,
    value: (report) =>
      ratio(1, beside(report, name, { scenario: "handover", store: "redis", network: "loopback" })),
  })),
  {
    ...{ name: "hand-over", store: "sqlite", unit: "ms", bound: { most: 2 } },
    what: "hand-over to a waiting process",
    value: (report) => ours(report, { scenario: "handover", store: "sqlite" })?.times?.p50,
  },
  {
    ...{ name: "memory", store: "memory", unit: "x", bound: { least: 0.57 } },
    what: "acquire + release a second, of what async-mutex does",
    value: (report) => {
      const size = 1;
      const rate = ours(report, { scenario: "flight", store: "memory", size })?.rate;
      return ratio(
        rate,
        peer(report, { scenario: "flight", store: "memory", subject: "async-mutex", size })?.rate,
      );
    },
  },
  {
    ...{ name: "memory a second", store: "memory", unit: "/s", bound: { least: 200_000 } },
    what: "acquire + release a second",
    value: (report) => ours(report, { scenario: "flight", store: "memory", size: 1 })?.rate,
  },
  {
    // With one in flight a process sleeps between any two steps, and what wakes up with cold caches takes three times
    // as long: that is in "cycle". What limits a process that has work to do is this.
    ...{ name: "client", store: "redis", unit: "x", bound: { most: 2 } },
    what: "the client's own work for a cycle with 64 in flight, of the memory backend's",
    value: (report) => {
      const given = { scenario: "flight", store: "redis", network: "loopback", size: 64 } as const;
      const one = ours(report, given);
      const floor = one && floorOf(report, one);
      const core = ours(report, { scenario: "flight", store: "memory", size: 64 });
      return ratio((one?.values?.client ?? NaN) - (floor?.values?.client ?? NaN), core?.values?.client);
    },
  },
  {
    ...{ name: "in flight", store: "redis", unit: "x", bound: { least: 0.7 } },
    what: "64 in flight, of the bare calls' throughput",
    value: (report) => {
      const one = ours(report, { scenario: "flight", store: "redis", network: "loopback", size: 64 });
      return ratio(one?.rate, one && floorOf(report, one)?.rate);
    },
  },
  {
    ...{ name: "far beside redis-semaphore", store: "redis", unit: "x", bound: { most: 1 } },
    what: "acquire + release against redis-semaphore, with half a millisecond of network each way",
    value: (report) =>
      beside(report, "redis-semaphore", { scenario: "uncontended", store: "redis", network: "1 ms" }),
  },
  {
    ...{ name: "three nodes", store: "redlock", unit: "x", bound: { most: 2 } },
    what: "acquire + release against the bare calls at three nodes at once",
    value: (report) =>
      beside(report, "the same, at three nodes at once", {
        ...{ scenario: "uncontended", store: "redlock", network: "loopback" } as const,
      }),
  },
  {
    ...{ name: "beside etcd3", store: "etcd", unit: "x", bound: { least: 2 } },
    what: "acquire + release, how many times as fast as etcd3's Lock",
    value: (report) =>
      ratio(
        1,
        beside(report, "etcd3's Lock", { scenario: "uncontended", store: "etcd", network: "loopback" }),
      ),
  },
  {
    ...{ name: "import", store: "core", unit: "ms", bound: { most: 30 } },
    what: "importing the package, over an empty module",
    value: (report) => where(report, { scenario: "import" })[0]?.times?.p50,
  },
];

const peers = (limit: number) =>
  Object.fromEntries(REDIS_PEERS.map((name) => [`redis: beside ${name}`, limit]));

/**
 * Why bounds are not kept, by store and name: paragraphs that a user can judge by; and what is measured must not be
 * worse than either, about half as much again as it is on the machine of the report.
 */
const EXCUSES: readonly { readonly why: string; readonly limits: Readonly<Record<string, number>> }[] = [
  {
    why:
      "The profile is flat. A lock of ours has an id nobody else has, a token, a place in a queue, a deadline that is " +
      "guarded and a release that may fail; for each cycle that is seven kilobytes of objects, most of them the promises " +
      "of two calls that a store would have to answer, and three looks at two clocks, which are a tenth of it.",
    limits: { "memory: memory": 0.35 },
  },
  {
    why:
      "What has become of all ten thousand is taken note of in one turn of the event loop, once in a third of the ttl.",
    limits: {
      "memory: standstill": 80,
      "etcd: standstill": 60,
      "zookeeper: standstill": 60,
      "consul: standstill": 80,
    },
  },
  {
    why: "A thousand are renewed in one transaction, and between two of them the event loop turns.",
    limits: { "sqlite: standstill": 60 },
  },
  {
    why:
      "The queue of a key is an array that is read as a whole, which keeps the example of a backend short.",
    limits: { "memory: readers": 100 },
  },
  {
    why:
      "A reader reads all who stand before it, one of whom may be a writer; there is no count beside the queue that a " +
      "crash could make wrong.",
    limits: { "sqlite: readers": 100, "etcd: readers": 60, "zookeeper: readers": 40, "consul: readers": 100 },
  },
  {
    why:
      "The same two statements, each of which also keeps a queue and a token in the database's own language; what " +
      "they have in common is to wait for the disk, which takes a tenth of a millisecond here.",
    limits: { "postgres: cycle": 1.8, "postgres: cycle far": 1.2, "postgres: fresh": 1.8 },
  },
  {
    why: "A grant is on the disk before anybody is told of it; a bare NOTIFY does not wait for the disk.",
    limits: { "postgres: hand-over": 3.5 },
  },
  {
    why:
      "Forty statements renew them. Of the others three are the benchmark's own, which asks for the statistics and " +
      "has slow statements logged.",
    limits: { "postgres: held": 50 },
  },
  {
    // Of the profile of a cycle, and of the times that Redis itself keeps of its scripts.
    why:
      "A cycle is two round trips, as theirs is, and 40 microseconds more: 20 in the server, whose two scripts keep a " +
      "queue, a token and who is told, where theirs set and delete one key; and 19 in the client, half of it the core, " +
      "with caches that are cold after each wait. On a machine on which a round trip takes 25 microseconds, as on this " +
      "one as long as no processor falls asleep, that is as much as the calls themselves; over a network it is lost " +
      "among them.",
    limits: { "redis: cycle": 4, "redis: cycle far": 1.2, "redis: fresh": 4, ...peers(4) },
  },
  {
    why: "The rest of what is said of the cycle, beside two round trips through the proxy.",
    limits: { "redis: far beside redis-semaphore": 1.15 },
  },
  {
    why:
      "The next is told by a script that takes it out of a queue and gives it a token, not by a bare PUBLISH.",
    limits: { "redis: hand-over": 2.5 },
  },
  {
    why:
      "Twenty-five calls renew 400 locks each; the other is the echo by which it is known that messages arrive.",
    limits: { "redis: held": 27 },
  },
  {
    why:
      "It is told by a message as well, so what is compared is the clients; it serves one waiter, but not ten in a " +
      "minute.",
    limits: { "redis: hand-over beside node-redisson": 0.9 },
  },
  {
    why:
      "Three, whatever their number: the keep-alive of their lease, a linearizable read that proves that its leader " +
      "still leads, and the keys that the lease has.",
    limits: { "etcd: held": 3 },
  },
  {
    why: "Both wait for two commits of the cluster's log, which is the greater part of it.",
    limits: { "etcd: beside etcd3": 1.4 },
  },
  {
    why:
      "A key that was never used needs a node for its queue besides; else the same two operations, and a read of the " +
      "queue.",
    limits: { "zookeeper: cycle": 1.7, "zookeeper: cycle far": 1.3, "zookeeper: fresh": 2 },
  },
  {
    why:
      "One ping, whatever their number, four times a ttl: a ping proves nothing before the next one is answered.",
    limits: { "zookeeper: held": 2 },
  },
  {
    why:
      "Three of five nodes are asked at once, and again to release: three calls where the floor has one, by one client " +
      "and on the two cores that also run the five nodes.",
    limits: {
      "redlock: cycle": 8,
      "redlock: cycle far": 1.5,
      "redlock: fresh": 8,
      "redlock: three nodes": 3.5,
    },
  },
  {
    why:
      "There is no queue that a node could keep: of each process one asks three of the five nodes again within a second, " +
      "for a message may be lost, and a holder's votes may run out without one. That is half a percent for each " +
      "process, however many wait in it; the five servers alone take 0.7.",
    limits: { "redlock: idle": 8 },
  },
  {
    why: "Ten thousand locks have thirty thousand votes and more; they are renewed 400 at a time.",
    limits: { "redlock: standstill": 45 },
  },
];

/** All that the run has measured. */
export function figures(report: Report): Figure[] {
  const stores = [...new Set(report.series.map(({ store }) => store))];
  return [...stores.flatMap(general), ...PARTICULAR].flatMap(({ value: find, ...rule }) => {
    const value = find(report);
    if (value === undefined || Number.isNaN(value)) return [];
    const figure: Figure = { ...rule, value: round(value) };
    return [kept(figure) ? figure : { ...figure, ...excuse(figure) }];
  });
}

/** Whether the bound is kept. */
export function kept({ value, bound }: Pick<Figure, "value" | "bound">): boolean {
  if (bound === undefined) return true;
  return "most" in bound ? value <= bound.most : value >= bound.least;
}

/** The reason, if the bound is not kept by more than it explains. */
function excuse({ store, name, value, bound }: Figure): Pick<Figure, "why"> {
  for (const { why, limits } of EXCUSES) {
    const limit = limits[`${store}: ${name}`];
    if (limit === undefined) continue;
    return kept({ value, bound: "most" in bound! ? { most: limit } : { least: limit } }) ? { why } : {};
  }
  return {};
}

function ours(report: Report, given: Partial<Series>): Series | undefined {
  return where(report, { ...given, kind: "ours" })[0];
}

function peer(report: Report, given: Partial<Series>): Series | undefined {
  return where(report, { ...given, kind: "peer" })[0];
}

/** The median, of that of the floor. */
function overFloor(report: Report, given: Partial<Series>): number | undefined {
  const one = ours(report, given);
  return ratio(one?.times?.p50, one && floorOf(report, one)?.times?.p50);
}

/** The median, of that of a peer. */
function beside(report: Report, subject: string, given: Partial<Series>): number | undefined {
  return ratio(ours(report, given)?.times?.p50, peer(report, { ...given, subject })?.times?.p50);
}

/** The median at one size, of that at another. */
function growth(report: Report, given: Partial<Series>, small: number, large: number): number | undefined {
  const at = (size: number) => ours(report, { ...given, size })?.times?.p50;
  return ratio(at(large), at(small));
}

/** The time for each at one size, by the rates, of that at another. */
function slower(report: Report, given: Partial<Series>, small: number, large: number): number | undefined {
  const at = (size: number) => ours(report, { ...given, size })?.rate;
  return ratio(at(small), at(large));
}

function ratio(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? undefined : one / other;
}
