/**
 * What frees a lock of SQLite before its ttl: every way in which a holder can be away or gone, asked about from
 * every runtime, by a process in every kind of want. Only the end of the holder may free its lock; and it has to.
 */
import { readdirSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { type Runtime, runtimes } from "../runner/runtimes.ts";
import { Child, type ChildOptions } from "./child.ts";
import { Scene } from "./scene.ts";

/** What becomes of the holder. */
interface Fate {
  readonly name: string;
  /** Whether it ends the holder. */
  readonly ends: boolean;
  readonly script?: ChildOptions["script"];
  /** Brings it about; the promise is of the return to an ordinary life. */
  bring(holder: Child, scene: Scene): Promise<() => Promise<void>>;
}

/** What the process that asks, or its way to the holder, lacks. */
export type Want = "nothing special" | "no free descriptor" | "a full backlog at the holder";

/** All that can happen to a holder. */
export const fates: readonly Fate[] = [
  { name: "idle", ends: false, bring: () => Promise.resolve(async () => {}) },
  { name: "busy loop", ends: false, bring: block },
  {
    name: "SIGSTOP",
    ends: false,
    bring(holder) {
      process.kill(holder.pid, "SIGSTOP");
      return Promise.resolve(() => Promise.resolve(void process.kill(holder.pid, "SIGCONT")));
    },
  },
  {
    name: "another manager of its process opened and closed",
    ends: false,
    async bring(holder) {
      await holder.does("visit");
      return async () => {};
    },
  },
  {
    name: "a sibling thread terminated",
    ends: false,
    script: "thread_host",
    async bring(holder) {
      await holder.does("terminate", "sibling");
      return async () => {};
    },
  },
  { name: "killed", ends: true, bring: kill },
  {
    name: "exited without a word",
    ends: true,
    bring(holder) {
      holder.does("exit").catch(() => {});
      return Promise.resolve(async () => {});
    },
  },
  { name: "cluster worker killed", ends: true, script: "cluster_primary", bring: kill },
  {
    name: "its primary killed, while the worker computes",
    ends: false,
    script: "cluster_primary",
    async bring(holder, scene) {
      const goOn = await block(holder, scene);
      holder.signal("SIGKILL");
      return goOn;
    },
  },
  {
    name: "worker thread terminated",
    ends: true,
    script: "thread_host",
    async bring(holder) {
      await holder.does("terminate");
      return async () => {};
    },
  },
];

/** All that can be lacking. */
export const wants: readonly Want[] = [
  "nothing special",
  "no free descriptor",
  "a full backlog at the holder",
];

/** One cell of the table. */
export interface Cell {
  readonly fate: Fate;
  readonly want: Want;
  readonly asker: Runtime;
  readonly holder: Runtime;
}

/** The whole table; the holder is on each runtime in turn. */
export const cells: readonly Cell[] = wants.flatMap((want) =>
  runtimes.flatMap((asker, column) =>
    fates.map((fate, row) => ({
      fate,
      want,
      asker,
      holder: runtimes[(row + column + wants.indexOf(want)) % runtimes.length]!,
    }))
  )
);

/** How it went: milliseconds from the holder's end to the grant, or that the lock was kept. */
export type Ending = number | "kept";

const LONG = { ttl: 120_000 };
/** Milliseconds of looking whether a living holder keeps its lock. */
const WATCHED = 300;
/** Milliseconds: far below the ttl, far above what a busy machine takes. */
const SOON = 20_000;
/** More than any system lets wait for `accept`. */
const CALLERS = 700;

/** Tries a cell; throws if a promise is broken. */
export async function ending({ fate, want, asker: on, holder: of }: Cell): Promise<Ending> {
  await using scene = new Scene();
  await using holder = await Child.start(scene.path, { runtime: of, script: fate.script });
  const { token } = await holder.does("acquire", "k", LONG);
  const exhausted = want === "no free descriptor";
  await using asker = await Child.start(scene.path, {
    runtime: on,
    descriptors: exhausted ? 200 : undefined,
  });
  await asker.does("tryAcquire", "another", LONG);
  if (exhausted) await asker.does("exhaust");
  const callers: Socket[] = [];
  const crowd = () => {
    if (want === "a full backlog at the holder") callers.push(...call(scene.path, holder.pid));
  };
  try {
    const waiting = asker.does("acquire", "k", LONG);
    waiting.catch(() => {});
    await asker.hears("waiting");
    if (!fate.ends) {
      const goOn = await fate.bring(holder, scene);
      crowd();
      await sleep(WATCHED);
      for (let count = 0; count < 20; count++) await refused(asker);
      if (await Promise.race([waiting, sleep(10, undefined)])) throw new Error("A living holder was robbed");
      await goOn();
      // A worker whose primary is gone ends once it has the time.
      if (fate.script !== "cluster_primary" && !(await holder.does("look", "k")).held) {
        throw new Error("The holder has lost its lock");
      }
      return "kept";
    }
    crowd();
    await refused(asker);
    const ended = performance.timeOrigin + performance.now();
    await fate.bring(holder, scene);
    const granted = await Promise.race([waiting, sleep(SOON, undefined)]);
    if (granted === undefined) throw new Error(`The lock was not free ${SOON} ms after its holder's end`);
    if (BigInt(granted.token!) <= BigInt(token!)) throw new Error("The token has not risen");
    return granted.at - ended;
  } finally {
    for (const caller of callers) caller.destroy();
  }
}

async function refused(asker: Child): Promise<void> {
  if ((await asker.does("tryAcquire", "k", LONG)).held) throw new Error("A living holder was robbed");
}

async function block(holder: Child, scene: Scene): Promise<() => Promise<void>> {
  const file = `${scene.folder}/go-on`;
  holder.does("block", file).catch(() => {});
  await holder.hears("blocking");
  return () => Promise.resolve(writeFileSync(file, ""));
}

function kill(holder: Child): Promise<() => Promise<void>> {
  process.kill(holder.pid, "SIGKILL");
  return Promise.resolve(async () => {});
}

/** Connects to a session's socket again and again. */
function call(path: string, pid: number): Socket[] {
  const folder = `${path}-peers`;
  const sockets = readdirSync(folder).filter((name) => name.endsWith(".sock"));
  if (sockets.length === 0) throw new Error(`Process ${pid} listens nowhere`);
  return sockets.flatMap((name) =>
    Array.from({ length: CALLERS }, () => connect(`${folder}/${name}`).on("error", () => {}))
  );
}

/** A table of all endings. */
export function table(results: ReadonlyMap<Cell, Ending | Error>): string {
  const columns = wants.flatMap((want) => runtimes.map((asker) => ({ want, asker })));
  const row = (texts: readonly string[]) => `| ${texts.join(" | ")} |`;
  const head = ["holder", ...columns.map(({ want, asker }) => `${asker.name}, ${want}`)];
  const rows = fates.map((fate) => [
    fate.name,
    ...columns.map(({ want, asker }) => {
      const cell = cells.find((one) => one.fate === fate && one.want === want && one.asker === asker)!;
      const result = results.get(cell);
      const letter = cell.holder.name[0]!.toUpperCase();
      if (result === undefined) return "";
      if (result instanceof Error) return `**FAILED** ${letter}`;
      return `${result === "kept" ? "kept" : `freed ${Math.round(result)}`} ${letter}`;
    }),
  ]);
  return [row(head), row(head.map(() => "---")), ...rows.map(row), ""].join("\n");
}

/** Tries cells, several side by side. */
export async function tryAll(chosen: readonly Cell[]): Promise<Map<Cell, Ending | Error>> {
  const results = new Map<Cell, Ending | Error>();
  const rest = chosen.values();
  await Promise.all(Array.from({ length: 3 }, async () => {
    for (const cell of rest) {
      const failed = (error: unknown) => error instanceof Error ? error : new Error(String(error));
      results.set(cell, await ending(cell).catch(failed));
    }
  }));
  return results;
}
