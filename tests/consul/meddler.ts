/** A proxy for HTTP before an agent, which answers in its place or changes what it says. */
import http from "node:http";
import type { AddressInfo } from "node:net";
import { HOST } from "../servers/process.ts";

/** A request, as it came. */
export interface Asked {
  readonly method: string;
  /** Undecoded, with the query. */
  readonly path: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** A reply. */
export interface Said {
  readonly status: number;
  readonly headers?: http.OutgoingHttpHeaders;
  readonly text?: string;
}

/** How it meddles. */
export interface Meddling {
  /** What is said in place of the agent; `undefined`: nothing, and the agent is asked. */
  instead?(asked: Asked): Said | undefined | Promise<Said | undefined>;
  /** What becomes of what the agent says. */
  change?(said: Said, asked: Asked): Said;
}

/** The proxy. */
export class Meddler implements AsyncDisposable {
  /** Every request so far. */
  readonly asked: Asked[] = [];
  /** What it does now. */
  meddling: Meddling;
  readonly #server: http.Server;

  private constructor(port: number, meddling: Meddling) {
    this.meddling = meddling;
    this.#server = http.createServer((request, response) => {
      this.#serve(port, request, response).catch(() => response.destroy());
    });
  }

  /** Before the agent on this port. */
  static async start({ port }: { readonly port: number }, meddling: Meddling = {}): Promise<Meddler> {
    const meddler = new Meddler(port, meddling);
    await new Promise<void>((resolve) => meddler.#server.listen(0, HOST, resolve));
    return meddler;
  }

  /** Where it listens. */
  get url(): string {
    return `http://${HOST}:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Ends everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(port: number, request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const { method = "", url: path = "", headers } = request;
    const body = (await request.toArray()).join("");
    const asked = { method, path, headers, body };
    this.asked.push(asked);
    let said = await this.meddling.instead?.(asked);
    if (said === undefined) {
      const reply = await forward(port, asked);
      said = this.meddling.change?.(reply, asked) ?? reply;
    }
    response.writeHead(said.status, said.headers).end(said.text);
  }
}

function forward(port: number, { method, path, headers, body }: Asked): Promise<Said> {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: HOST, port, method, path, headers, agent: false }, async (reply) => {
      const { "transfer-encoding": _, connection: __, ...headers } = reply.headers;
      const text = (await reply.toArray()).join("");
      resolve({ status: reply.statusCode!, headers, text });
    });
    request.once("error", reject);
    request.end(body);
  });
}
