import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sqlite } from "../../backends/sqlite.ts";
import type { Backend, Call, Claim, Lease, LossReason } from "../../internal/backend.ts";

/** A call that nobody gives up. */
export const call: Call = { signal: new AbortController().signal, timeout: 10_000 };

/** A claim to an exclusive lock that waits, unless said otherwise. */
export function claim(options: Partial<Claim> = {}): Claim {
  return {
    id: crypto.randomUUID(),
    key: "holdfast/k",
    mode: "exclusive",
    limit: 1,
    ttl: 10_000,
    metadata: undefined,
    client: "client",
    steal: false,
    wait: true,
    progress: "new",
    ...options,
  };
}

/** A folder with a lock file, and whatever of it was opened. */
export class Scene implements AsyncDisposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), "holdfast-"));
  readonly path: string = join(this.folder, "locks.db");
  readonly #opened: Backend[] = [];
  /** What is the core's part otherwise: backends keep no process alive. */
  readonly #alive = setInterval(() => {}, 60_000);
  /** What the leases were told. */
  readonly lost: { why: LossReason; id: string | undefined }[] = [];

  backend(path: string | URL = this.path): Backend {
    const backend = sqlite(path);
    this.#opened.push(backend);
    return backend;
  }

  lease(backend: Backend = this.backend(), ttl = 10_000): Promise<Lease> {
    const lost = (why: LossReason, id?: string) => void this.lost.push({ why, id });
    return backend.lease({ ttl, client: "client", lost }, call);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const backend of this.#opened) await backend[Symbol.asyncDispose]();
    clearInterval(this.#alive);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
