import { BackendError } from "../../internal/errors.ts";

/** What an error reply of Redis means for a lock, by its first word. */
interface Meaning {
  /** What to do about it. */
  readonly hint: string;
  /** Whether asking again can help. */
  readonly retryable: boolean;
  /** The connection leads to a server that cannot serve us: the next call looks for another. */
  readonly elsewhere?: boolean;
}

const MEANINGS: Readonly<Record<string, Meaning>> = {
  NOAUTH: { hint: "give the `username` and `password` of an ACL user", retryable: false },
  WRONGPASS: { hint: "check `username` and `password`", retryable: false },
  NOPERM: { hint: "the ACL user lacks a permission; the module doc has the smallest rule", retryable: false },
  WRONGTYPE: {
    hint: "another program keeps something else under this key: choose another `prefix`",
    retryable: false,
  },
  OOM: { hint: "Redis is out of memory: raise `maxmemory`, do not let it evict locks", retryable: true },
  MISCONF: { hint: "Redis cannot save its data and refuses writes: see its log", retryable: true },
  NOREPLICAS: { hint: "fewer replicas are connected than `min-replicas-to-write` asks for", retryable: true },
  READONLY: {
    hint: "this server is a replica: name the Sentinels or the master",
    retryable: true,
    elsewhere: true,
  },
  MASTERDOWN: { hint: "this replica has lost its master", retryable: true, elsewhere: true },
  LOADING: { hint: "the server is still loading its data", retryable: true },
  BUSY: { hint: "another client's script keeps the server busy", retryable: true },
  CLUSTERDOWN: { hint: "the Cluster does not serve this slot now", retryable: true },
  CROSSSLOT: { hint: "this server is part of a Cluster: give its nodes as `cluster`", retryable: false },
  MOVED: { hint: "this server is part of a Cluster: give its nodes as `cluster`", retryable: false },
};

/** The first word of an error reply. */
export function replyCode(error: unknown): string {
  return error instanceof Error ? error.message.split(" ", 1)[0]! : "";
}

/** Errors of the network say no word of their own at the start. */
const UNREACHABLE: Meaning = { hint: "check that it runs and can be reached from here", retryable: true };

/** Inside a script a missing permission is an `ERR` like any other. */
function meaningOf(error: unknown): Meaning | undefined {
  if (error instanceof Error && /user executing the script|ACL failure/.test(error.message)) {
    return MEANINGS.NOPERM;
  }
  const code = (error as { code?: unknown } | undefined)?.code;
  if (code === "ECONNREFUSED" || code === "ENOTFOUND" || code === "ETIMEDOUT") return UNREACHABLE;
  return MEANINGS[replyCode(error)];
}

/** Whether another server should be looked for. */
export function leadsElsewhere(error: unknown): boolean {
  return meaningOf(error)?.elsewhere ?? false;
}

/** The client's error as ours, without the arguments of the command, which may be a password. */
export function redisError(what: string, error: unknown): BackendError {
  if (error instanceof BackendError) return error;
  if (error instanceof Error && "command" in error) delete error.command;
  const said = error instanceof Error ? error.message : String(error);
  const meaning = meaningOf(error);
  return new BackendError(
    `Cannot ${what}: ${said || "no reason given"}${meaning ? ` (${meaning.hint})` : ""}`,
    {
      cause: error,
      retryable: meaning?.retryable,
    },
  );
}
