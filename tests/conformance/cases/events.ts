import type { AcquiredEvent, LockErrorEvent, ReleasedEvent, WaitingEvent } from "../../../mod.ts";
import { acquired, next, record, waiter } from "../actions.ts";
import { equal, matches, ok } from "../assert.ts";
import { type Group, group } from "../group.ts";
import type { Scene } from "../scene.ts";

const ALL = ["waiting", "acquired", "renewed", "released", "lost", "error"];

/** What a manager tells of its locks. */
export const events: Group = group("events", {
  async "waiting, acquired, renewed, released, in this order, with their fields"(scene: Scene) {
    const [a, b] = await scene.pair({ ttl: scene.long }); // which no heartbeat renews meanwhile
    const told = record(b, ALL);
    const first = await acquired(a, "k");
    const { lock: waiting } = await waiter(b, "k");
    await first.release();
    const lock = await waiting;
    const own = record(lock, ALL);
    await lock.renew();
    await lock.release();
    equal(
      told.map(({ type }) => type),
      ["waiting", "acquired", "renewed", "released"],
      "the manager's events",
    );
    equal(own.map(({ type }) => type), ["renewed", "released"], "the lock's events");
    const [waits, granted, , released] = told as [WaitingEvent, AcquiredEvent, Event, ReleasedEvent];
    equal([waits.key, granted.key, granted.token], ["k", "k", lock.token], "keys and token");
    ok(granted.waited >= 0 && granted.waited < 1e6, `waited ${granted.waited} ms`);
    equal([released.key, released.token], ["k", lock.token], "key and token");
    ok(released.lasted >= 0 && released.lasted < 1e6, `lasted ${released.lasted} ms`);
  },

  async "what is granted at once has not waited"(scene: Scene) {
    const a = await scene.manager({ ttl: scene.long });
    const told = record(a, ALL);
    const lock = await acquired(a, "k");
    equal(told.map(({ type }) => type), ["acquired"], "events");
    equal(await a.tryAcquire("k"), undefined, "tryAcquire");
    equal(told.length, 1, "events of a refusal");
    await lock.release();
    equal(told.map(({ type }) => type), ["acquired", "released"], "events");
  },

  // Goes red if: an event is sent before the state and the signal have changed.
  async "state changes first, then the signal, then events"(scene: Scene) {
    const a = await scene.manager();
    const lock = await acquired(a, "k");
    const order: string[] = [];
    lock.signal.addEventListener("abort", () => order.push(`abort, held ${lock.held}`));
    lock.addEventListener("released", () => order.push(`released, aborted ${lock.signal.aborted}`));
    await lock.release();
    equal(order, ["abort, held false", "released, aborted true"], "the order");
    matches(lock.signal.reason, { name: "LockReleasedError", code: "released" }, "the signal's reason");
  },

  // Goes red if: `await using` throws, which would mask what the body threw.
  async "a release on leaving the scope that fails is an event, not an error"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({ retryFor: 0 }, faulty);
    const lock = await acquired(a, "k");
    faulty.rule = (verb) => verb === "release" ? "refuse" : "pass";
    const error = next<LockErrorEvent>(a, "error");
    await lock[Symbol.asyncDispose]();
    const event = await error;
    equal(event.key, "k", "the event's key");
    matches(event.error, { code: "backend" }, "the event's error");
    equal(lock.held, false, "the lock");
  },

  async "failed calls of a waiting acquisition are told"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({ retryFor: 60_000 }, faulty);
    let left = 1;
    faulty.rule = (verb) => verb === "attempt" && left-- > 0 ? "refuse" : "pass";
    const error = next<LockErrorEvent>(a, "error");
    await acquired(a, "k");
    const event = await error;
    equal(event.key, "k", "the event's key");
    matches(event.error, { code: "backend" }, "the event's error");
  },
});
