import { isObject } from "../checks.ts";
import { decodePart, encodePart } from "../keys.ts";
import { checkInput, DIGITS, type Fence, LONGEST_KEY, StaleTokenError } from "./fence.ts";

/** What a request says of the lock under which it is made: a `Lock`, or one key of several and its token. */
export interface Fenced {
  /** Of the lock. */
  readonly key: string;
  /** Of its holder. */
  readonly token: bigint;
  /** Of a `Lock`: 1 if it is exclusive. */
  readonly limit?: number;
}

/**
 * The headers by which a request says under which lock it is made. `Fence-Token` is the token in decimal;
 * `Fence-Key` the key, where all but `A-Z a-z 0-9 _ . : @ + = , -` is percent-encoded.
 *
 * ```ts
 * import { acquire } from "@holdfast/lock";
 * import { fenceHeaders } from "@holdfast/lock/fence";
 *
 * await using lock = await acquire("account:7");
 * const request = new Request("https://accounts.example/7", {
 *   method: "PUT",
 *   headers: fenceHeaders(lock),
 *   signal: lock.signal,
 * });
 * console.log(request.headers.get("fence-token"));
 * ```
 *
 * Of a lock of several keys it names the first; for another, give `{ key, token: lock.tokens.get(key) }`.
 *
 * @throws {TypeError} if it is no lock; for a shared one or a semaphore of several: their holders are not fenced
 */
export function fenceHeaders(lock: Fenced): { "Fence-Key": string; "Fence-Token": string } {
  if (!isObject(lock)) throw new TypeError("Expected a lock, or an object with its key and token");
  const { key, token, limit = 1 } = lock;
  checkInput(key, token);
  if (limit !== 1) {
    throw new TypeError(
      `Expected an exclusive lock, got one that ${limit === Infinity ? "is shared" : `${limit} may hold`}: ` +
        "whoever may hold at the same time is not fenced",
    );
  }
  return { "Fence-Key": encodePart(key), "Fence-Token": String(token) };
}

/** What is read of a request: `Request` has it; of Node's, `{ headers: new Headers(request.headers) }`. */
export interface WithHeaders {
  /** Its headers. */
  readonly headers: { get(name: string): string | null };
}

/** A problem document (RFC 9457). Where it names none, its type is the status. */
export interface FenceProblem {
  /** The name of the status. */
  readonly title: string;
  /** 400 or 409. */
  readonly status: number;
  /** What is wrong with this request. */
  readonly detail: string;
  /** "stale", with the status 409. */
  readonly code?: "stale";
  /** The greatest token that was seen, with the status 409. */
  readonly seen?: string;
}

/**
 * Checks a request by its {@linkcode fenceHeaders}. Resolves with `undefined` if it may go on, or with the
 * answer to give instead, a problem document (RFC 9457): 409 if its token is stale, 400 if its headers are
 * missing or wrong.
 *
 * ```ts
 * import { checkRequest, memoryFence } from "@holdfast/lock/fence";
 *
 * const fence = memoryFence();
 * async function handle(request: Request): Promise<Response> {
 *   const refused = await checkRequest(fence, request, "account:7");
 *   if (refused) return refused;
 *   return new Response("written");
 * }
 * console.log((await handle(new Request("https://accounts.example/7"))).status); // 400
 * ```
 *
 * A fence in the database of the resource joins the check to the write: call this in the transaction, over
 * its fence.
 *
 * @param key The key of the lock that guards what the request writes: a request under another one is answered
 * with 400. Left out, the request's own is taken, which is right only if whoever can send requests is trusted
 * with that
 * @throws {TypeError} if it is no fence, or no request
 */
export async function checkRequest(
  fence: Fence,
  request: WithHeaders,
  key?: string,
): Promise<Response | undefined> {
  if (typeof fence?.check !== "function") throw new TypeError("Expected a fence, with a method check");
  if (typeof request?.headers?.get !== "function") {
    throw new TypeError(
      "Expected a Request, or { headers: new Headers(request.headers) } of one that has no headers.get",
    );
  }
  const token = tokenIn(request.headers.get("fence-token"));
  const named = keyIn(request.headers.get("fence-key"));
  if (token === undefined) {
    return problem(400, "Bad Request", `Expected a header Fence-Token of 1 to ${DIGITS} decimal digits`);
  }
  if (named === undefined) {
    return problem(400, "Bad Request", "Expected a header Fence-Key with the percent-encoded key of a lock");
  }
  if (key !== undefined && named !== key) {
    const expected = `Expected the header Fence-Key to be ${encodePart(key)}`;
    return problem(400, "Bad Request", `${expected}: another lock does not guard this`);
  }
  try {
    await fence.check(named, token);
  } catch (error) {
    if (!(error instanceof StaleTokenError)) throw error;
    return problem(409, "Conflict", error.message, { code: error.code, seen: String(error.seen) });
  }
}

/** One number, as {@linkcode fenceHeaders} writes it. */
function tokenIn(header: string | null): bigint | undefined {
  return header !== null && /^(0|[1-9]\d*)$/.test(header) && header.length <= DIGITS
    ? BigInt(header)
    : undefined;
}

/** A key, if it is written as {@linkcode fenceHeaders} writes it, whatever the case of the hex digits. */
function keyIn(header: string | null): string | undefined {
  if (header === null || header.length > 9 * LONGEST_KEY) return undefined;
  try {
    const written = header.replace(/%[\da-f]{2}/gi, (escaped) => escaped.toUpperCase());
    const key = decodePart(written);
    return key.length <= LONGEST_KEY && encodePart(key) === written ? key : undefined;
  } catch {
    return undefined; // no such character
  }
}

function problem(
  status: number,
  title: string,
  detail: string,
  more: Pick<FenceProblem, "code" | "seen"> = {},
): Response {
  const document: FenceProblem = { title, status, detail, ...more };
  return new Response(JSON.stringify(document), {
    status,
    headers: { "content-type": "application/problem+json" },
  });
}
