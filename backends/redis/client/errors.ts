import { BackendError } from "../../../internal/errors.ts";
import {
  type Meaning,
  meaningOf,
  NETWORK,
  notInstalled,
  type Refusals,
  refused,
} from "../../shared/errors.ts";

/** What an error of Redis, or on the way to it, means. */
interface RedisMeaning extends Meaning {
  /** The connection leads to a server that cannot serve us: the next call looks for another. */
  readonly elsewhere?: boolean;
}

const PERMISSION: RedisMeaning = {
  hint: "the ACL user lacks a permission; the module doc has the smallest rule",
  retryable: false,
};
const LOGIN: RedisMeaning = { hint: "check `username` and `password`", retryable: false };
const IN_CLUSTER: RedisMeaning = {
  hint: "this server is part of a Cluster: give its nodes as `cluster`; it cannot stand by itself",
  retryable: false,
};
const MISTRUSTED: RedisMeaning = {
  hint: "check `tls.ca`, and that the name asked for, or `tls.servername`, is in the certificate",
  retryable: false,
};

/**
 * First by the first word of an error reply, or the code of an error of the network; then by the wording, where the
 * code says nothing: `ERR` is the first word of many. In a script a missing permission is one of them.
 */
const REFUSALS: Refusals<RedisMeaning> = [
  ["NOAUTH", { hint: "give the `username` and `password` of an ACL user", retryable: false }],
  ["WRONGPASS", LOGIN],
  ["NOPERM", PERMISSION],
  ["DENIED", { hint: "the server takes only local clients until it has a password", retryable: false }],
  ["WRONGTYPE", {
    hint: "another program keeps something else under this key: choose another `prefix`",
    retryable: false,
  }],
  ["OOM", { hint: "Redis is out of memory: raise `maxmemory`, do not let it evict keys", retryable: true }],
  ["MISCONF", { hint: "Redis cannot save its data and refuses writes: see its log", retryable: true }],
  ["NOREPLICAS", {
    hint: "fewer replicas are connected than `min-replicas-to-write` asks for",
    retryable: true,
  }],
  ["READONLY", {
    hint: "this server is a replica: name the Sentinels or the master",
    retryable: true,
    elsewhere: true,
  }],
  ["MASTERDOWN", { hint: "this replica has lost its master", retryable: true, elsewhere: true }],
  ["LOADING", { hint: "the server is still loading its data", retryable: true }],
  ["BUSY", { hint: "another client's script keeps the server busy", retryable: true }],
  ["CLUSTERDOWN", { hint: "the Cluster does not serve this slot now", retryable: true }],
  ["TRYAGAIN", { hint: "the slot is just moving to another node", retryable: true }],
  ["CROSSSLOT", IN_CLUSTER],
  ["MOVED", IN_CLUSTER],
  ...NETWORK,
  ["ERR_MODULE_NOT_FOUND", notInstalled("ioredis")],
  ["ERR_SSL_WRONG_VERSION_NUMBER", {
    hint: "the server does not speak TLS: write redis: instead of rediss:, and no `tls`",
    retryable: false,
  }],
  [/user executing the script|ACL failure/, PERMISSION],
  [/unknown command [`'"]?eval(sha)?\b/i, {
    hint: "everything is done by scripts: the server must have EVAL and EVALSHA under these names",
    retryable: false,
  }],
  [/unknown (redis )?command/i, {
    hint: "Redis 6.2 or later is needed, with all its commands, and no Sentinel as the server",
    retryable: false,
  }],
  [/DB index|SELECT is not allowed/, {
    hint: "give a `db` that the server has: its setting `databases` says how many, 16 unless changed, " +
      "and a Cluster has only 0",
    retryable: false,
  }],
  [/^ERR invalid password/, LOGIN],
  [/^ERR No such master/, { hint: "check `name`: the Sentinels know no master of it", retryable: false }],
  [/cluster support disabled/, {
    hint: "this server is no part of a Cluster: give it by itself",
    retryable: false,
  }],
  [/max number of clients/, { hint: "raise `maxclients`, or close what is not used", retryable: true }],
  [/before it said anything/, {
    hint: "check that it runs; it may want TLS (rediss:), or a certificate of ours (`tls.cert`)",
    retryable: true, // a server that is just starting, or a proxy in front of one, does so too
  }],
  [/certificate.?required/i, {
    hint: "the server wants a certificate of ours: give `tls.cert` and `tls.key`",
    retryable: false,
  }],
  [/ERR_TLS_CERT|UNABLE_TO_(VERIFY|GET)|SELF_SIGNED|CERT_|certificate|UnknownIssuer/, MISTRUSTED],
  [/^ERR_SSL_\w*ALERT/, { hint: "check the TLS settings of both sides", retryable: false }],
];

/** The first word of an error reply. */
export function replyCode(error: unknown): string {
  return error instanceof Error ? error.message.split(" ", 1)[0]! : "";
}

function meaning(error: unknown): RedisMeaning | undefined {
  if (!(error instanceof Error)) return undefined;
  const code = String((error as { code?: unknown }).code ?? "");
  const found = meaningOf(REFUSALS, [code, replyCode(error)], [error.message, error.name, code]);
  const [, command] = /run the '([^']+)' command/.exec(error.message) ?? [];
  if (found !== PERMISSION || command === undefined) return found;
  return { ...found, hint: `grant +${command}; the module doc has the smallest rule` };
}

/** Whether another server should be looked for. */
export function leadsElsewhere(error: unknown): boolean {
  return meaning(error)?.elsewhere ?? false;
}

/** Whether asking again cannot help. */
export function isFinal(error: unknown): boolean {
  return error instanceof BackendError ? !error.retryable : meaning(error)?.retryable === false;
}

/** ioredis says of a Cluster only that no node has answered, and keeps why in a property. */
export function reasonOf(error: unknown): unknown {
  return (error as { lastNodeError?: unknown } | null | undefined)?.lastNodeError ?? error;
}

/**
 * The client's error as ours, without the arguments of the command, which may be a password. Some hints
 * may be others where it comes from.
 */
export function redisError(
  what: string,
  error: unknown,
  hints: Readonly<Record<string, string>> = {},
): BackendError {
  if (error instanceof BackendError) return error;
  const cause = withoutArguments(reasonOf(error));
  const said = cause instanceof Error ? cause.message : String(cause);
  const known = meaning(cause);
  return refused(what, said, { ...known, hint: hints[replyCode(cause)] ?? known?.hint }, cause);
}

/** ioredis hangs the command on an error, and a server repeats what follows a command that it does not know. */
function withoutArguments(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if ("command" in error) delete error.command;
  const said = error.message.replace(/,? with args beginning with:.*$/s, "");
  return said === error.message ? error : new Error(said);
}
