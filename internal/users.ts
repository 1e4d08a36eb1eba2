import type { Backend } from "./backend.ts";

/** How many managers use each backend. */
const users = new WeakMap<Backend, number>();

/**
 * Counts one more user of a backend. What is returned counts it off again, once: the last one to leave
 * disposes of the backend.
 */
export function use(backend: Backend): () => Promise<void> {
  users.set(backend, (users.get(backend) ?? 0) + 1);
  let leaving: Promise<void> | undefined;
  return () => leaving ??= leave(backend);
}

async function leave(backend: Backend): Promise<void> {
  const left = users.get(backend)! - 1;
  users.set(backend, left);
  if (left === 0) await backend[Symbol.asyncDispose]();
}
