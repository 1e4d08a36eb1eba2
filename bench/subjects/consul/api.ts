/** Consul's API as one would call it by hand: one kept-alive connection, nothing else. */
import http from "node:http";

/** What came back. */
export interface Answer {
  readonly text: string;
  /** `X-Consul-Index`. */
  readonly index: string;
}

/** Calls an agent. */
export class Bare {
  readonly #host: string;
  readonly #port: string;
  readonly #agent = new http.Agent({ keepAlive: true });

  constructor(url: string) {
    ({ hostname: this.#host, port: this.#port } = new URL(url));
  }

  ask(method: string, path: string, body = ""): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const request = http.request({
        agent: this.#agent,
        host: this.#host,
        port: this.#port,
        method,
        path: `/v1/${path}`,
        headers: method === "GET" ? {} : { "content-length": body.length },
      }, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk) => text += chunk);
        response.on("error", reject);
        response.on("end", () => resolve({ text, index: String(response.headers["x-consul-index"]) }));
      });
      request.on("error", reject);
      request.end(body);
    });
  }

  /** A session as locks need it. */
  async session(): Promise<string> {
    const body = JSON.stringify({ TTL: "300s", Behavior: "delete", LockDelay: "0s", Checks: [] });
    const { text } = await this.ask("PUT", "session/create", body);
    return JSON.parse(text).ID;
  }

  close(): void {
    this.#agent.destroy();
  }
}
