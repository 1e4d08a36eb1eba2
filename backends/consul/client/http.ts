import { Buffer } from "node:buffer";
import { BackendError } from "../../../internal/errors.ts";
import { refused } from "../../shared/errors.ts";
import { Agents } from "./agents.ts";
import { Connections } from "./connections.ts";
import type { Endpoint } from "./endpoint.ts";
import { speaksTls, unreachable } from "./errors.ts";
import { HandedIn } from "./handed_in.ts";
import { inTurn } from "./in_turn.ts";
import type { Reply } from "./reply.ts";
import { Rests } from "./rests.ts";
import type { Sender, Transport } from "./sender.ts";
import { Token, type TokenSource } from "./token.ts";

/** Which agents are talked to, and how. */
export interface HttpSettings {
  readonly locate: () => Promise<Endpoint>;
  /** Whether `locate` can name one agent after the other. */
  readonly several: boolean;
  readonly headers: Readonly<Record<string, string>>;
  readonly token: TokenSource | undefined;
  readonly transport: Transport;
  /** Whether headers and transport are those of a client that was handed in. */
  readonly handedIn: boolean;
  /** What every request names, if anything. */
  readonly query: Readonly<Record<string, string>> | undefined;
}

/** What ends a call. */
export interface Bounds {
  readonly signal: AbortSignal;
  /** When there has to be an answer, on the clock of `performance.now()`. None: whenever the answer comes. */
  readonly until?: number;
  /** Told when a copy of the request is left behind: the copy may yet arrive, at any time. */
  doubt?(): void;
}

/** The bounds of a call that has so many milliseconds from now on. */
export function boundsOf(
  { signal, timeout }: { readonly signal: AbortSignal; readonly timeout: number },
): Bounds {
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
  /** What the reply says. Throws if that is a refusal, or nothing that Consul says. */
  read(reply: Reply): T;
}

/** The HTTP API of an agent, over kept-alive connections; each request is sent once to an agent. */
export class ConsulHttp {
  readonly #settings: HttpSettings;
  readonly #sender: Sender;
  readonly #agents: Agents;
  readonly #token: Token;
  readonly #rests = new Rests();
  /** User and password that were sent last. */
  #auth: string | undefined;

  constructor(settings: HttpSettings) {
    this.#settings = settings;
    const { handedIn, transport, locate, several, token } = settings;
    this.#sender = handedIn ? new HandedIn(transport) : new Connections(transport);
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
      throw refused("find a Consul agent", `the locator failed: ${this.hide(said(error))}`);
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
    const resting = question.urgent === true ? undefined : this.#rests.error(at);
    if (resting !== undefined) {
      this.#agents.leave();
      throw resting;
    }
    if (at.auth !== undefined) this.#auth = at.auth;
    const known = this.#token.get();
    const token = typeof known === "object" ? await unless(signal, known) : known;
    let reply = await this.#send(question, at, token, signal);
    if (reply.status === 403 || reply.status === 401) {
      const other = await unless(signal, this.#token.instead(token));
      if (other !== undefined) reply = await this.#send(question, at, other, signal);
    }
    if (reply.status === 429) this.#rests.begin(at, reply.retryAfter);
    else this.#rests.end(at);
    try {
      const answer = question.read(reply);
      this.#agents.answered(at);
      return answer;
    } catch (error) {
      if (!(error instanceof BackendError) || error.retryable) this.#agents.failed(at);
      if (!at.secure && reply.status === 400 && /HTTPS (server|port)/i.test(reply.text)) throw speaksTls(at);
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
      if (!signal.aborted) {
        this.#agents.failed(at);
        throw unreachable(at, this.hide(said(cause)), cause);
      }
      // A question that was to stand open, with no time to be answered in, says nothing about the agent.
      if (silence === undefined || question.bounds.until !== undefined) {
        this.#agents.failed(at);
        this.#sender.forget(at);
      }
      throw cause;
    }
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

/** The answer, unless the signal aborts first. */
function unless<T>(signal: AbortSignal, answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
    answer.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
