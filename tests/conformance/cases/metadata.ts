import { acquired } from "../actions.ts";
import { equal, rejects } from "../assert.ts";
import { type Group, group } from "../group.ts";
import type { AcquireOptions, Scene } from "../scene.ts";

/** What a holder says of itself. */
export const metadata: Group = group("metadata", {
  async "any JSON comes back as it was"(scene: Scene) {
    const [a, b] = await scene.pair();
    const values: NonNullable<AcquireOptions["metadata"]>[] = [
      "",
      0,
      -1.5e300,
      false,
      [],
      {},
      'a "quoted" \\ line\nwith a NUL \0, \u2028 and 🔒, and a lone \ud800',
      { "": null, "a/b": [1, [2, { deep: true }]], "${x} %s {}": "%00" },
    ];
    for (const value of [null, ...values]) {
      const lock = await acquired(a, "k", { metadata: value });
      equal(lock.metadata, value, "on the lock");
      equal((await b.inspect("k"))?.holders[0]?.metadata, value, "for others");
      await lock.release();
    }
  },

  async "none is undefined; the manager's stands in for the acquisition's"(scene: Scene) {
    const a = await scene.manager();
    const b = await scene.manager({ metadata: { host: "b" } });
    const none = await acquired(a, "k");
    equal(none.metadata, undefined, "no metadata");
    equal((await b.inspect("k"))?.holders[0]?.metadata, undefined, "no metadata, for others");
    await none.release();
    const common = await acquired(b, "k");
    equal((await a.inspect("k"))?.holders[0]?.metadata, { host: "b" }, "the manager's");
    await common.release();
    await acquired(b, "k", { metadata: "own" });
    equal((await a.inspect("k"))?.holders[0]?.metadata, "own", "the acquisition's");
  },

  async "4 KiB are accepted, more are not"(scene: Scene) {
    const [a, b] = await scene.pair();
    const full = "é".repeat(2_047); // with its quotes 4 096 bytes of UTF-8
    const lock = await acquired(a, "k", { metadata: full });
    equal((await b.inspect("k"))?.holders[0]?.metadata, full, "4 KiB, for others");
    await lock.release();
    await rejects(
      a.acquire("k", { metadata: `${full}x` }),
      { name: "RangeError", says: "metadata" },
      "4 KiB and a byte",
    );
    equal(await b.inspect("k"), undefined, "the key");
  },
});
