import type { Series } from "../harness/report.ts";
import { Runner, script } from "../harness/runner.ts";
import { distribution } from "../harness/statistics.ts";
import { end, type Scenario, type Scene } from "./scene.ts";

const TURNS = 10;
const CYCLES = 100;
/** At once, while the others are taken. */
const AT_ONCE = 1_000;

/** What a cycle takes when its process holds so many locks of other keys. */
export const keys: Scenario = (scene) => among(scene, "keys", "holdfast.ts", [1, 100, 10_000, 100_000]);

/** And when so many others read the same key. */
export const readers: Scenario = (scene) => among(scene, "readers", "holdfast_readers.ts", [1, 100, 10_000]);

async function among(
  { store, network, address, effort, runtimes }: Scene,
  scenario: "keys" | "readers",
  module: string,
  sizes: readonly number[],
): Promise<Series[]> {
  const runtime = runtimes[0]!;
  const all = [];
  for (const size of sizes.filter((size) => size <= sizes.at(-1)! * effort)) {
    const runner = await Runner.start(script(runtime, module, address, store.longTtl));
    for (let held = 0; held < size; held += AT_ONCE) {
      await runner.tell("hold", { many: Math.min(AT_ONCE, size - held), prefix: `among-${size}-${held}-` });
    }
    await runner.tell("cycles", { n: 1_000, key: "cycle*" });
    all.push({ size, runner, times: [] as number[][] });
  }
  for (let turn = 0; turn < TURNS; turn++) {
    for (const { runner, times } of all) {
      times.push(await runner.tell("cycles", { n: CYCLES, key: "cycle*" }));
    }
  }
  await end(all.map(({ runner }) => runner));
  return all.map(({ size, times }) => ({
    ...{ scenario, store: store.name, network, runtime, subject: "Holdfast", kind: "ours" as const },
    size,
    times: distribution(times),
  }));
}
