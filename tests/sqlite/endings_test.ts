/** The endings of a holder, asked about from the runtime that this runs on; `deno task faults sqlite` tries all. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { own } from "./child.ts";
import { cells, fates, tryAll, wants } from "./endings.ts";

// Red if: anything but the end of a holder frees its lock, or that does not, or a want of the one who asks does.
test(
  "only the end of a holder frees its lock before the ttl, whoever asks",
  { timeout: 300_000 },
  async () => {
    const chosen = cells.filter(({ asker }) => asker.name === own().name);
    const results = await tryAll(chosen);
    assert.equal(results.size, fates.length * wants.length);
    for (const [{ fate, want, holder }, result] of results) {
      const what = `${fate.name} (${holder.name}), asked with ${want}`;
      assert.ok(!(result instanceof Error), `${what}: ${result instanceof Error && result.stack}`);
      assert.equal(result === "kept", !fate.ends, what);
    }
  },
);
