/**
 * Since when a node remembers, which it keeps in `holdfast:node`. A node that has come back without its memory
 * could say the opposite of what it has said before, so it stays out until all that it may have forgotten is over.
 */
import { type Script, script } from "../../redis/client/script.ts";

/** The key of a node's memory. */
export const MEMORY = "holdfast:node";

/** Microseconds by which a number that is asked about may be ahead of a node's clock: nothing is forgotten before that. */
export const AHEAD = 5_000_000;

/** What scripts start with that need the time, in microseconds. */
export const CLOCK = `
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
`;

/** Sets `out`: for how many microseconds this node stays out. `run` and `longest` come from the caller. */
export const OUT = `
longest = math.max(longest * 1000, ${AHEAD})
local known = redis.call('HMGET', memory, 'run', 'since', 'longest')
local out
if known[1] == run and known[3] and tonumber(known[3]) >= longest then
  out = known[2] + known[3] - now
elseif known[1] == run then
  redis.call('HSET', memory, 'longest', longest)
  out = known[2] + longest - now
else
  redis.call('HSET', memory, 'run', run, 'since', now, 'longest', longest)
  out = longest
end
`;

/**
 * `KEYS`: memory. `ARGV`: longest ttl in ms. Replies the server's run_id. A node that has no memory
 * counts from here on, not only from the first question that matters.
 */
export const GREET: Script = script(
  CLOCK + `
local memory, longest = KEYS[1], tonumber(ARGV[1])
local run = redis.call('INFO', 'server'):match('run_id:(%w+)') or ''
` + OUT + `
return run
`,
);
