import { BackendError } from "../../../internal/errors.ts";
import {
  type Meaning,
  meaningOf,
  NETWORK,
  notInstalled,
  type Refusals,
  refused,
} from "../../shared/errors.ts";

/** What an error of Postgres, or on the way to it, means. */
interface PostgresMeaning extends Meaning {
  /** The connection leads to a server that cannot serve us: the next call looks for another. */
  readonly elsewhere?: boolean;
}

const LOGIN: PostgresMeaning = { hint: "check the user, the password and pg_hba.conf", retryable: false };
const STARTING: PostgresMeaning = { hint: "the server is starting or stopping", elsewhere: true };
const MISTRUSTED: PostgresMeaning = {
  hint: "check `sslrootcert`, and that the name asked for is in the certificate",
  retryable: false,
};

/**
 * First by SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html) or the code of an error of the
 * network, then by the wording.
 */
const REFUSALS: Refusals<PostgresMeaning> = [
  ["28P01", LOGIN],
  ["28000", LOGIN],
  ["3D000", { hint: "there is no such database", retryable: false }],
  ["42501", {
    hint: "the user lacks a right: let the owner GRANT USAGE ON SCHEMA to it, " +
      "or have an administrator run the SQL that `deno run jsr:@holdfast/lock/postgres` prints",
    retryable: false,
  }],
  ["3F000", { hint: "somebody has dropped the schema" }],
  ["42P01", { hint: "somebody has dropped the tables" }],
  ["42883", { hint: "somebody has dropped the functions" }],
  ["40001", { hint: "the server's `default_transaction_isolation` has changed", elsewhere: true }],
  ["25006", { hint: "this server is a standby, or takes no writes", elsewhere: true }],
  ["53100", { hint: "the server's disk is full" }],
  ["53200", { hint: "the server is out of memory" }],
  ["53300", { hint: "raise `max_connections`, or close what is not used" }],
  ["55P03", { hint: "another session has locked the table, or the row, for too long" }],
  ["57014", { hint: "the server's `statement_timeout` is too short, or somebody has cancelled it" }],
  ["57P01", STARTING],
  ["57P02", STARTING],
  ["57P03", STARTING],
  ["42601", { hint: "this may be a fault of Holdfast", retryable: false }],
  ["0A000", { hint: "Postgres 14 or later is needed", retryable: false }],
  ...NETWORK,
  ["ERR_MODULE_NOT_FOUND", notInstalled("postgres")],
  [/does not speak TLS/, { hint: "let the server speak TLS, or say sslmode=prefer", retryable: false }],
  [/prepared statement/, { hint: "a pooler that hands sessions on: let it use no prepared statements" }],
  [/ERR_TLS_CERT|UNABLE_TO_(VERIFY|GET)|SELF_SIGNED|CERT_|certificate|UnknownIssuer/, MISTRUSTED],
];

/** The SQLSTATE, or the code of an error of the network. */
export function codeOf(error: unknown): string {
  return String(
    (error as { code?: unknown } | null | undefined)?.code ?? (error as { errno?: unknown })?.errno ?? "",
  );
}

function meaning(error: unknown): PostgresMeaning | undefined {
  if (!(error instanceof Error)) return undefined;
  return meaningOf(REFUSALS, [codeOf(error)], [error.message, error.name, codeOf(error)]);
}

/** Whether another server should be looked for. */
export function leadsElsewhere(error: unknown): boolean {
  return meaning(error)?.elsewhere ?? false;
}

/**
 * Whether nothing was done: the server has rolled the transaction back (an `ERROR`, where a `FATAL` may come after
 * the commit), or it was not sent.
 */
export function hadNoEffect(error: unknown): boolean {
  const { severity, severity_local, unsent } = (error ?? {}) as Record<string, unknown>;
  return unsent === true || (severity ?? severity_local) === "ERROR" && /^[0-9A-Z]{5}$/.test(codeOf(error));
}

/** The client's error as ours, which says `unsent` if nothing was done. */
export function postgresError(what: string, error: unknown): BackendError {
  if (error instanceof BackendError) return error;
  const cause = bare(error);
  const said = cause instanceof Error ? cause.message || codeOf(cause) : String(cause);
  return Object.assign(
    refused(what, said, meaning(cause), cause),
    hadNoEffect(error) ? { unsent: true } : {},
  );
}

/** Clients hang the statement on an error, and sometimes themselves with their settings. */
function bare(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { name, message } = error;
  const { code, severity, detail, hint, routine } = error as unknown as Record<string, unknown>;
  const told = { code, severity, detail, hint, routine };
  const known = Object.entries(told).filter(([, value]) => typeof value === "string");
  return Object.assign(new Error(message), { name }, Object.fromEntries(known));
}
