import type { Agent } from "node:http";
import type { Endpoint } from "./endpoint.ts";
import type { Reply } from "./reply.ts";

/** A request, to be sent once. */
export interface Message {
  readonly method: "GET" | "PUT";
  /** With the query. */
  readonly path: string;
  /** The body of a PUT. */
  readonly text: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Ends the exchange. */
  readonly signal: AbortSignal;
  /** Milliseconds without a byte after which the connection counts as broken; of a question that stands open. */
  readonly silence: number | undefined;
  /** Goes over a connection that is kept for what is urgent, and never stands in line. */
  readonly urgent: boolean;
  /** Bytes that the body of the reply may have. */
  readonly largest: number | undefined;
}

/** What sends requests: connections of our own, or those of a client that was handed in. */
export interface Sender {
  /** Sends the message once. Rejects if there is no complete reply. */
  send(at: Endpoint, message: Message): Promise<Reply>;
  /** The agent is silent: idle connections to it may be dead, except those kept for what is urgent. */
  forget(at: Endpoint): void;
  /** Closes the connections that were made here. */
  close(): void;
}

/** Options of `node:http`, `node:net` and `node:tls` for the connections. */
export type Transport = Readonly<Record<string, unknown>> & { readonly agent?: Agent };
