/** What is said while a lock is waited for, and when it was not to be had: who holds it, and who waits. */
import type { Standing } from "../inspect.ts";
import type { LockManager } from "../manager.ts";
import type { Json } from "../options.ts";
import { showDuration } from "./durations.ts";
import type { Output } from "./output.ts";
import { quoted, visible } from "./text.ts";

/** Milliseconds between two looks at the queue. */
const LOOK = 1_000;

/** Says who a claim is of: what `holdfast run` says of itself in words, other metadata as JSON. */
export function who({ metadata }: Pick<Standing, "metadata">): string {
  if (metadata === undefined) return "somebody who says nothing of themselves";
  const { host, pid, command } = fieldsOf(metadata);
  if (typeof host !== "string" || typeof pid !== "number") return visible(JSON.stringify(metadata));
  return visible(`${typeof command === "string" ? `${command} ` : ""}(pid ${pid} on ${host})`);
}

/** Whether a claim is of who says this. */
export function isOf({ metadata }: Standing, own: Json): boolean {
  return JSON.stringify(metadata) === JSON.stringify(own);
}

/** Who holds, in few words; `said` is said of the first. */
export function holders([first, ...others]: readonly Standing[], said = ""): string {
  if (first === undefined) return "nobody";
  return who(first) + said + (others.length > 0 ? ` and ${others.length} more` : "");
}

/** When somebody asked, in milliseconds of the epoch, if they say so. */
function askedAt({ metadata }: Standing): number | undefined {
  const { since } = fieldsOf(metadata);
  return typeof since === "string" ? Date.parse(since) || undefined : undefined;
}

function fieldsOf(metadata: Json | undefined): Readonly<Record<string, unknown>> {
  return typeof metadata === "object" && metadata !== null ? metadata as Record<string, unknown> : {};
}

/**
 * Says that a lock is waited for: once, or on a terminal in a line that is kept up to date with the place in the
 * queue, who holds and since when, until `signal` aborts.
 */
export async function showWaiting(
  locks: LockManager,
  keys: readonly string[],
  metadata: Json,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  /** The first holder of each key, and what is known of its times. */
  const seen = new Map<string, { id: string; asked?: number | undefined; granted?: number }>();
  for (let look = 0; !signal.aborted; look++) {
    for (const key of keys) {
      const queue = await locks.inspect(key).catch(() => undefined);
      const place = queue?.waiters.findIndex((waiter) => isOf(waiter, metadata)) ?? -1;
      if (signal.aborted) return;
      if (place < 0) continue;
      const { asked, granted } = timesOf(key, queue!.holders[0]);
      const since = granted === undefined ? "" : ` since ${moment(granted)}`;
      const said = asked === undefined ? "" : `, which asked at ${moment(asked)},`;
      const by = holders(queue!.holders, said).replace(/,$/, "");
      const line = `waiting for ${quoted(key)}, number ${place + 1} in the queue; held${since} by ${by}`;
      if (!output.live) {
        await output.tell(line, { type: "waiting", key, place: place + 1, holders: queue!.holders });
        return;
      }
      output.show(`holdfast: ${line}`);
      break;
    }
    await pause(LOOK, signal);
  }

  /** When the first holder was seen to begin. Of one that held before, only when it asked is known, by its own word. */
  function timesOf(
    key: string,
    holder: Standing | undefined,
  ): { asked?: number | undefined; granted?: number } {
    if (holder === undefined) return {};
    const known = seen.get(key);
    if (known?.id === holder.id) return known;
    const { id } = holder;
    const times = known === undefined ? { id, asked: askedAt(holder) } : { id, granted: Date.now() };
    seen.set(key, times);
    return times;
  }
}

/** A time, and how long ago it was. */
function moment(time: number): string {
  return `${clock(time)} (${showDuration(Date.now() - time)} ago)`;
}

/** The time of the day, for people of here. */
export function clock(time: number): string {
  const date = new Date(time);
  const parts = [date.getHours(), date.getMinutes(), date.getSeconds()];
  return parts.map((part) => `${part}`.padStart(2, "0")).join(":");
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}
