import { distribution } from "../harness/statistics.ts";
import { entrants, keyOf, label, type Scenario, turns } from "./scene.ts";

const TURNS = 3;

/** A holder is killed: how long until the next one has its lock. */
export const takeover: Scenario = async (scene) => {
  const ttl = scene.store.shortTtl;
  const all = (await entrants(scene, ({ bare, signal }) => !bare && !signal))
    .map((entrant) => ({ entrant, times: [] as number[][] }));
  await turns(scene, all, Math.ceil(TURNS * scene.effort), async ({ entrant, times }) => {
    const key = keyOf(entrant, `takeover-${times.length}`);
    await using next = await entrant.start(ttl);
    const holder = await entrant.start(ttl);
    await holder.tell("take", { key });
    const taking = next.order("take", { key });
    await Promise.race([taking.waiting, taking.done]);
    const since = performance.now();
    await holder.kill();
    times.push([next.here(await taking.done) - since]);
    await next.tell("give", { key });
  });
  return all.map(({ entrant, times }) => ({
    ...label(scene, entrant),
    scenario: "takeover",
    size: ttl,
    times: distribution(times),
  }));
};
