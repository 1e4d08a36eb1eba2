import { isObject } from "../../internal/checks.ts";
import { refused } from "../shared/errors.ts";
import { openCluster } from "./client/cluster_link.ts";
import { type Destination, destination, place, type RedisAddress } from "./client/destination.ts";
import { isClient, isClusterClient, openClient, type RedisClient } from "./client/handed_in.ts";
import type { Link, LinkRequest, Route } from "./client/link.ts";
import { openServer } from "./client/server_link.ts";

export type { RedisAddress } from "./client/destination.ts";

/** Where Redis is: an address, a client of yours, or a function that is asked at every (re)connection. */
export type RedisTarget = RedisAddress | RedisClient | (() => Promise<RedisAddress>);

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
      named: false,
      cluster: false,
    };
  }
  if (isObject(target) && isClient(target)) {
    return {
      open: (request) => openClient(target, request),
      place: "a client handed in",
      named: false,
      cluster: isClusterClient(target),
    };
  }
  const to = destination(target);
  return { open: (request) => open(to, request), place: place(to), named: true, cluster: "cluster" in to };
}

/** Reads what a locator has returned. */
function located(address: RedisAddress): Destination {
  try {
    if (isObject(address) && isClient(address)) throw new TypeError("Cannot use a client as a Redis address");
    return destination(address);
  } catch (error) {
    const said = (error as Error).message;
    throw refused("use what the locator of Redis has returned", said, { retryable: false }, error);
  }
}

function open(to: Destination, request: LinkRequest): Promise<Link> {
  return "server" in to ? openServer(to.server, request) : openCluster(to.cluster, request);
}
