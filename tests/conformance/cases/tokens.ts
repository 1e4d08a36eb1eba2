import { acquired, over } from "../actions.ts";
import { equal, ok } from "../assert.ts";
import { type Group, group } from "../group.ts";
import type { Scene } from "../scene.ts";

/** Fencing tokens. */
export const tokens: Group = group("token order", {
  // Goes red if: the token is drawn per manager, starts again with an empty key, or is the claim's id.
  async "each grant has a greater token than those before it"(scene: Scene) {
    let last = -1n;
    for (let round = 0; round < 3; round++) {
      const [a, b] = await scene.pair(); // fresh connections
      for (const manager of [a, b, a]) {
        const lock = await acquired(manager, "k");
        equal(typeof lock.token, "bigint", "the type of a token");
        ok(lock.token > last, `token ${lock.token} after ${last}`);
        last = lock.token;
        await lock.release();
      }
      await Promise.all([a.close(), b.close()]); // nothing is left of the key but what the store remembers
    }
  },

  // Goes red if: the token is the time of entering the queue, and a steal comes between.
  async "readers and writers alternate with rising tokens"(scene: Scene) {
    const [a, b] = await scene.pair();
    let writer = -1n;
    for (let round = 0; round < 3; round++) {
      const readers = [
        await acquired(a, "k", { mode: "shared" }),
        await acquired(b, "k", { mode: "shared" }),
      ];
      ok(readers.every(({ token }) => token > writer), `readers after the writer with token ${writer}`);
      const least = readers.reduce((most, { token }) => token > most ? token : most, 0n);
      for (const reader of readers) await reader.release();
      const lock = await acquired(a, "k");
      ok(lock.token > least, `the writer with token ${lock.token} after readers up to ${least}`);
      writer = lock.token;
      await lock.release();
    }
  },

  // Goes red if: permits share a token.
  async "permits of a semaphore are told apart by their tokens"(scene: Scene) {
    const [a, b] = await scene.pair();
    const one = await acquired(a, "k", scene.plural);
    const two = await acquired(b, "k", scene.plural);
    ok(one.token !== two.token, "two permits have two tokens");
  },

  async "the token stays the same while the lock is held, and is the one inspect shows"(scene: Scene) {
    const [a, b] = await scene.pair();
    const lock = await acquired(a, "k");
    const { token } = lock;
    await lock.renew();
    equal(lock.token, token, "the token after a renewal");
    equal((await b.inspect("k"))?.holders[0]?.token, token, "the token that inspect shows");
    equal(lock.fencing, scene.traits.fencing, "how strong it is");
  },

  // Goes red if: the store forgets the greatest token together with the claim that expired.
  async "the successor of an expired holder has the greater token"(scene: Scene) {
    const [a, b] = await scene.pair({ ttl: scene.ttl });
    const old = await acquired(a, "k", { renew: false });
    await over(old);
    const successor = await acquired(b, "k");
    ok(successor.token > old.token, `token ${successor.token} after ${old.token}`);
  },
});
