/** The commands that look at locks, and the one that breaks them. */
import process from "node:process";
import type { Inspection, Standing } from "../inspect.ts";
import type { LockManager } from "../manager.ts";
import { showDuration } from "./durations.ts";
import type { Output } from "./output.ts";
import { ENDING, listen } from "./signals.ts";
import { STATUS, statusOf } from "./status.ts";
import { cut, quoted, table, visible } from "./text.ts";
import { clock, who } from "./waiting.ts";

/** `holdfast ls`: the keys that begin with `start`, and how many hold and wait. */
export async function ls(locks: LockManager, start: string, output: Output): Promise<number> {
  const { held, pending } = await locks.query();
  const keys = new Map<string, { key: string; mode: string; holders: number; waiters: number }>();
  for (const [claims, part] of [[held, "holders"], [pending, "waiters"]] as const) {
    for (const { name: key, mode } of claims) {
      if (!key.startsWith(start)) continue;
      const line = keys.get(key) ?? { key, mode, holders: 0, waiters: 0 };
      line[part]++;
      keys.set(key, line);
    }
  }
  const lines = [...keys.values()].sort((a, b) => a.key < b.key ? -1 : 1);
  const rows = lines.map((
    { key, mode, holders, waiters },
  ) => [visible(key), mode, `${holders}`, `${waiters}`]);
  await output.answer(listed(["KEY", "MODE", "HOLDERS", "WAITERS"], rows, output), lines);
  return STATUS.ok;
}

/** `holdfast inspect`: the queues of keys. */
export async function inspect(locks: LockManager, keys: readonly string[], output: Output): Promise<number> {
  for (const key of keys) {
    const queue = await locks.inspect(key);
    await output.answer(queueLines(key, queue, output), queue ?? { key, holders: [], waiters: [] });
  }
  return STATUS.ok;
}

function queueLines(key: string, queue: Inspection | undefined, output: Output): string[] {
  const title = output.paint("bold", cut(visible(key), output.columns));
  if (queue === undefined) return [title, "free"];
  const row = (state: string) => (it: Standing) => [
    state,
    it.mode === "shared" ? "shared" : it.limit === 1 ? "exclusive" : `limit ${it.limit}`,
    it.token === undefined ? "" : `${it.token}`,
    it.remaining === undefined ? "" : showDuration(it.remaining),
    it.metadata === undefined ? "" : who(it),
  ];
  const rows = [...queue.holders.map(row("holds")), ...queue.waiters.map(row("waits"))];
  return [title, ...listed(["", "MODE", "TOKEN", "TTL LEFT", "WHO"], rows, output)];
}

/**
 * `holdfast watch`: a line for each grant and each end of a hold, from when it has said that it watches until a signal
 * ends it, or nobody reads.
 */
export async function watch(locks: LockManager, keys: readonly string[], output: Output): Promise<number> {
  const over = Promise.withResolvers<number>();
  using _ = listen((signal) => {
    if (ENDING.includes(signal)) over.resolve(statusOf(signal));
    else if (signal === "SIGTSTP") process.kill(process.pid, "SIGSTOP");
  });
  // A watch does not keep a process alive.
  const alive = setInterval(() => {}, 1 << 30);
  try {
    const watches = keys.map((key) => locks.watch(key));
    for (const one of watches) {
      const say = async (sign: string, rest: string, event: object) => {
        const line = `${clock(Date.now())} ${sign} ${visible(one.key)}${rest}`;
        const taken = await output.answer([cut(line, output.columns)], {
          time: new Date().toISOString(),
          ...event,
        });
        if (!taken) over.resolve(STATUS.ok);
      };
      /** What was said last of a store that is away, which is asked again and again. */
      let known: string | undefined;
      one.addEventListener("locked", (event) => {
        const { key, token, metadata } = event;
        known = undefined;
        const by = metadata === undefined ? "" : `  ${who(event)}`;
        say(output.paint("yellow", "locked  "), `  token ${token}${by}`, {
          type: "locked",
          key,
          token,
          metadata,
        }).catch(over.reject);
      });
      one.addEventListener("unlocked", ({ key }) => {
        known = undefined;
        say(output.paint("green", "unlocked"), "", { type: "unlocked", key }).catch(over.reject);
      });
      one.addEventListener("error", ({ key, error }) => {
        const message = error instanceof Error ? error.message : String(error);
        if (message === known) return;
        known = message;
        void output.tell(message, { type: "error", key, message });
      });
    }
    Promise.all(watches.map(({ ready }) => ready)).then(
      () => output.tell(`watching ${keys.map(quoted).join(", ")}`, { type: "watching", keys }),
      over.reject,
    );
    return await over.promise;
  } finally {
    clearInterval(alive);
  }
}

/** `holdfast steal`: takes the lock from whoever has it, and gives it up to who waits. */
export async function steal(locks: LockManager, keys: readonly string[], output: Output): Promise<number> {
  const before = await Promise.all(keys.map((key) => locks.inspect(key)));
  const lock = await locks.acquire(keys, { steal: true });
  const { tokens } = lock;
  await lock.release();
  for (const [at, key] of keys.entries()) {
    const from = before[at]?.holders ?? [];
    const victims = from.length === 0 ? "nobody held it" : `taken from ${from.map(who).join(", ")}`;
    await output.answer([`${quoted(key)}: ${victims}`], { key, token: tokens.get(key), from });
  }
  return STATUS.ok;
}

/** A table, its head apart. */
function listed(head: readonly string[], rows: readonly (readonly string[])[], output: Output): string[] {
  const [first, ...others] = table(head, rows, output.columns);
  return [output.paint("dim", first!), ...others];
}
