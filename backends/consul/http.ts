import { BackendError } from "../../internal/errors.ts";
import type { Endpoint } from "./address.ts";
import { ClientConnections } from "./client_connections.ts";
import { Connections, type Sender } from "./connections.ts";
import type { Reply } from "./reply.ts";
import type { Settings } from "./settings.ts";

/** What is asked. */
export interface Question {
  readonly method: "GET" | "PUT";
  /** After `/v1/`, encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  /** JSON. */
  readonly body?: unknown;
  /** Ends the request. */
  readonly signal: AbortSignal;
  /**
   * For a question that is meant to stand open: milliseconds without a byte after which the
   * connection counts as broken.
   */
  readonly silence?: number;
}

/** The HTTP API of an agent, over kept-alive connections; each request is sent once. */
export class ConsulHttp {
  readonly #settings: Settings;
  readonly #sender: Sender;
  #endpoint: Promise<Endpoint> | undefined;

  constructor(settings: Settings) {
    this.#settings = settings;
    const { client, transport } = settings;
    this.#sender = client ? new ClientConnections(transport) : new Connections(transport);
  }

  /** Rejects if there is no complete reply; what the agent made of the request is then unknown. */
  async ask(question: Question): Promise<Reply> {
    const located = this.#endpoint ??= this.#settings.locate();
    let at: Endpoint | undefined;
    try {
      at = await unless(question.signal, located);
      const reply = await this.#send(at, question);
      if (reply.status >= 500) this.#leave(located);
      return reply;
    } catch (cause) {
      const givenUp = question.signal.aborted;
      // It may be the agent that is stuck, or the locator.
      if (!givenUp || question.silence === undefined || at === undefined) this.#leave(located);
      if (givenUp) throw cause;
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new BackendError(
        at === undefined
          ? `Cannot find a Consul agent: the locator failed: ${reason}`
          : `Cannot talk to the Consul agent at ${at.host}:${at.port}: ${reason}. Is it running there, and has ` +
            "it room for more connections from here (limits.http_max_conns_per_client)?",
        { cause },
      );
    }
  }

  /** Closes the connections, unless they are those of a client that was handed in. */
  close(): void {
    this.#sender.close();
    this.#endpoint = undefined;
  }

  /** The next request asks the locator again: a failing agent may have been replaced. */
  #leave(located: Promise<Endpoint>): void {
    if (this.#endpoint === located) this.#endpoint = undefined;
  }

  #send(at: Endpoint, { method, path, query, body, signal, silence }: Question): Promise<Reply> {
    return this.#sender.send(at, {
      method,
      path: `${at.path}/v1/${path}${this.#search(query)}`,
      text: body === undefined ? "" : JSON.stringify(body),
      headers: this.#settings.headers,
      signal,
      silence,
    });
  }

  #search(query: Question["query"]): string {
    if (query === undefined && this.#settings.datacenter === undefined) return "";
    const search = new URLSearchParams();
    const { datacenter } = this.#settings;
    if (datacenter !== undefined) search.set("dc", datacenter);
    for (const [name, value] of Object.entries(query ?? {})) if (value !== undefined) search.set(name, value);
    return search.size > 0 ? `?${search}` : "";
  }
}

/** What is awaited, unless the signal aborts first. */
function unless<T>(signal: AbortSignal, answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason);
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
    answer.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
