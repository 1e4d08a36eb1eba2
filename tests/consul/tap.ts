/** Looks at the requests that pass a proxy. */
import type { Proxy } from "../servers/proxy.ts";

/** One request. */
export interface Request {
  readonly method: string;
  readonly path: string;
  /** The whole chunk, head and body. */
  readonly text: string;
}

/** Every request from now on, until the proxy is healed. Call it before anything is arranged to be lost. */
export function tap(proxy: Proxy): Request[] {
  const requests: Request[] = [];
  void proxy.loseRequest((text) => {
    for (const [, method = "", path = ""] of text.matchAll(/^(GET|PUT|DELETE) (\S+) HTTP\/1\.1\r$/gm)) {
      requests.push({ method, path: decodeURIComponent(path), text });
    }
    return false; // none is lost
  });
  return requests;
}

/** Renewals of sessions and what they read, by which locks are kept and not taken. */
export function isUpkeep({ path, text }: Request): boolean {
  return path.includes("/session/renew/") || path.includes("&keys") || path.includes("?keys") ||
    (path.startsWith("/v1/txn?consistent") && !/"Key":"[^"]*\/"/.test(text)); // entries, and no queue;
}
