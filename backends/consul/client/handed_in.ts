import { Buffer } from "node:buffer";
import http from "node:http";
import https from "node:https";
import type { Endpoint } from "./endpoint.ts";
import { Body, type Reply, replyOf } from "./reply.ts";
import type { Message, Sender, Transport } from "./sender.ts";

/**
 * Requests over the connections of a client that was handed in: by `node:http`, since its agent may lead
 * them through a proxy, and takes nothing else.
 */
export class HandedIn implements Sender {
  readonly #transport: Transport;
  /** In place of the client's agent, where that has none, or room for only so many. */
  #roomy: http.Agent | undefined;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  send(at: Endpoint, message: Message): Promise<Reply> {
    const { method, path, text, headers, signal, silence, urgent, largest } = message;
    if (signal.aborted) return Promise.reject(signal.reason);
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    const request = (at.secure ? https : http).request({
      ...this.#transport,
      agent: this.#agent(at.secure, urgent || silence !== undefined),
      host: at.host,
      port: at.port,
      auth: at.auth ?? null,
      method,
      path,
      headers: method === "PUT" ? { ...headers, "content-length": Buffer.byteLength(text) } : headers,
    });
    const stop = (): unknown => request.destroy(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    // Deno sends a request again when a reused connection breaks under it, although the server may
    // have acted on it. Deno does so only for requests that say they are on a reused connection.
    request.once("socket", () => request.reusedSocket = false);
    const fail = (error: Error & { rawPacket?: unknown }): void => {
      delete error.rawPacket; // bytes of a reply that is not HTTP: they may repeat a token
      reject(error);
    };
    request.once("error", fail);
    request.once("close", () => signal.removeEventListener("abort", stop));
    request.once("response", (response) => {
      const body = new Body(largest);
      response.on("data", (piece: Buffer) => {
        try {
          body.add(piece);
        } catch (error) {
          request.destroy(error as Error);
        }
      });
      response.once("error", fail);
      response.once("close", () => reject(new Error("the connection broke before the end of a reply")));
      response.once("end", () => {
        if (!response.complete) return; // `close` follows
        resolve(replyOf(response.statusCode ?? 0, (name) => response.headers[name]?.toString(), body));
      });
    });
    if (silence !== undefined) {
      request.setTimeout(silence, () => request.destroy(new Error(`nothing heard for ${silence} ms`)));
    }
    request.end(text);
    return promise;
  }

  /** Nothing: which of the connections are idle, only their agent knows. */
  forget(): void {}

  close(): void {
    this.#roomy?.destroy();
    this.#roomy = undefined;
  }

  /** What stands open or is urgent must not be in line behind the rest; only a plain agent can be copied. */
  #agent(secure: boolean, apart: boolean): http.Agent {
    const own = this.#transport.agent;
    const Agent: typeof http.Agent = secure ? https.Agent : http.Agent;
    const tight = Number.isFinite(own?.maxSockets) && Object.getPrototypeOf(own) === Agent.prototype;
    if (own !== undefined && !(apart && tight)) return own;
    if (this.#roomy === undefined) {
      const { options } = own as { options?: object } ?? {};
      this.#roomy = new Agent({
        ...options,
        keepAlive: true,
        maxSockets: Infinity,
        maxTotalSockets: Infinity,
      });
      if (own !== undefined) this.#roomy.createConnection = (...args) => own.createConnection(...args);
    }
    return this.#roomy;
  }
}
