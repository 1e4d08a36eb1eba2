import { setTimeout as sleep } from "node:timers/promises";
import { writeFileSync } from "node:fs";
import type { Ground, Route, Store } from "./grounds.ts";
import type { HolderProcess } from "./holder_process.ts";

/**
 * What the documentation promises.
 * - "handed on": the holder's signal aborts before the store gives the lock to the next.
 * - "freed": the holder is gone; the next gets the lock.
 * - "kept": the holder holds all along, its release is confirmed, and then the next gets the lock.
 * - "told late": the store forgot the lock or was made to. The next may get it before the holder knows;
 *   the holder is told at its next renewal, and what it writes until then is the ledger's to refuse.
 */
export type Outcome = "handed on" | "freed" | "kept" | "told late";

/** What a fault can be done to. */
export interface Scene {
  readonly ground: Ground;
  readonly route: Route | undefined;
  readonly holder: HolderProcess;
  /** Milliseconds. */
  readonly ttl: number;
  /** A file that does not exist yet. */
  readonly file: string;
  /** Resolves when the next has the lock. */
  readonly granted: Promise<void>;
}

/** Something that goes wrong. */
export interface Fault {
  readonly name: string;
  /** On which of a store's grounds. */
  readonly on: "shared" | "restarting" | "failing" | "clocked";
  /** Whether there has to be a network between the holder and the store. */
  readonly networked: boolean;
  /** What is promised; where it is not the same for all, by the stores that it can be tried on. */
  readonly outcome: Outcome | Readonly<Record<string, Outcome>>;
  /** Before the holder asks for the lock. */
  before?(route: Route, key: string): void;
  /** While it holds. */
  during?(scene: Scene): Promise<void>;
  /** Once it has been told to release, and the order may not have arrived. */
  release?(route: Route): void;
}

/** What is promised for a fault of a store; `undefined` if it cannot be tried there. */
export function promised({ outcome, on, networked }: Fault, store: Store): Outcome | undefined {
  if (store[on] === undefined || (on === "shared" && networked && store.name === "sqlite")) return undefined;
  return typeof outcome === "string" ? outcome : outcome[store.name];
}

/** Until the lock has gone to the next. */
const partition = (direction: "both" | "up" | "down") => async ({ route, granted }: Scene) => {
  for (const proxy of route!.proxies) proxy.cut(direction);
  await granted;
  for (const proxy of route!.proxies) proxy.heal();
};

/** All the faults of the matrix. */
export const faults: readonly Fault[] = [
  {
    name: "holder killed",
    on: "shared",
    networked: false,
    outcome: "freed",
    during: ({ holder }) => Promise.resolve(holder.send("SIGKILL")),
  },
  {
    name: "holder stopped past its ttl",
    on: "shared",
    networked: false,
    outcome: "handed on",
    async during({ holder, granted }) {
      holder.send("SIGSTOP");
      await granted;
      holder.send("SIGCONT");
    },
  },
  {
    name: "event loop blocked past the ttl",
    on: "shared",
    networked: false,
    outcome: "handed on",
    async during({ holder, granted, file }) {
      holder.order(`block ${file}`);
      await granted;
      writeFileSync(file, "");
      const { aborted } = await holder.hear("looked");
      if (!aborted) throw new Error("The signal did not look at the clock when it was read");
    },
  },
  { name: "partition", on: "shared", networked: true, outcome: "handed on", during: partition("both") },
  { name: "requests cut off", on: "shared", networked: true, outcome: "handed on", during: partition("up") },
  { name: "replies cut off", on: "shared", networked: true, outcome: "handed on", during: partition("down") },
  {
    name: "reply to the attempt lost",
    on: "shared",
    networked: true,
    outcome: "kept",
    before({ proxies }, key) {
      for (const proxy of proxies) void proxy.loseReply({ request: (chunk) => chunk.includes(key) });
    },
  },
  {
    name: "reply to a renewal lost",
    on: "shared",
    networked: true,
    outcome: "kept",
    async during({ route, holder, ttl }) {
      await Promise.race([Promise.all(route!.proxies.map((proxy) => proxy.loseReply())), sleep(2 * ttl)]);
      holder.order("look");
      await sleep(ttl);
    },
  },
  {
    name: "reply to the release lost",
    on: "shared",
    networked: true,
    outcome: "kept",
    release({ proxies }) {
      for (const proxy of proxies) void proxy.loseReply();
    },
  },
  {
    name: "500 ms latency with jitter",
    on: "shared",
    networked: true,
    outcome: "kept",
    async during({ route, ttl }) {
      for (const proxy of route!.proxies) proxy.delay(250, 200);
      await sleep(1.5 * ttl);
    },
  },
  {
    name: "connections reset",
    on: "shared",
    networked: true,
    outcome: "kept",
    async during({ route, ttl }) {
      for (let time = 0; time < 6; time++) {
        for (const proxy of route!.proxies) proxy.reset();
        await sleep(ttl / 6);
      }
    },
  },
  {
    name: "store or node restarted",
    on: "restarting",
    networked: true,
    outcome: {
      redis: "told late",
      redlock: "kept",
      etcd: "kept",
      zookeeper: "kept",
      consul: "kept",
      postgres: "kept",
    },
    async during({ ground, ttl }) {
      await ground.restart!();
      await sleep(0.7 * ttl);
    },
  },
  {
    name: "leader, master or node killed",
    on: "failing",
    networked: false,
    outcome: "kept",
    async during({ ground, ttl }) {
      await ground.failover!();
      await sleep(ttl / 2);
    },
  },
  {
    name: "clock of the server or a node an hour ahead",
    on: "clocked",
    networked: true,
    outcome: { redis: "told late", redlock: "kept", zookeeper: "kept", postgres: "told late" },
    async during({ ground, ttl }) {
      ground.clock!.step(3_600_000);
      await sleep(ttl);
    },
  },
  {
    name: "clock of the server or a node an hour back",
    on: "clocked",
    networked: true,
    // Not ZooKeeper: under libfaketime a Java program's timed waits last an hour longer, which they do
    // not when a machine's clock is set back.
    outcome: { redis: "kept", redlock: "kept", postgres: "kept" },
    async during({ ground, ttl }) {
      ground.clock!.step(-3_600_000);
      await sleep(2 * ttl);
    },
  },
];
