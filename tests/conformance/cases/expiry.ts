import { acquired, next, over, record, standing, successor, waiter } from "../actions.ts";
import { equal, fail, matches, ok, pass, rejects, until } from "../assert.ts";
import { type Group, group } from "../group.ts";
import { type Scene, Witness } from "../scene.ts";

/** What time does to a lock. */
export const expiry: Group = group("expiry", {
  // Goes red if: waiting claims or holders are left out of the heartbeat.
  async "a lock that is renewed outlives its ttl, and so does a place in the queue"(scene: Scene) {
    const [a, b] = await scene.pair({ ttl: scene.steady });
    const lock = await acquired(a, "k");
    const place = await waiter(b, "k", { metadata: "patient" });
    const end = performance.now() + 1.5 * lock.ttl;
    while (performance.now() < end) await next(lock, "renewed");
    ok(lock.held, "the renewed lock is held");
    equal((await a.inspect("k"))?.holders.map(({ id }) => id), [lock.id], "the holder");
    if (scene.traits.order === "fifo") equal((await standing(a, "k")).waiting, ["patient"], "the waiter");
    await lock.release();
    await (await place.lock).release();
  },

  // Goes red if: `renew: false` is renewed all the same, or nothing watches its deadline.
  async "a lock that is not renewed ends by itself"(scene: Scene) {
    const [a, b] = await scene.pair();
    const lost = next<Event & { reason?: string; key?: string; token?: bigint }>(a, "lost");
    const lock = await acquired(a, "k", { renew: false, ttl: scene.ttl });
    const { lock: waiting } = await successor(b, "k");
    matches(await over(lock), { name: "LockLostError", code: "lost", why: "expired" }, "the signal's reason");
    const event = await lost;
    equal([event.reason, event.key, event.token], ["expired", "k", lock.token], "the event");
    equal([lock.held, lock.remaining], [false, 0], "the lock after its end");
    const second = await waiting;
    ok(second.token > lock.token, "the successor's token is greater");
    equal(await lock.release(), false, "releasing what was lost");
    ok(second.held, "the successor holds on");
  },

  // The promise itself: the signal aborts before anybody else can get in.
  // Goes red if: `D` is dated from the reply, a failed renewal moves it, or its timer is left out.
  async "a holder that is cut off knows it before its successor holds"(scene: Scene) {
    const partition = await scene.severable();
    const a = await scene.manager({ ttl: scene.ttl }, partition.backend);
    const b = await scene.manager();
    const witness = new Witness();
    const lock = await acquired(a, "k");
    witness.enter(lock);
    const { signal } = lock;
    const { lock: waiting } = await successor(b, "k");
    await partition.cut();
    const second = await waiting;
    ok(signal.aborted, "the signal kept in a variable has aborted by the time the successor holds");
    witness.enter(second);
    matches(signal.reason, { name: "LockLostError", why: "expired" }, "the signal's reason");
    await partition.heal();
    equal(await lock.release(), false, "releasing what was lost");
    ok(second.held, "the successor holds on");
    equal(await b.tryAcquire("k"), undefined, "the key is still taken");
  },

  // Goes red if: the store never drops a waiting claim.
  async "a waiter that is cut off does not hold up the queue for ever"(scene: Scene) {
    const partition = await scene.severable();
    const a = await scene.manager({ ttl: scene.ttl }, partition.backend);
    const b = await scene.manager();
    const holder = await acquired(b, "k");
    const giveUp = new AbortController();
    const gone = await waiter(a, "k", { signal: giveUp.signal });
    const { lock } = await waiter(b, "k");
    await partition.cut();
    giveUp.abort();
    await rejects(gone.lock, { is: giveUp.signal.reason }, "the waiter that gave up");
    await holder.release();
    await (await lock).release();
  },

  // Goes red if: `s` is the time of the reply.
  async "the deadline counts from before the send"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({}, faulty);
    const gate = Promise.withResolvers<void>();
    let sent = 0;
    faulty.rule = (verb) => {
      if (verb !== "attempt") return "pass";
      sent = performance.now(); // of the latest, should it be repeated
      return gate.promise;
    };
    const acquiring = a.acquire("k");
    acquiring.catch(() => {});
    await faulty.called("attempt");
    await pass(800);
    gate.resolve();
    const lock = await acquiring;
    const elapsed = performance.now() - sent;
    const { remaining } = lock;
    ok(
      remaining + elapsed <= lock.ttl,
      `remaining ${remaining} ms, ${elapsed} ms after the send, is over the ttl`,
    );
    ok(lock.held, "the lock is held");
  },

  // Goes red if: a failed or unanswered renewal moves `D`.
  async "an answer that never came does not extend the deadline"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({ ttl: scene.ttl }, faulty);
    const lock = await acquired(a, "k");
    faulty.rule = (verb) => verb === "list" ? "pass" : "lose"; // the store hears it all
    const renewals = faulty.count("renew");
    const end = over(lock);
    // What was sent before the rule has been answered by the time a renewal is sent under it.
    await Promise.race([faulty.called("renew", renewals + 1), end]);
    // Each clock is read on the side on which a pause between the two makes no difference.
    const { remaining: left } = lock;
    const deadline = performance.now() + left;
    const renewed = record(lock, ["renewed"]);
    await Promise.race([faulty.called("renew", renewals + 2), end]);
    const now = performance.now();
    const { remaining } = lock;
    ok(remaining === 0 || now + remaining <= deadline + 50, "the deadline stays where it was");
    matches(await end, { name: "LockLostError", why: "expired" }, "the signal's reason");
    equal(renewed, [], "renewed events");
    faulty.heal();
    await until("the key of the lost lock is free", async () => await a.inspect("k") === undefined);
  },

  // Goes red if: a late reply moves a passed `D`.
  async "an answer that comes too late revives nothing"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({ ttl: scene.ttl }, faulty);
    const lock = await acquired(a, "k");
    const gate = Promise.withResolvers<void>();
    faulty.rule = (verb) => verb === "renew" || verb === "attempt" ? gate.promise : "pass";
    const renewing = lock.renew().then(() => fail("a renewal without an answer succeeded"), (error) => error);
    matches(await over(lock), { name: "LockLostError", why: "expired" }, "the signal's reason");
    gate.resolve();
    const { code } = await renewing; // "backend" if its own time limit came before the deadline
    ok(code === "lost" || code === "backend", `the renewal under way: ${code}`);
    await rejects(lock.renew(), { name: "LockLostError" }, "a renewal after the loss");
    equal([lock.held, lock.remaining, lock.signal.aborted], [false, 0, true], "the lost lock");
  },

  // Debts. Goes red if: a claim past its `D` is forgotten while others keep the lease alive.
  async "what was lost is given back to the store, though the lease lives on"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({ ttl: scene.steady }, faulty);
    const b = await scene.manager();
    const kept = await acquired(a, "kept");
    const lost = await acquired(a, "lost");
    const isLost = ({ key }: { key: string }): boolean => key.endsWith("/lost");
    faulty.omit = isLost;
    faulty.rule = (_, claims) => claims.length === 1 && isLost(claims[0]!) ? "lose" : "pass";
    await over(lost);
    ok(kept.held, "the other lock of the lease is held");
    faulty.heal();
    await (await acquired(b, "lost")).release();
    ok(kept.held && !kept.signal.aborted, "the other lock of the lease is held on");
  },
});
