import { randomUUID } from "node:crypto";
import type { Backend, Call, Claim, Lease, LossReason } from "../../internal/backend.ts";

/** A call with time enough. */
export const CALL: Call = { signal: new AbortController().signal, timeout: 5_000 };

/** A claim as the core makes them. */
export function claim(options: Partial<Claim> = {}): Claim {
  return {
    id: randomUUID(),
    key: "holdfast/k",
    mode: "exclusive",
    limit: 1,
    ttl: 10_000,
    metadata: undefined,
    client: "lab",
    steal: false,
    wait: true,
    progress: "new",
    ...options,
  };
}

/** The same claim, once the store has acknowledged its place. */
export function entered(one: Claim): Claim {
  return { ...one, progress: "entered" };
}

/** A lease and what it was told of losses. */
export async function open(
  backend: Backend,
  ttl: number = 10_000,
): Promise<{ lease: Lease; lost: [why: LossReason, id?: string][] }> {
  const lost: [why: LossReason, id?: string][] = [];
  const lease = await backend.lease({ ttl, client: "lab", lost: (...what) => lost.push(what) }, CALL);
  return { lease, lost };
}

/** The next event of a name. */
export function next<E extends Event>(target: EventTarget, name: string): Promise<E> {
  return new Promise((resolve) =>
    target.addEventListener(name, (event) => resolve(event as E), { once: true })
  );
}
