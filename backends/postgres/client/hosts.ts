import { clearTimeout, setTimeout } from "node:timers";
import type { Link, LinkRequest, Opener } from "./link.ts";
import type { Address, Host } from "./options.ts";
import { openServer } from "./ours.ts";

/** Milliseconds that a server has for itself before the next one is tried beside it. */
const HEAD_START = 1_000;

/**
 * Opens connections of our own to that server of an address which can be written to. The first to be tried is the
 * one after that which the last connection led to, once that has ended: it may have become a standby.
 */
export function opener(address: Address): Opener {
  const { hosts } = address;
  if (hosts.length === 1) return (request) => openInTime(address, hosts[0]!, request);
  let first = 0;
  return async (request) => {
    const order = hosts.map((_, n) => (first + n) % hosts.length);
    const [at, link] = await firstOf(order, request.abandoned, (at, abandoned) => {
      first = at;
      const down = (error: unknown) => {
        first = (at + 1) % hosts.length;
        request.down(error);
      };
      return openInTime(address, hosts[at]!, { ...request, abandoned, down });
    });
    first = at;
    return {
      query: (text) => link.query(text),
      pid: link.pid,
      close() {
        first = (at + 1) % hosts.length;
        link.close();
      },
    };
  };
}

function firstOf(
  order: readonly number[],
  abandoned: AbortSignal,
  open: (at: number, abandoned: AbortSignal) => Promise<Link>,
): Promise<[at: number, link: Link]> {
  const over = new AbortController();
  const signal = AbortSignal.any([abandoned, over.signal]);
  const left = [...order];
  const errors: unknown[] = [];
  return new Promise((resolve, reject) => {
    const next = () => {
      const at = left.shift();
      if (at === undefined || signal.aborted) return;
      const later = setTimeout(next, HEAD_START).unref();
      open(at, signal).then((link) => {
        clearTimeout(later);
        if (over.signal.aborted) return link.close();
        resolve([at, link]);
        over.abort();
      }, (error) => {
        clearTimeout(later);
        if (abandoned.aborted) return reject(error);
        errors.push(error);
        if (errors.length === order.length) reject(telling(errors));
        next();
      });
    };
    next();
  });
}

/** What a server has refused tells more than that another one cannot be reached. */
function telling(errors: readonly unknown[]): unknown {
  return errors.find((error) => /^[\dA-Z]{5}$/.test(`${(error as { code?: unknown }).code}`)) ??
    errors.at(-1);
}

async function openInTime(address: Address, host: Host, request: LinkRequest): Promise<Link> {
  if (address.connectTimeout === Infinity) return await openServer(address, host, request);
  const late = new AbortController();
  const timer = setTimeout(
    () => late.abort(new Error(`the server has not answered for ${address.connectTimeout} ms`)),
    address.connectTimeout,
  ).unref();
  try {
    const abandoned = AbortSignal.any([request.abandoned, late.signal]);
    return await openServer(address, host, { ...request, abandoned });
  } finally {
    clearTimeout(timer);
  }
}
