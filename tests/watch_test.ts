/** A watch that its store refuses for good is told so once, and is over. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { memory } from "../backends/memory.ts";
import { BackendError, type LockErrorEvent, LockManager } from "../mod.ts";
import { next, record } from "./conformance/actions.ts";
import { world } from "./virtual.ts";

const refusal = new BackendError("Cannot watch: this user may not read the key", { retryable: false });
const refuse = () => Promise.reject(refusal);
const away = () => Promise.reject(new Error("away"));

// Goes red if: the error is told with every try again, or the watch waits for a store that will not come.
for (const broken of [{ watch: refuse }, { list: refuse }]) {
  test(`before it stands (${Object.keys(broken)}): ready rejects`, async () => {
    const store = memory();
    await using locks = new LockManager(store);
    Object.assign(store, broken);
    const watch = locks.watch("k");
    const errors = record(watch, ["error"]);
    await assert.rejects(watch.ready, (error) => error === refusal);
    assert.deepEqual(errors.map((event) => (event as LockErrorEvent).error), [refusal]);
  });
}

// Goes red if: only a watch that has never stood is ended.
for (const broken of [{ list: refuse }, { list: away, watch: refuse }]) {
  test(`once it stands (${Object.keys(broken)}): nothing is told after it`, async () => {
    const warnings: string[] = [];
    const { clock, store, locks } = world({ logger: { warn: (message) => void warnings.push(message) } });
    const watch = locks.watch("k");
    const events = record(watch, ["locked", "unlocked", "error"]);
    await watch.ready;
    const told = next<LockErrorEvent>(watch, "error", ({ error }) => error === refusal);
    const real = { list: store.list.bind(store), watch: store.watch.bind(store) };
    Object.assign(store, broken);
    const lock = await locks.acquire("k");
    await clock.pass(100);
    await told;
    Object.assign(store, real);
    await clock.pass(5_000);
    await lock.release();
    await clock.pass(5_000);
    assert.equal((events.at(-1) as LockErrorEvent).error, refusal);
    assert.equal(events.filter((event) => (event as LockErrorEvent).error === refusal).length, 1);
    assert.match(warnings.at(-1)!, /a watch ended/);
    await watch.ready;
  });
}
