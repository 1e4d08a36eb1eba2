/** What a way to Consul has to lead to. */
import assert from "node:assert/strict";
import type { Backend } from "../../internal/backend.ts";
import { BackendError, LockManager } from "../../mod.ts";

/** Everything that a lock needs of Consul. */
export async function works(locks: LockManager): Promise<void> {
  await using watch = locks.watch("k");
  await watch.ready;
  const lock = await locks.acquire("k", { metadata: "me" });
  const waiting = locks.acquire("k");
  assert.equal(await locks.tryAcquire("k"), undefined);
  assert.equal((await locks.inspect("k"))?.holders[0]?.metadata, "me");
  assert.equal((await locks.query()).held.length, 1);
  await lock.renew();
  assert.equal(await lock.release(), true);
  const second = await waiting;
  const thief = await locks.acquire("k", { steal: true });
  assert.equal(await second.release(), false);
  assert.equal(await thief.release(), true);
}

/** What a manager over this backend is refused with. */
export async function refusal(backend: Backend): Promise<BackendError> {
  await using locks = new LockManager(backend, { retryFor: 0 });
  const error = await locks.acquire("k").then(() => undefined, (error) => error);
  assert(error instanceof BackendError, `expected a BackendError, got ${error}`);
  return error;
}
