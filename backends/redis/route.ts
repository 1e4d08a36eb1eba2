import { BackendError } from "../../internal/errors.ts";
import { isObject } from "../../internal/checks.ts";
import { type Destination, destination, place, type RedisAddress } from "./address.ts";
import { isClient, isClusterClient, openClient, type RedisClient } from "./client_link.ts";
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
  /** Whether it is known to lead to a Cluster. */
  readonly cluster: boolean;
}

/**
 * Finds out what a target is.
 *
 * @throws {TypeError | RangeError} If it is no address.
 */
export function route(target: RedisTarget): Route {
  if (typeof target === "function") {
    isClient(target); // refuses a class
    return {
      open: async (request) => await open(located(await target()), request),
      place: "where the locator says",
      cluster: false,
    };
  }
  if (isObject(target) && isClient(target)) {
    return {
      open: (request) => openClient(target, request),
      place: "a client handed in",
      cluster: isClusterClient(target),
    };
  }
  const to = destination(target);
  return { open: (request) => open(to, request), place: place(to), cluster: "cluster" in to };
}

/** Reads what a locator has returned. */
function located(address: RedisAddress): Destination {
  try {
    if (isObject(address) && isClient(address)) throw new TypeError("Cannot use a client as a Redis address");
    return destination(address);
  } catch (error) {
    throw new BackendError(`Cannot use what the locator of Redis has returned: ${(error as Error).message}`, {
      cause: error,
      retryable: false,
    });
  }
}

function open(to: Destination, request: LinkRequest): Promise<Link> {
  return "server" in to ? openServer(to.server, request) : openCluster(to.cluster, request);
}
