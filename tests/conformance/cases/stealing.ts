import { acquired, next, over, standing, waiter } from "../actions.ts";
import { equal, matches, ok } from "../assert.ts";
import { type Group, group } from "../group.ts";
import type { Scene } from "../scene.ts";

/** Taking a lock by force. */
export const stealing: Group = group("steal", {
  // Goes red if: the victim keeps its place, is not told, or is told something else.
  async "a thief holds at once, and the victim learns it"(scene: Scene) {
    const [a, b] = await scene.pair();
    const victim = await acquired(a, "k");
    const thief = await acquired(b, "k", { steal: true });
    ok(thief.held, "the thief holds");
    ok(thief.token > victim.token, `the thief's token ${thief.token} is greater than ${victim.token}`);
    matches(await over(victim), { name: "LockLostError", why: "stolen" }, "the victim's signal");
    equal(await victim.release(), false, "the victim's release");
    await thief.renew();
    equal((await a.inspect("k"))?.holders.map(({ id }) => id), [thief.id], "the holder");
  },

  async "tryAcquire can steal, and what is free can be stolen"(scene: Scene) {
    const [a, b] = await scene.pair();
    const free = await b.tryAcquire("k", { steal: true });
    ok(free?.held, "the free lock");
    const stolen = await a.tryAcquire("k", { steal: true });
    ok(stolen?.held, "the stolen lock");
    ok(stolen.token > free.token, "tokens rise");
  },

  // Goes red if: the thief's token is its order number while waiters before it are served later.
  async "waiters before the thief are served after it, with greater tokens"(scene: Scene) {
    const [a, b] = await scene.pair();
    const victim = await acquired(a, "k");
    const { lock: first } = await waiter(a, "k", { metadata: "waiter" });
    const thief = await acquired(b, "k", { steal: true, metadata: "thief" });
    equal((await standing(b, "k")).held, ["thief"], "the holder");
    await over(victim);
    await thief.release();
    const served = await first;
    ok(served.token > thief.token, `the waiter's token ${served.token} is greater than ${thief.token}`);
    await served.renew();
    await served.release();
    equal(await b.inspect("k"), undefined, "the key in the end");
  },

  // Goes red if: only the first holder is removed.
  async "all holders are removed in one step"(scene: Scene) {
    const [a, b] = await scene.pair();
    const victims = [await acquired(a, "k", { mode: "shared" }), await acquired(b, "k", { mode: "shared" })];
    const lost = victims.map((victim) => next(victim, "lost"));
    const thief = await acquired(b, "k", { steal: true });
    equal((await a.inspect("k"))?.holders.map(({ id }) => id), [thief.id], "holders");
    for (const victim of victims) matches(await over(victim), { why: "stolen" }, "a victim's signal");
    await Promise.all(lost);
  },

  async "of two thieves the later one has it"(scene: Scene) {
    const [a, b] = await scene.pair();
    const first = await acquired(a, "k", { steal: true });
    const second = await acquired(b, "k", { steal: true });
    ok(second.token > first.token, "tokens rise");
    matches(await over(first), { why: "stolen" }, "the first thief's signal");
    equal((await a.inspect("k"))?.holders.map(({ id }) => id), [second.id], "the holder");
  },
});
