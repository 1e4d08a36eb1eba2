import type { LockedEvent } from "../../../mod.ts";
import { acquired, next, record, waiter } from "../actions.ts";
import { equal, ok, until, within } from "../assert.ts";
import { type Group, group } from "../group.ts";
import type { Scene } from "../scene.ts";

/** Being told of every grant and end, whoever the holder is. */
export const watching: Group = group("watch", {
  // Goes red if: the watch stands only after `ready`, or reports our own locks only.
  async "somebody else's grant and release are told"(scene: Scene) {
    const [a, b] = await scene.pair();
    await using watch = a.watch("k");
    await within(watch.ready, "the watch to stand");
    const locked = next<LockedEvent>(watch, "locked");
    const lock = await acquired(b, "k", { metadata: { who: "b" } });
    const { key, token, metadata } = await locked;
    equal([key, token, metadata], ["k", lock.token, { who: "b" }], "the event");
    const unlocked = next<Event & { key?: string }>(watch, "unlocked");
    await lock.release();
    equal((await unlocked).key, "k", "the event");
  },

  async "it starts with the next change"(scene: Scene) {
    const [a, b] = await scene.pair();
    const lock = await acquired(b, "k");
    await using watch = a.watch("k");
    const events = record(watch, ["locked", "unlocked"]);
    await within(watch.ready, "the watch to stand");
    const unlocked = next(watch, "unlocked");
    await lock.release();
    await unlocked;
    equal(events.map(({ type }) => type), ["unlocked"], "events");
  },

  // Goes red if: a hand-over, which leaves the key held throughout, is not told.
  async "a hand-over is an end and a grant"(scene: Scene) {
    const [a, b] = await scene.pair();
    const first = await acquired(b, "k");
    const { lock: second } = await waiter(a, "k");
    await using watch = a.watch("k");
    const events = record(watch, ["locked", "unlocked"]);
    await within(watch.ready, "the watch to stand");
    await first.release();
    const { token } = await second;
    await until("both are told", () => events.length >= 2);
    equal(events.map(({ type }) => type), ["unlocked", "locked"], "events");
    equal((events[1] as LockedEvent).token, token, "the token");
  },

  // Goes red if: an expiry that nobody's call brings to light is not told.
  async "an expiry is told"(scene: Scene) {
    const cut = await scene.severable();
    const a = await scene.manager();
    const b = await scene.manager({ ttl: scene.steady }, cut.backend);
    await using watch = a.watch("k");
    await within(watch.ready, "the watch to stand");
    const events = record(watch, ["locked", "unlocked"]);
    let lock = await acquired(b, "k", { renew: false });
    // Not the first event, maybe: a grant that comes too late to be proven is given back. And not this grant, if
    // nobody has looked before its end.
    await until("a grant is told", async () => {
      if ((events.at(-1) as LockedEvent | undefined)?.token === lock.token) return true;
      if (!lock.held) lock = await acquired(b, "k", { renew: false });
      return false;
    });
    const unlocked = next(watch, "unlocked");
    await cut.cut();
    await unlocked;
    ok(!lock.held, "the lock that expired");
  },

  async "a watch that was closed tells nothing"(scene: Scene) {
    const [a, b] = await scene.pair();
    const closed = a.watch("k");
    await using open = a.watch("k");
    await within(Promise.all([closed.ready, open.ready]), "the watches to stand");
    const events = record(closed, ["locked", "unlocked"]);
    await closed[Symbol.asyncDispose]();
    const locked = next(open, "locked");
    await acquired(b, "k");
    await locked;
    equal(events, [], "events of the closed watch");
  },

  async "other keys are not told"(scene: Scene) {
    const [a, b] = await scene.pair();
    await using watch = a.watch("k");
    const events = record(watch, ["locked", "unlocked"]);
    await within(watch.ready, "the watch to stand");
    await (await acquired(b, "k2")).release();
    await (await acquired(b, "k/1")).release();
    const locked = next(watch, "locked");
    await acquired(b, "k");
    await locked;
    equal(events.map(({ type }) => type), ["locked"], "events");
  },

  // Goes red if: a watch that has failed is not opened again, or does not look at what it missed.
  async "an outage is told, and what happened during it"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({}, faulty);
    const b = await scene.manager();
    await using watch = a.watch("k");
    await within(watch.ready, "the watch to stand");
    faulty.rule = () => "refuse";
    const error = next(watch, "error");
    faulty.cut();
    await error;
    const lock = await acquired(b, "k");
    const locked = next<LockedEvent>(watch, "locked");
    faulty.heal();
    equal((await locked).token, lock.token, "the token");
  },
});
