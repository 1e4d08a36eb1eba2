import { Buffer } from "node:buffer";
import http from "node:http";
import https from "node:https";
import type { Message, Sender } from "./connections.ts";
import { indexOf, LARGEST, milliseconds, type Reply } from "./reply.ts";
import type { Endpoint } from "./address.ts";
import type { Transport } from "./settings.ts";

/** Requests over the connections of a client that was handed in, whatever it says of them. */
export class ClientConnections implements Sender {
  readonly #transport: Transport;
  readonly #agents = new Map<string, http.Agent>();

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  send(at: Endpoint, message: Message): Promise<Reply> {
    const { method, path, text, headers, signal, silence, urgent, largest = LARGEST } = message;
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    if (signal.aborted) return Promise.reject(signal.reason);
    const request = (at.secure ? https : http).request({
      ...this.#transport,
      agent: this.#agent(at.secure, urgent ? "urgent" : silence === undefined ? "short" : "standing"),
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
      response.on("data", (chunk) => {
        received += chunk;
        if (received.length > largest) request.destroy(new Error(`the reply has more than ${largest} bytes`));
      });
      response.once("error", reject);
      response.once("close", () => {
        if (!whole) reject(new Error("the connection broke before the end of a reply"));
      });
      response.once("end", () => {
        if (!response.complete) return; // `close` follows
        whole = true;
        const { statusCode = 0, headers } = response;
        const retryAfter = milliseconds(headers["retry-after"]);
        resolve({
          status: statusCode,
          text: received,
          index: indexOf(headers["x-consul-index"]?.toString()),
          ...(retryAfter !== undefined && { retryAfter }),
        });
      });
    });
    if (silence !== undefined) {
      request.setTimeout(silence, () => request.destroy(new Error(`nothing heard for ${silence} ms`)));
    }
    request.end(text);
    return promise;
  }

  /** Nothing: which of them are idle is the client's own business. */
  forget(): void {}

  /** Those that were made here. The client's own stay open. */
  close(): void {
    for (const agent of this.#agents.values()) agent.destroy();
    this.#agents.clear();
  }

  /** Where the client's own has room for so many, what stands open or is urgent must not be in line there. */
  #agent(secure: boolean, kind: "short" | "standing" | "urgent"): http.Agent {
    const own = this.#transport.agent;
    const Agent: typeof http.Agent = secure ? https.Agent : http.Agent;
    const tight = Number.isFinite(own?.maxSockets) && Object.getPrototypeOf(own) === Agent.prototype;
    if (own !== undefined && (kind === "short" || !tight)) return own;
    const name = own === undefined ? `${secure}` : `${secure} ${kind}`;
    let agent = this.#agents.get(name);
    if (agent === undefined) {
      const { options } = own as { options?: object } ?? {};
      agent = new Agent({ ...options, keepAlive: true, maxSockets: Infinity, maxTotalSockets: Infinity });
      if (own !== undefined) agent.createConnection = (...args) => own.createConnection(...args);
      this.#agents.set(name, agent);
    }
    return agent;
  }
}
