/** One shape of errors for all stores: what was to be done, what was said instead, and what to do about it. */
import { BackendError } from "../../internal/errors.ts";

/** What it means that a store, or something on the way to it, has refused. */
export interface Meaning {
  /** What to do about it. */
  readonly hint?: string;
  /** Whether asking again can help. @default {true} */
  readonly retryable?: boolean;
}

/**
 * What refusals mean. A text stands for a code, as it is; a pattern is looked for in all that is said. The first
 * that fits counts.
 */
export type Refusals<M extends Meaning = Meaning> = readonly (readonly [says: string | RegExp, meaning: M])[];

const UNREACHABLE: Meaning = { hint: "check that it runs and can be reached from here" };

/** What the network, or the runtime in its place, refuses. */
export const NETWORK: Refusals = [
  ["ECONNREFUSED", UNREACHABLE],
  ["ENOTFOUND", UNREACHABLE],
  ["EAI_AGAIN", UNREACHABLE],
  ["ETIMEDOUT", UNREACHABLE],
  ["EHOSTUNREACH", UNREACHABLE],
  ["ENETUNREACH", UNREACHABLE],
  ["ENOENT", { hint: "check that it runs, and the path of its socket" }],
  ["EACCES", { hint: "this process may not open it", retryable: false }],
  [/^NotCapable|requires net access/i, { hint: "Deno needs --allow-net for it", retryable: false }],
];

/** The client of a store is a package that users install; what `npx` runs finds only what `npx` was told to install. */
export function notInstalled(name: string): Meaning {
  return {
    hint: `install it beside Holdfast: npm install @holdfast/lock ${name}, ` +
      `for npx: npx -p @holdfast/lock -p ${name} holdfast; or hand in the client that you have`,
    retryable: false,
  };
}

/** What something that was said means; `undefined` if the table does not know. */
export function meaningOf<M extends Meaning>(
  refusals: Refusals<M>,
  codes: readonly string[],
  texts: readonly string[],
): M | undefined {
  const [, meaning] =
    refusals.find(([says]) =>
      typeof says === "string" ? codes.includes(says) : texts.some((text) => says.test(text))
    ) ?? [];
  return meaning;
}

/** Cannot do what, what was said, and what to do. */
export function refusalText(what: string, said: string, hint?: string): string {
  return `Cannot ${what}: ${said || "no reason given"}${hint ? ` (${hint})` : ""}`;
}

/** A refusal as an error. `said` and `cause` are shown: neither may hold a password or a token of a connection. */
export function refused(what: string, said: string, meaning: Meaning = {}, cause?: unknown): BackendError {
  return new BackendError(refusalText(what, said, meaning.hint), {
    retryable: meaning.retryable,
    ...(cause !== undefined && { cause }),
  });
}
