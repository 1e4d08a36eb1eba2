import { Buffer } from "node:buffer";
import type { Call } from "../../internal/backend.ts";
import { BackendError } from "../../internal/errors.ts";
import { type Endpoint, nameOf } from "./address.ts";
import { Agents } from "./agents.ts";
import { ClientConnections } from "./client_connections.ts";
import { Connections, type Sender } from "./connections.ts";
import { inTurn } from "./in_turn.ts";
import type { Reply } from "./reply.ts";
import type { Settings } from "./settings.ts";
import { Token } from "./token.ts";

/** What ends a call. */
export interface Bounds {
  readonly signal: AbortSignal;
  /** When there has to be an answer, on the clock of `performance.now()`. None: whenever it comes. */
  readonly until?: number;
  /** A copy of the request has been left behind: it may yet arrive, at any time. */
  doubt?(): void;
}

/** Those of a call of the core, from now on. */
export function boundsOf({ signal, timeout }: Call): Bounds {
  return timeout === Infinity ? { signal } : { signal, until: performance.now() + timeout };
}

/** What is asked. */
export interface Question<T> {
  readonly method: "GET" | "PUT";
  /** After `/v1/`, encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  /** JSON. */
  readonly body?: unknown;
  readonly bounds: Bounds;
  /**
   * For a question that is meant to stand open: milliseconds without a byte after which the
   * connection counts as broken.
   */
  readonly silence?: number;
  /** Has a connection of its own, kept open for it, and does not rest when others have to. */
  readonly urgent?: boolean;
  /** Bytes that the body of the reply may have. */
  readonly largest?: number;
  /** What the reply says. Throws if it is a refusal, or nothing that Consul says. */
  read(reply: Reply): T;
}

/** Milliseconds of rest after a 429 that names none, at first and at most. */
const RESTS = { first: 100, most: 1_000 };

/** Milliseconds of rest at most that an agent may ask for. */
const LONGEST_REST = 60_000;

/** What TLS is called that has been answered in plain HTTP, by the three runtimes. */
const NO_TLS = /wrong.version.number|InvalidContentType|packet.length|http.request|unknown.protocol/i;

/** The HTTP API of an agent, over kept-alive connections; each request is sent once to an agent. */
export class ConsulHttp {
  readonly #settings: Settings;
  readonly #sender: Sender;
  readonly #agents: Agents;
  readonly #token: Token;
  /** User and password that were sent last. */
  #auth: string | undefined;
  /** Until when which agents want to be left alone, and how often in a row they have said so. */
  readonly #rests = new Map<string, { until: number; times: number }>();

  constructor(settings: Settings) {
    this.#settings = settings;
    const { client, transport, locate, several, token } = settings;
    this.#sender = client ? new ClientConnections(transport) : new Connections(transport);
    this.#agents = new Agents(locate, several);
    this.#token = new Token(token);
  }

  /** Rejects if there is no answer to be believed; what Consul made of the request is then unknown. */
  async ask<T>(question: Question<T>): Promise<T> {
    const { signal, until, doubt } = question.bounds;
    try {
      if (until === undefined || !this.#agents.several) {
        const at = await unless(signal, this.#agents.find(NONE));
        return await this.#ask(question, at!, signal);
      }
      return await inTurn({
        agents: this.#agents,
        signal,
        until,
        ask: (at, signal) => this.#ask(question, at, signal),
        ...(doubt && { doubt }),
      });
    } catch (error) {
      if (error instanceof BackendError || signal.aborted) throw error;
      throw new BackendError(`Cannot find a Consul agent: the locator failed: ${this.hide(said(error))}`);
    }
  }

  /** Takes out of a text what it must not show: an agent, or a proxy, may repeat what it was sent. */
  hide(text: string): string {
    let hidden = text;
    for (const secret of this.#secrets()) hidden = hidden.replaceAll(secret, "[hidden]");
    return hidden;
  }

  /** Closes the connections, unless they are those of a client that was handed in. */
  close(): void {
    this.#sender.close();
    this.#agents.leave();
  }

  async #ask<T>(question: Question<T>, at: Endpoint, signal: AbortSignal): Promise<T> {
    if (this.#rests.size > 0 && question.urgent !== true) this.#respectRest(at);
    if (at.auth !== undefined) this.#auth = at.auth;
    const known = this.#token.get();
    const token = typeof known === "object" ? await unless(signal, known) : known;
    let reply = await this.#send(question, at, token, signal);
    if (reply.status === 403 || reply.status === 401) {
      const other = await unless(signal, this.#token.instead(token));
      if (other !== undefined) reply = await this.#send(question, at, other, signal);
    }
    if (reply.status === 429) this.#rest(at, reply.retryAfter);
    else if (this.#rests.size > 0 && this.#restOf(at) <= 0) this.#rests.delete(nameOf(at));
    try {
      const answer = question.read(reply);
      this.#agents.answered(at);
      return answer;
    } catch (error) {
      if (!(error instanceof BackendError) || error.retryable) this.#agents.failed(at);
      if (!at.secure && reply.status === 400 && /HTTPS (server|port)/i.test(reply.text)) throw noTls(at);
      throw error;
    }
  }

  async #send<T>(
    question: Question<T>,
    at: Endpoint,
    token: string | undefined,
    signal: AbortSignal,
  ): Promise<Reply> {
    const { method, path, query, body, silence, urgent = false, largest } = question;
    const { headers } = this.#settings;
    try {
      return await this.#sender.send(at, {
        method,
        path: `${at.path}/v1/${path}${this.#search(query)}`,
        text: body === undefined ? "" : JSON.stringify(body),
        headers: token === undefined || token === "" ? headers : { ...headers, "x-consul-token": token },
        signal,
        silence,
        urgent,
        largest,
      });
    } catch (cause) {
      if (signal.aborted) {
        if (silence === undefined || question.bounds.until !== undefined) this.#silent(at);
        throw cause;
      }
      this.#agents.failed(at);
      throw this.#unreachable(at, cause);
    }
  }

  /** Nobody waits for its answer any more. */
  #silent(at: Endpoint): void {
    this.#agents.failed(at);
    this.#sender.forget(at);
  }

  #unreachable(at: Endpoint, cause: unknown): BackendError {
    const reason = said(cause);
    if (!at.secure && /is TLS/.test(reason)) return noTls(at);
    const hint = at.secure && NO_TLS.test(`${reason} ${(cause as { code?: string })?.code}`)
      ? "Does it speak plain HTTP there? Then its address begins with http://"
      : "Is it running there, and has it room for more connections from here " +
        "(limits.http_max_conns_per_client)?";
    return new BackendError(
      `Cannot talk to the Consul agent at ${at.host}:${at.port}: ${this.hide(reason)}. ${hint}`,
      { cause },
    );
  }

  #rest(at: Endpoint, asked: number | undefined): void {
    const name = nameOf(at);
    const times = this.#rests.get(name)?.times ?? 0;
    const ms = Math.min(asked ?? Math.min(RESTS.first * 2 ** times, RESTS.most), LONGEST_REST);
    this.#rests.set(name, { until: performance.now() + ms, times: times + 1 });
  }

  /** Milliseconds that are left of it. */
  #restOf(at: Endpoint): number {
    return (this.#rests.get(nameOf(at))?.until ?? 0) - performance.now();
  }

  #respectRest(at: Endpoint): void {
    const left = this.#restOf(at);
    if (left <= 0) return;
    this.#agents.leave();
    throw new BackendError(
      `Cannot ask the Consul agent at ${at.host}:${at.port}: it has answered 429 (too many requests) and is ` +
        `left alone for another ${Math.ceil(left)} ms`,
    );
  }

  #search(query: Question<unknown>["query"]): string {
    const { query: always } = this.#settings;
    if (query === undefined && always === undefined) return "";
    const search = new URLSearchParams(always);
    for (const [name, value] of Object.entries(query ?? {})) if (value !== undefined) search.set(name, value);
    return search.size > 0 ? `?${search}` : "";
  }

  #secrets(): string[] {
    const { headers } = this.#settings;
    const secrets = Object.entries(headers).filter(([name]) => /token|auth|cookie|key/i.test(name))
      .map(([, value]) => `${value}`);
    if (this.#token.known !== undefined) secrets.push(this.#token.known);
    const auth = this.#auth;
    if (auth !== undefined) {
      secrets.push(Buffer.from(auth).toString("base64"), auth, auth.slice(auth.indexOf(":") + 1));
    }
    return secrets.filter((secret) => secret !== "");
  }
}

const NONE: ReadonlySet<string> = new Set();

function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function noTls({ host, port }: Endpoint): BackendError {
  return new BackendError(
    `Cannot talk to the Consul agent at ${host}:${port}: it speaks TLS there (give its address as https://, ` +
      "or the option `secure`)",
    { retryable: false },
  );
}

/** What is awaited, unless the signal aborts first. */
function unless<T>(signal: AbortSignal, answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
    answer.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
