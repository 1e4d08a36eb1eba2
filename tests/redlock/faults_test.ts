/** Everything at once, on real servers: whatever happens, never two holders, and tokens that rise. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { redlock } from "../../backends/redlock.ts";
import { LockManager } from "../../mod.ts";
import type { Lock } from "../../mod.ts";
import { Proxy } from "../servers/proxy.ts";
import { Nodes } from "./nodes.ts";

const MS = 12_000;
const TTL = 600;

test(
  "nodes that stop, start again empty, and cannot be reached: one holder at a time",
  { timeout: 90_000 },
  async () => {
    await using nodes = await Nodes.start(5);
    // Everybody has a network of their own.
    const networks = await Promise.all(
      Array.from({ length: 4 }, () => Promise.all(nodes.servers.map((server) => Proxy.start(server)))),
    );
    const managers = networks.map((proxies) =>
      new LockManager(redlock(proxies.map(({ port }) => ({ port })), { maxTtl: TTL }), {
        ttl: TTL,
        retryFor: 60_000,
      })
    );
    const end = performance.now() + MS;
    const inside = new Set<Lock>();
    let last = 0n;
    let holds = 0;
    const work = async (locks: LockManager) => {
      while (performance.now() < end || holds <= 5) {
        await using lock = await locks.acquire("k", { renew: Math.random() < 0.7 });
        const others = [...inside].filter((other) => other.held);
        // Looked at last: what has run out meanwhile does not count.
        if (!lock.held) continue;
        assert.deepEqual(others.map(({ token }) => token), [], `beside ${lock.token}`);
        assert.ok(lock.token > last, `${lock.token} after ${last}`);
        last = lock.token;
        holds++;
        inside.add(lock);
        await sleep(Math.random() < 0.2 ? Math.random() * 2 * TTL : Math.random() * 30);
        inside.delete(lock);
      }
    };
    const harm = async () => {
      for (let turn = 0; performance.now() < end; turn++) {
        const server = nodes.servers[Math.floor(Math.random() * 5)]!;
        const proxies = networks[turn % networks.length]!;
        const proxy = proxies[Math.floor(Math.random() * 5)]!;
        if (turn % 8 === 7) await server.restart();
        else if (turn % 2 === 0) {
          server.pause();
          await sleep(Math.random() * TTL / 2);
          server.resume();
        } else {
          if (Math.random() < 0.5) proxy.cut();
          else proxy.refuse();
          await sleep(Math.random() * TTL);
          proxy.heal();
        }
      }
    };
    await Promise.all([harm(), ...managers.map(work)]);
    assert.ok(holds > 5, `${holds} holds`);
    await Promise.all(managers.map((locks) => locks.close()));
    for (const proxy of networks.flat()) await proxy[Symbol.asyncDispose]();
  },
);
