import { run } from "./run.ts";
import { describe, schedule } from "./schedule.ts";
import { shrink } from "./shrink.ts";

/** What a failing seed does, made as short as it gets in that time (ms; 0: the whole of it). */
export async function explain(seed: number, ms: number): Promise<string> {
  const whole = schedule(seed);
  const first = await run(whole, true);
  const { failure } = first;
  const small = failure === undefined || ms === 0 ? whole : await shrink(whole, failure, ms);
  const report = small === whole ? first : await run(small, true);
  const { store, noise, processes, actions, after } = small;
  const rates = processes.map(({ monotonic }) => monotonic.toFixed(4)).join(" ");
  return [
    failure === undefined ? `seed ${seed} holds every promise` : `seed ${seed} breaks: ${failure.promise}`,
    report.failure?.details ?? "",
    `again: deno task sim --seed ${seed}`,
    "",
    `store    ${JSON.stringify(store)}`,
    `noise    ${
      JSON.stringify(noise)
    }, ${small.partial} of renewals partial, retryFor ${small.retryFor}, ${small.distance} ms away in the end`,
    `clocks   ${rates}, store ${store.rate.toFixed(4)}`,
    "",
    `what is done (${actions.length} of ${whole.actions.length} actions):`,
    ...actions.map(describe),
    ...(after.length > 0 ? ["once everything has settled:", ...after.map(describe)] : []),
    "",
    "what happens (virtual milliseconds):",
    ...report.history,
  ].join("\n");
}
