import { acquired, waiter } from "../actions.ts";
import { equal, ok } from "../assert.ts";
import { type Group, group } from "../group.ts";
import type { Scene } from "../scene.ts";

/** Looking without touching. */
export const inspecting: Group = group("inspect", {
  async "nobody there is undefined"(scene: Scene) {
    const a = await scene.manager();
    equal(await a.inspect("k"), undefined, "inspect");
  },

  async "anyone sees who holds and who waits, in queue order"(scene: Scene) {
    const [a, b] = await scene.pair();
    const stranger = await scene.manager();
    const lock = await acquired(a, "k", { metadata: { who: "holder" }, mode: "shared" });
    const { lock: waiting } = await waiter(b, "k", { metadata: ["writer"] });
    const seen = await stranger.inspect("k");
    ok(seen, "somebody is there");
    equal(seen.key, "k", "the key");
    const [holder, ...others] = seen.holders;
    ok(holder && others.length === 0, "one holder");
    equal(
      [holder.id, holder.mode, holder.limit, holder.metadata, holder.token],
      [lock.id, "shared", Infinity, { who: "holder" }, lock.token],
      "the holder",
    );
    const { remaining } = holder;
    ok(remaining === undefined || (remaining >= 0 && remaining <= lock.ttl), `remaining is ${remaining}`);
    if (scene.traits.order === "fifo") {
      equal(seen.waiters.map(({ mode, limit, metadata }) => [mode, limit, metadata]), [["exclusive", 1, [
        "writer",
      ]]], "waiters");
      equal(seen.waiters[0]?.token, undefined, "the token of a waiter");
    }
    await lock.release();
    const writer = await waiting;
    const after = await stranger.inspect("k");
    equal(
      after?.holders.map(({ id, token }) => [id, token]),
      [[writer.id, writer.token]],
      "the holder afterwards",
    );
    equal(after?.waiters, [], "waiters afterwards");
  },

  async "it can be written as JSON"(scene: Scene) {
    const a = await scene.manager();
    const lock = await acquired(a, "k", { metadata: 1 });
    const seen = JSON.parse(JSON.stringify(await a.inspect("k")));
    equal(seen.key, "k", "the key");
    equal(seen.holders[0].token, String(lock.token), "the token");
    equal(seen.waiters, [], "waiters");
  },

  // Goes red if: a look leaves a claim, or renews one.
  async "looking changes nothing"(scene: Scene) {
    const [a, b] = await scene.pair();
    for (let round = 0; round < 3; round++) await b.inspect("k");
    const lock = await a.tryAcquire("k");
    ok(lock, "the key is free");
    for (let round = 0; round < 3; round++) await b.inspect("k");
    await lock.release();
    equal(await b.inspect("k"), undefined, "the key after its release");
  },

  async "query shows the whole prefix, whoever holds"(scene: Scene) {
    const [a, b] = await scene.pair();
    await acquired(a, "k1");
    await acquired(b, "k/2", { mode: "shared" });
    await waiter(b, "k1");
    const { held, pending } = await a.query();
    const names = (held ?? []).map(({ name, mode }) => [name, mode]).sort();
    equal(names, [["k/2", "shared"], ["k1", "exclusive"]], "held");
    ok(new Set((held ?? []).map(({ clientId }) => clientId)).size === 2, "two managers are two clients");
    if (scene.traits.order === "fifo") {
      equal((pending ?? []).map(({ name, mode }) => [name, mode]), [["k1", "exclusive"]], "pending");
    }
  },
});
