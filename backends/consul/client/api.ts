import { BackendError } from "../../../internal/errors.ts";
import { refused } from "../../shared/errors.ts";
import { answered, list, pairs, session, text, transaction } from "./believed.ts";
import { noAnswer, notBelieved } from "./errors.ts";
import type { Bounds, ConsulHttp, Question } from "./http.ts";
import type { Operation, Pair, Refusal } from "./kv.ts";
import type { Reply } from "./reply.ts";

/** A session as it is created. */
export interface SessionRequest {
  /** Milliseconds. */
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

/**
 * The calls of Consul's HTTP API: transactions and blocking queries of the KV store, and sessions.
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
   * All of the operations or none of them; those that read see what those before them wrote. A transaction
   * that writes goes through Consul's log; for one that only reads, the leader makes sure first that it
   * still leads.
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
          throw this.#noAnswer("run a transaction", { ...reply, status: 403, text: answer.why });
        }
        return answer;
      },
    );
  }

  /** Everything below a name, read from a leader that has made sure that it still leads. */
  async tree(name: string, bounds: Bounds): Promise<Pair[]> {
    const answer = await this.transact([{ Verb: "get-tree", Key: name }], bounds);
    if (!Array.isArray(answer)) {
      throw refused("read the entries below a name", `Consul refused: ${answer.why}`);
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
   * since `index`, or after about `wait` milliseconds. The answer may be behind, so it is a hint and no proof.
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

  /** Opens a session. It ends by its ttl, by its owner, and when its node leaves the catalog. */
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
          // No health check: a node that fails one for a moment would end the session.
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
        // Consul gives this reply no index, so that it is not believed at once.
        if (text(reply) === `Session id '${id}' not found`) return false;
        throw this.#noAnswer("renew a session", reply);
      },
    );
    if (renewed || !await this.sessionExists(id, bounds)) return renewed;
    throw refused("renew a session", "Consul does not find it, although it is there");
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

  /** Ends the session, and deletes with it all that was written under it. */
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
        if (!statuses.includes(reply.status)) throw this.#noAnswer(what, reply);
        try {
          return read(reply);
        } catch (error) {
          if (error instanceof BackendError) throw error;
          throw notBelieved(what, error instanceof Error ? error.message : `${error}`, this.#said(reply));
        }
      },
    });
  }

  #noAnswer(what: string, reply: Reply): BackendError {
    return noAnswer(what, reply.status, this.#said(reply));
  }

  /** The beginning of what a reply says, fit to be shown. */
  #said(reply: Reply): string {
    return this.#http.hide(text(reply).slice(0, 4_096)).slice(0, 200);
  }
}
