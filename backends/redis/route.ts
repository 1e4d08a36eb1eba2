import { type Destination, destination, place, type RedisAddress } from "./address.ts";
import { isClient, openClient, type RedisClient } from "./client_link.ts";
import { openCluster } from "./cluster_link.ts";
import type { Link, LinkRequest, Opener } from "./link.ts";
import { openServer } from "./server_link.ts";

/** Where Redis is: an address, a client of yours, or a function that is asked at every (re)connection. */
export type RedisTarget = RedisAddress | RedisClient | (() => Promise<RedisAddress>);

/** How to get to a target, and what to call it in messages. */
export interface Route {
  /** Opens a link. */
  readonly open: Opener;
  /** Without credentials. */
  readonly place: string;
}

/**
 * Finds out what a target is.
 *
 * @throws {TypeError} If it is no address.
 */
export function route(target: RedisTarget): Route {
  if (typeof target === "function") {
    return {
      open: async (request) => await open(destination(await target()), request),
      place: "where the locator says",
    };
  }
  if (typeof target === "object" && isClient(target)) {
    return { open: (request) => openClient(target, request), place: "a client handed in" };
  }
  const to = destination(target);
  return { open: (request) => open(to, request), place: place(to) };
}

function open(to: Destination, request: LinkRequest): Promise<Link> {
  return "server" in to ? openServer(to.server, request) : openCluster(to.cluster, request);
}
