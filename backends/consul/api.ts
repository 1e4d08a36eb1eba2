import { Buffer } from "node:buffer";
import { BackendError } from "../../internal/errors.ts";
import { answered, list, pairs, session, text, transaction } from "./believed.ts";
import type { Bounds, ConsulHttp, Question } from "./http.ts";
import type { Reply } from "./reply.ts";

export type { Bounds };

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

/** A session as it is created. */
export interface SessionRequest {
  readonly ttl: number;
  readonly name: string;
  readonly node: string | undefined;
}

/** What a blocking query has found. */
export interface Sight {
  readonly names: readonly string[];
  readonly index: number;
}

/** Bytes that an answer about a session may have. */
const SHORT = 1024 * 1024;

/** Puts text into a value. */
export function encodeValue(text: string): string {
  return Buffer.from(text).toString("base64");
}

/** Takes it out. */
export function decodeValue(value: string | null): string {
  return Buffer.from(value ?? "", "base64").toString();
}

/**
 * The calls of Consul's HTTP API that locks need.
 *
 * Only what Consul itself must have said is an answer: a transaction's own JSON, a session or a refusal
 * that names the session, `X-Consul-Index` with whatever is read from the KV store. Anything else may come
 * from a proxy, is unknown, and worth another try.
 */
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
  async transact(
    operations: readonly Operation[],
    bounds: Bounds,
    urgent = false,
  ): Promise<Pair[] | Refusal> {
    const reading = operations.every(({ Verb }) => Verb === "get-tree");
    return await this.#ask(
      "run a transaction",
      {
        method: "PUT",
        path: "txn",
        ...(reading && { query: { consistent: "" } }),
        body: operations.map((KV) => ({ KV })),
        bounds,
        urgent,
      },
      [200, 409],
      (reply) => {
        const answer = transaction(reply, operations);
        if (!Array.isArray(answer) && answer.why.includes("Permission denied")) {
          throw this.#refused("run a transaction", { ...reply, status: 403, text: answer.why });
        }
        return answer;
      },
    );
  }

  /** Everything below a name, read from the leader once it has made sure that it still is. */
  async tree(name: string, bounds: Bounds): Promise<Pair[]> {
    const answer = await this.transact([{ Verb: "get-tree", Key: name }], bounds);
    if (!Array.isArray(answer)) {
      throw new BackendError(`Cannot read the queue: Consul refused: ${answer.why}`);
    }
    return answer;
  }

  /** The names below a name, read as `tree` does. */
  async names(name: string, bounds: Bounds, urgent = false): Promise<string[]> {
    return await this.#ask(
      "read the names",
      {
        method: "GET",
        path: `kv/${name}`,
        query: { keys: "", consistent: "" },
        bounds,
        urgent,
      },
      [200, 404],
      (reply) => list(reply, name),
    );
  }

  /**
   * A blocking query: answers when something below the name (`tree`), or the name itself, has changed
   * since `index`, or after about `wait` milliseconds. A hint: it may be behind, so it proves nothing.
   */
  async next(
    name: string,
    { index, wait, tree }: { index: number; wait: number; tree: boolean },
    bounds: Bounds,
  ): Promise<Sight> {
    return await this.#ask(
      "wait for a change",
      {
        method: "GET",
        path: `kv/${name}`,
        query: {
          // Names only, if there can be many.
          ...(tree ? { keys: "" } : {}),
          index: `${index}`,
          wait: `${Math.ceil(wait)}ms`,
        },
        bounds,
        silence: wait * 1.25 + 5_000, // Consul adds up to a sixteenth of its own
      },
      [200, 404],
      (reply) => ({
        names: tree ? list(reply, name) : pairs(reply, name).map(({ Key }) => Key),
        index: reply.index,
      }),
    );
  }

  /** Opens a session that ends by its ttl, by its owner, and by its node leaving the catalog. */
  async createSession({ ttl, name, node }: SessionRequest, bounds: Bounds): Promise<string> {
    return await this.#ask(
      "open a session",
      {
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
        bounds,
        urgent: true, // so that there is a connection for its renewals
        largest: SHORT,
      },
      [200],
      (reply) => session(reply),
    );
  }

  /** Starts the session's ttl again. `false`: there is no such session any more. */
  async renewSession(id: string, bounds: Bounds): Promise<boolean> {
    const renewed = await this.#ask(
      "renew a session",
      {
        method: "PUT",
        path: `session/renew/${id}`,
        bounds,
        urgent: true,
        largest: SHORT,
      },
      [200, 404],
      (reply) => {
        if (reply.status === 200) return answered(reply, id);
        // That reply has no index: what does look like it is looked into.
        if (text(reply) === `Session id '${id}' not found`) return false;
        throw this.#refused("renew a session", reply);
      },
    );
    if (renewed || !await this.sessionExists(id, bounds)) return renewed;
    throw new BackendError("Cannot renew a session: Consul does not find it, although it is there");
  }

  /** Whether there is such a session. */
  async sessionExists(id: string, bounds: Bounds): Promise<boolean> {
    return await this.#ask(
      "look for a session",
      {
        method: "GET",
        path: `session/info/${id}`,
        query: { consistent: "" },
        bounds,
        urgent: true,
        largest: SHORT,
      },
      [200],
      (reply) => answered(reply, id),
    );
  }

  /** Ends the session, and with it all that is locked under it. */
  async destroySession(id: string, bounds: Bounds): Promise<void> {
    await this.#ask(
      "end a session",
      {
        method: "PUT",
        path: `session/destroy/${id}`,
        bounds,
        largest: SHORT,
      },
      [200],
      (reply) => {
        if (text(reply) !== "true") throw new Error("the reply is not that of a Consul agent");
      },
    );
  }

  /** Asks for an answer with one of these statuses. */
  async #ask<T>(
    what: string,
    question: Omit<Question<T>, "read">,
    statuses: readonly number[],
    read: (reply: Reply) => T,
  ): Promise<T> {
    return await this.#http.ask({
      ...question,
      read: (reply) => {
        if (!statuses.includes(reply.status)) throw this.#refused(what, reply);
        try {
          return read(reply);
        } catch (error) {
          if (error instanceof BackendError) throw error;
          const said = this.#said(reply);
          throw new BackendError(
            `Cannot ${what}: ${error instanceof Error ? error.message : error}` +
              `${said === "" ? "" : ` (${said})`}. Is there a Consul agent at this address?`,
          );
        }
      },
    });
  }

  /** What a refusal means, and what to do about it. */
  #refused(what: string, reply: Reply): BackendError {
    const { status } = reply;
    const said = this.#said(reply) || (status === 429 ? "too many requests" : "no reason given");
    if (status === 403 && /permission denied|acl not found|acl support disabled/i.test(said)) {
      return new BackendError(
        `Cannot ${what}: Consul refused the ACL token (${said}). It needs "write" on the key prefix of the ` +
          "locks and on the sessions of the agent's node",
        { retryable: false },
      );
    }
    for (const [pattern, hint] of FINAL) {
      if (!pattern.test(said)) continue;
      return new BackendError(`Cannot ${what}: ${said}. ${hint}`, { retryable: false });
    }
    const consuls = status === 429 || status >= 500;
    const hint = consuls ? "" : ". Is there a Consul agent at this address?";
    return new BackendError(`Cannot ${what}: Consul answered ${status}: ${said}${hint}`);
  }

  #said(reply: Reply): string {
    return this.#http.hide(text(reply).slice(0, 4_096)).slice(0, 200);
  }
}

/** Refusals of Consul's own that waiting does not mend. */
const FINAL: [pattern: RegExp, hint: string][] = [
  [/Invalid Session TTL/, `The servers' "session_ttl_min" has been raised: ask for a longer ttl`],
  [/Consul Enterprise/, "Leave out what only Consul Enterprise has: namespace and partition"],
  [
    /invalid key name|key contains|key must not begin/i,
    "The servers check names of keys: choose another prefix",
  ],
];
