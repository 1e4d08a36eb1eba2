import { Buffer } from "node:buffer";
import { BackendError } from "../../internal/errors.ts";
import type { ConsulHttp } from "./http.ts";
import type { Reply } from "./reply.ts";

/** One operation on the KV store in a transaction; all of them happen, or none. */
export type Operation =
  | { readonly Verb: "get-tree" | "delete" | "delete-tree" | "check-not-exists"; readonly Key: string }
  | { readonly Verb: "check-index"; readonly Key: string; readonly Index: number }
  | { readonly Verb: "check-session"; readonly Key: string; readonly Session: string }
  | { readonly Verb: "lock"; readonly Key: string; readonly Session: string; readonly Value: string };

/** An entry of the KV store. */
export interface Pair {
  readonly Key: string;
  /** Base64; `null` in the answer to a write. */
  readonly Value: string | null;
  /** The session that holds it. */
  readonly Session?: string;
  /** The store's index when it was created, and when it was last changed. */
  readonly CreateIndex: number;
  readonly ModifyIndex: number;
}

/** A transaction that was refused, and had no effect. */
export interface Refusal {
  /** Which operation, from 0. */
  readonly at: number;
  readonly why: string;
}

/** What ends a call. */
export interface Bounds {
  readonly signal: AbortSignal;
}

/** A session as it is created. */
export interface SessionRequest {
  readonly ttl: number;
  readonly name: string;
  readonly node: string | undefined;
}

/** Puts text into a value. */
export function encodeValue(text: string): string {
  return Buffer.from(text).toString("base64");
}

/** Takes it out. */
export function decodeValue(value: string | null): string {
  return Buffer.from(value ?? "", "base64").toString();
}

/** The calls of Consul's HTTP API that locks need. */
export class ConsulApi {
  readonly #http: ConsulHttp;

  constructor(http: ConsulHttp) {
    this.#http = http;
  }

  /**
   * All of the operations or none of them; those that read see what those before them wrote. Goes
   * through the log, so it is as strong as it can be; with reads alone, the leader makes sure first
   * that it still is.
   */
  async transact(operations: readonly Operation[], { signal }: Bounds): Promise<Pair[] | Refusal> {
    const reading = operations.every(({ Verb }) => Verb === "get-tree");
    const reply = await this.#http.ask({
      method: "PUT",
      path: "txn",
      ...(reading && { query: { consistent: "" } }),
      body: operations.map((KV) => ({ KV })),
      signal,
    });
    if (reply.status !== 200 && reply.status !== 409) throw refused("run a transaction", reply);
    const { Results, Errors } = json<{
      Results: { KV: Pair }[] | null;
      Errors: { OpIndex: number; What: string }[] | null;
    }>("run a transaction", reply);
    const [error] = Errors ?? [];
    if (error?.What.includes("Permission denied")) {
      throw refused("run a transaction", { ...reply, status: 403, text: error.What });
    }
    if (error !== undefined) return { at: error.OpIndex, why: error.What };
    return (Results ?? []).map(({ KV }) => KV);
  }

  /** Everything below a name, read from the leader once it has made sure that it still is. */
  async tree(name: string, { signal }: Bounds): Promise<Pair[]> {
    const reply = await this.#http.ask({
      method: "GET",
      path: `kv/${encodeURIComponent(name)}`,
      query: { recurse: "", consistent: "" },
      signal,
    });
    if (reply.status === 404) return [];
    if (reply.status !== 200) throw refused("read the queue", reply);
    return json("read the queue", reply);
  }

  /** The names below a name, read as `tree` does. */
  async names(name: string, { signal }: Bounds): Promise<string[]> {
    const reply = await this.#http.ask({
      method: "GET",
      path: `kv/${encodeURIComponent(name)}`,
      query: { keys: "", consistent: "" },
      signal,
    });
    if (reply.status === 404) return [];
    if (reply.status !== 200) throw refused("read the names", reply);
    return json("read the names", reply);
  }

  /**
   * A blocking query: answers when something below the name (`tree`), or just under it, has changed
   * since `index`, or after about `wait` milliseconds. A hint: it may be behind, so it proves nothing.
   */
  async next(
    name: string,
    { index, wait, tree }: { index: number; wait: number; tree: boolean },
    { signal }: Bounds,
  ): Promise<{ names: string[]; index: number }> {
    const reply = await this.#http.ask({
      method: "GET",
      path: `kv/${encodeURIComponent(name)}`,
      query: {
        // Names only, if there can be many.
        ...(tree ? { keys: "" } : {}),
        index: `${index}`,
        wait: `${Math.ceil(wait)}ms`,
      },
      signal,
      silence: wait * 1.25 + 5_000, // Consul adds up to a sixteenth of its own
    });
    if (reply.status === 404) return { names: [], index: reply.index };
    if (reply.status !== 200) throw refused("wait for a change", reply);
    const answer = json<string[] | Pair[]>("wait for a change", reply);
    return { names: answer.map((one) => typeof one === "string" ? one : one.Key), index: reply.index };
  }

  /** Opens a session that ends by its ttl, by its owner, and by its node leaving the catalog. */
  async createSession({ ttl, name, node }: SessionRequest, { signal }: Bounds): Promise<string> {
    const reply = await this.#http.ask({
      method: "PUT",
      path: "session/create",
      body: {
        Name: name,
        Node: node,
        TTL: `${Math.ceil(ttl)}ms`,
        Behavior: "delete",
        LockDelay: "0s",
        // No health check: a node that is seen as failing for a moment would end the session.
        Checks: [],
        NodeChecks: [],
      },
      signal,
    });
    if (reply.status !== 200) throw refused("open a session", reply);
    return json<{ ID: string }>("open a session", reply).ID;
  }

  /** Starts the session's ttl again. `false`: there is no such session any more. */
  async renewSession(id: string, { signal }: Bounds): Promise<boolean> {
    const reply = await this.#http.ask({ method: "PUT", path: `session/renew/${id}`, signal });
    if (reply.status === 404) return false;
    if (reply.status !== 200) throw refused("renew a session", reply);
    return true;
  }

  /** Whether there is such a session. */
  async sessionExists(id: string, { signal }: Bounds): Promise<boolean> {
    const path = `session/info/${id}`;
    const reply = await this.#http.ask({ method: "GET", path, query: { consistent: "" }, signal });
    if (reply.status !== 200) throw refused("look for a session", reply);
    return json<unknown[]>("look for a session", reply).length > 0;
  }

  /** Ends the session, and with it all that is locked under it. */
  async destroySession(id: string, { signal }: Bounds): Promise<void> {
    const reply = await this.#http.ask({ method: "PUT", path: `session/destroy/${id}`, signal });
    if (reply.status !== 200) throw refused("end a session", reply);
  }
}

function json<T>(what: string, { text }: Reply): T {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new BackendError(
      `Cannot ${what}: the reply is not JSON. Is there a Consul agent at this address?`,
      {
        cause,
      },
    );
  }
}

/** What a refusal means, and what to do about it. */
function refused(what: string, { status, text }: Reply): BackendError {
  const said = text.trim().slice(0, 200) || (status === 429 ? "too many requests" : "no reason given");
  if (status === 403) {
    return new BackendError(
      `Cannot ${what}: Consul refused the ACL token (${said}). It needs "write" on the key prefix of the ` +
        "locks and on the sessions of the agent's node",
      { retryable: false },
    );
  }
  if (/Invalid Session TTL/.test(text)) {
    return new BackendError(
      `Cannot ${what}: ${said}. The servers' "session_ttl_min" has been raised: ask for a longer ttl`,
      { retryable: false },
    );
  }
  const retryable = status === 429 || status >= 500;
  const hint = retryable ? "" : ". Is there a Consul agent at this address?";
  return new BackendError(`Cannot ${what}: Consul answered ${status}: ${said}${hint}`, { retryable });
}
