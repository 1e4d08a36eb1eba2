import { Buffer } from "node:buffer";
import http from "node:http";
import https from "node:https";
import type { Message, Sender } from "./connections.ts";
import type { Reply } from "./reply.ts";
import type { Endpoint } from "./address.ts";
import type { Transport } from "./settings.ts";

/** Requests over the connections of a client that was handed in, whatever it says of them. */
export class ClientConnections implements Sender {
  readonly #transport: Transport;
  readonly #agents = new Map<boolean, http.Agent>();

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  send(at: Endpoint, { method, path, text, headers, signal, silence }: Message): Promise<Reply> {
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    if (signal.aborted) return Promise.reject(signal.reason);
    const request = (at.secure ? https : http).request({
      ...this.#transport,
      agent: this.#agent(at.secure),
      host: at.host,
      port: at.port,
      auth: at.auth ?? null,
      method,
      path,
      headers: method === "PUT" ? { ...headers, "content-length": Buffer.byteLength(text) } : headers,
    });
    const stop = (): unknown => request.destroy(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    // Deno sends a request again when a reused connection breaks under it, although the agent may
    // have acted on it. It does so only for requests that say they are on a reused connection.
    request.once("socket", () => request.reusedSocket = false);
    request.once("error", reject);
    request.once("close", () => signal.removeEventListener("abort", stop));
    request.once("response", (response) => {
      let received = "";
      let whole = false;
      response.setEncoding("utf8");
      response.on("data", (chunk) => received += chunk);
      response.once("error", reject);
      response.once("close", () => {
        if (!whole) reject(new Error("the connection broke before the end of a reply"));
      });
      response.once("end", () => {
        if (!response.complete) return; // `close` follows
        whole = true;
        const { statusCode = 0, headers } = response;
        resolve({ status: statusCode, text: received, index: Number(headers["x-consul-index"] ?? 0) });
      });
    });
    if (silence !== undefined) {
      request.setTimeout(silence, () => request.destroy(new Error(`nothing heard for ${silence} ms`)));
    }
    request.end(text);
    return promise;
  }

  /** Those that were made here. The client's own stay open. */
  close(): void {
    for (const agent of this.#agents.values()) agent.destroy();
    this.#agents.clear();
  }

  #agent(secure: boolean): http.Agent {
    let agent = this.#transport.agent ?? this.#agents.get(secure);
    if (agent === undefined) {
      agent = new (secure ? https : http).Agent({ keepAlive: true });
      this.#agents.set(secure, agent);
    }
    return agent;
  }
}
