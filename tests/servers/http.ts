/** HTTP to a server under test: one connection a request, so that nothing lingers. */

import { request } from "node:http";

/** Sends a request and returns the body of a 2xx reply. */
export function http(method: string, url: string, body?: unknown, timeout = 5_000): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = request(url, { method, agent: false, timeout }, (reply) => {
      let text = "";
      reply.setEncoding("utf8");
      reply.on("data", (part) => text += part);
      reply.on("error", reject);
      reply.on("end", () => {
        const status = reply.statusCode ?? 0;
        if (status >= 200 && status < 300) resolve(text);
        else reject(new Error(`${method} ${url}: ${status} ${text.trim()}`));
      });
    });
    call.on("timeout", () => call.destroy(new Error(`${method} ${url}: no reply in ${timeout} ms`)));
    call.on("error", reject);
    call.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
