import type { Operation, Pair, Refusal } from "./kv.ts";
import type { Reply } from "./reply.ts";

/*
 * For each kind of answer, what proves that Consul gave it; all of these throw otherwise. Which statuses are
 * answers at all is told in `api.ts`.
 */

const STRANGE = "the reply is not that of a Consul agent";

/** The body, without the blanks around it. */
export function text(reply: Reply): string {
  return reply.text.trim();
}

/** Names from the KV store: Consul never gives them, or says that there are none, without an index. */
export function list(reply: Reply, name: string): string[] {
  return found(reply).filter((one): one is string => {
    if (typeof one !== "string") throw new Error(STRANGE);
    // A proxy may have taken the slash off that the name ends with: then these are too many.
    return one.startsWith(name);
  });
}

/** Entries from the KV store, likewise. */
export function pairs(reply: Reply, name: string): Pair[] {
  return found(reply).map(pair).filter(({ Key }) => Key === name);
}

/** The answer to a transaction, or its refusal. */
export function transaction(reply: Reply, operations: readonly Operation[]): Pair[] | Refusal {
  const { Results, Errors } = object(json(reply));
  if (reply.status === 409) {
    const { OpIndex, What } = object(Array.isArray(Errors) ? Errors[0] : undefined);
    if (typeof What !== "string" || !isIndex(OpIndex) || OpIndex >= operations.length) {
      throw new Error(STRANGE);
    }
    return { at: OpIndex, why: What };
  }
  if (Errors !== null && !(Array.isArray(Errors) && Errors.length === 0)) throw new Error(STRANGE);
  if (Results !== null && !Array.isArray(Results)) throw new Error(STRANGE);
  const entries = (Results ?? []).map((one) => pair(object(one).KV));
  // Each entry that was written under a session, or was to be so already, is in the answer.
  for (const operation of operations) {
    if (operation.Verb !== "lock" && operation.Verb !== "check-session") continue;
    const { Key, Session } = operation;
    if (!entries.some((one) => one.Key === Key && one.Session === Session)) throw new Error(STRANGE);
  }
  return entries;
}

/** The id of a session that was opened. */
export function session(reply: Reply): string {
  const { ID } = object(json(reply));
  if (typeof ID !== "string" || !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(ID)) {
    throw new Error(STRANGE);
  }
  return ID;
}

/** Whether a list of sessions has the session. An empty list is believed only with Consul's index. */
export function answered(reply: Reply, id: string): boolean {
  const sessions = json(reply);
  if (!Array.isArray(sessions)) throw new Error(STRANGE);
  if (sessions.some((one) => object(one).ID === id)) return true;
  if (sessions.length > 0 || reply.index === 0) throw new Error(STRANGE);
  return false;
}

function found(reply: Reply): unknown[] {
  if (reply.index === 0) {
    throw new Error("the reply has no X-Consul-Index above 0, which Consul gives and a proxy must pass on");
  }
  if (reply.status === 404) return [];
  const answer = json(reply);
  if (!Array.isArray(answer)) throw new Error(STRANGE);
  return answer;
}

function json(reply: Reply): unknown {
  try {
    return JSON.parse(reply.text);
  } catch {
    throw new Error("the reply is not JSON");
  }
}

function object(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) throw new Error(STRANGE);
  return value as Readonly<Record<string, unknown>>;
}

function pair(value: unknown): Pair {
  const { Key, Value, Session, CreateIndex, ModifyIndex } = object(value);
  if (
    typeof Key !== "string" || (Value !== null && typeof Value !== "string") ||
    (Session !== undefined && typeof Session !== "string") || !isIndex(CreateIndex) || !isIndex(ModifyIndex)
  ) throw new Error(STRANGE);
  return value as Pair;
}

function isIndex(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
