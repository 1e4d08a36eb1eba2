import type { Backend, Call, Entry, Lease, LeaseRequest, Traits, Watcher } from "./backend.ts";
import { BackendError } from "./errors.ts";

/** A backend whose module is loaded at its first call: only its name and traits are known before. */
export function deferred(name: string, traits: Traits, load: () => Promise<Backend>): Backend {
  return new DeferredBackend(name, traits, load);
}

class DeferredBackend implements Backend {
  readonly name: string;
  readonly traits: Traits;
  readonly #load: () => Promise<Backend>;
  #loading: Promise<Backend> | undefined;

  constructor(name: string, traits: Traits, load: () => Promise<Backend>) {
    this.name = name;
    this.traits = traits;
    this.#load = load;
  }

  async lease(request: LeaseRequest, call: Call): Promise<Lease> {
    return await (await this.#backend()).lease(request, call);
  }

  async list(scope: string, call: Call): Promise<Entry[]> {
    return await (await this.#backend()).list(scope, call);
  }

  async watch(key: string, watcher: Watcher, call: Call): Promise<AsyncDisposable> {
    return await (await this.#backend()).watch(key, watcher, call);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#loading)?.[Symbol.asyncDispose]();
  }

  #backend(): Promise<Backend> {
    return this.#loading ??= this.#load().catch((cause) => {
      this.#loading = undefined;
      // What the backend itself says is to the point already; the rest is about its module.
      if (cause instanceof BackendError) throw cause;
      const advice = "If this runtime lacks what it needs, make a LockManager over another one";
      const why = `${cause?.message ?? cause}. ${advice}`;
      throw new BackendError(`Cannot load the ${this.name} backend: ${why}`, { cause, retryable: false });
    });
  }
}
