import { run } from "./run.ts";
import type { Action, Schedule } from "./schedule.ts";
import type { Failure } from "./world.ts";

/** Simpler schedules of the same seed, the boldest first. */
function* simpler(schedule: Schedule): Generator<Schedule> {
  for (const part of ["actions", "after"] as const) {
    const all = schedule[part];
    for (let size = all.length; size >= 1; size = Math.floor(size / 2)) {
      for (let from = 0; from < all.length; from += size) {
        yield { ...schedule, [part]: [...all.slice(0, from), ...all.slice(from + size)] };
      }
    }
  }
  const { noise, store } = schedule;
  if (schedule.partial > 0) yield { ...schedule, partial: 0 };
  for (const name of ["loss", "copy", "slow"] as const) {
    if (noise[name] > 0) yield { ...schedule, noise: { ...noise, [name]: 0 } };
  }
  if (noise.delay > 1) yield { ...schedule, noise: { ...noise, delay: 1 } };
  if (store.late > 0) yield { ...schedule, store: { ...store, late: 0 } };
  if (store.grants < 1) yield { ...schedule, store: { ...store, grants: 1 } };
  if (store.rate !== 1 || schedule.processes.some(({ monotonic }) => monotonic !== 1)) {
    const processes = schedule.processes.map(() => ({ monotonic: 1, wall: 1 }));
    yield { ...schedule, store: { ...store, rate: 1 }, processes };
  }
  for (const [index, action] of schedule.actions.entries()) {
    for (const plain of plainer(action)) yield { ...schedule, actions: schedule.actions.with(index, plain) };
  }
}

function* plainer(action: Action): Generator<Action> {
  if (action.do !== "acquire") return;
  const { operation } = action;
  const { ttl, mode, limit, ...rest } = operation.options;
  if (Object.keys(rest).length > 0) {
    const options = { ttl, ...(mode && { mode }), ...(limit && { limit }) };
    yield { ...action, operation: { ...operation, options } };
  }
  if (mode !== undefined || limit !== undefined) {
    yield { ...action, operation: { ...operation, options: { ttl, ...rest } } };
  }
  if (operation.patience !== undefined) yield { ...action, operation: { ...operation, patience: undefined } };
  if (operation.renews) yield { ...action, operation: { ...operation, renews: false } };
  if (operation.keys.length > 1) {
    yield { ...action, operation: { ...operation, keys: operation.keys.slice(0, 1) } };
  }
}

/** The simplest schedule found in that time (ms) that breaks the same promise. */
export async function shrink(schedule: Schedule, failure: Failure, ms: number): Promise<Schedule> {
  const end = performance.now() + ms;
  let best = schedule;
  for (let found = true; found && performance.now() < end;) {
    found = false;
    for (const candidate of simpler(best)) {
      if (performance.now() > end) break;
      const { failure: other } = await run(candidate);
      if (other?.promise !== failure.promise) continue;
      best = candidate;
      found = true;
      break;
    }
  }
  return best;
}
