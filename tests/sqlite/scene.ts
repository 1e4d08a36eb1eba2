import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sqlite } from "../../backends/sqlite.ts";
import type { Backend, Lease } from "../../internal/backend.ts";
import { CALL, request } from "../support.ts";

/** A folder with a lock file, and whatever of it was opened. */
export class Scene implements AsyncDisposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), "holdfast-"));
  readonly path: string = join(this.folder, "locks.db");
  readonly #opened: Backend[] = [];
  /** What is the core's part otherwise: backends keep no process alive. */
  readonly #alive = setInterval(() => {}, 60_000);

  backend(path: string | URL = this.path): Backend {
    const backend = sqlite(path);
    this.#opened.push(backend);
    return backend;
  }

  lease(backend: Backend = this.backend(), ttl = 10_000): Promise<Lease> {
    return backend.lease(request(ttl), CALL);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const backend of this.#opened) await backend[Symbol.asyncDispose]();
    clearInterval(this.#alive);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
