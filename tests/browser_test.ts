/** The core with `memory()` in a browser, by whichever bundler: each runtime's tests try some of them. */
import assert from "node:assert/strict";
import { copyFileSync, existsSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { bundle, bundlers } from "./browser/bundlers.ts";
import { show } from "./browser/chromium.ts";
import { chosenStores } from "./runner/files.ts";
import { thisRuntime } from "./servers/script.ts";

const skip = !chosenStores().includes("memory")
  ? "memory is not among BACKENDS"
  : process.platform !== "linux" && "Chromium is had from Debian";

for (const bundler of bundlers.filter(({ runtime }) => runtime === thisRuntime)) {
  test(
    `${bundler.name}: bundles without a warning, and it locks in Chromium`,
    { skip, timeout: 240_000 },
    async () => {
      const folder = mkdtempSync(join(tmpdir(), "holdfast-bundle-"));
      try {
        assert.deepEqual(await bundle(bundler, folder), []);
        // The page asks for the default, over SQLite; its workers do not.
        const workers = globSync(`${folder}/**/{worker,keeper}*.js`);
        assert.equal(workers.length, 2);
        for (const file of workers) assert.doesNotMatch(readFileSync(file, "utf8"), /PRAGMA/, file);
        const page = join(folder, "index.html");
        if (!existsSync(page)) {
          copyFileSync(fileURLToPath(new URL("./browser/index.html", import.meta.url)), page);
        }
        assert.deepEqual(await show(folder), []);
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );
}
