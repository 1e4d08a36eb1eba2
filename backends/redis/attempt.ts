/** How a claim takes its place in a queue; see `queue.ts` for what that looks like. */
import type { Operation } from "./gather.ts";
import { CLOCK, KEEP, QUEUE, ROUND } from "./queue.ts";
import { type Script, script } from "./script.ts";
import { STATE } from "./scripts.ts";

/** What an attempt asks for, as bits of one digit. Fewer arguments are faster than what it takes to part them. */
export const ASKS = { wait: 1, steal: 2, entered: 4 } as const;

/** What there is to know before an attempt: `ARGV[at]` and the two that follow, see {@linkcode ATTEMPT}. */
const ASKED = `
local id, metadata = ARGV[at], ARGV[at + 2]
local ttl, latest, asks, rest = ARGV[at + 1]:match('^(%d+) (%d+) (%d) (.*)$')
ttl, latest, asks = tonumber(ttl), tonumber(latest), tonumber(asks)
if metadata == '' then metadata = nil end
`;

/** How a claim gets into a queue. Redis writes numbers in full, Lua does not. */
const ENTER = `
local function enter(key, id, ttl, rest, metadata, token, last)
  local digits = string.format('%016.0f', token)
  local record = string.format('%s %016.0f %s', digits, now + ttl, rest)
  if metadata then redis.call('HSET', key, '#', digits, id, record, 'm:' .. id, metadata)
  else redis.call('HSET', key, '#', digits, id, record) end
  if last > now or math.floor(last / ${ROUND}) ~= math.floor(token / ${ROUND}) then
    redis.call('PEXPIRE', key, ${KEEP})
  end
end

local function take(key, id, ttl, rest, metadata, last)
  last = tonumber(last or 0)
  local token = math.max(now, last + 1)
  enter(key, id, ttl, rest, metadata, token, last)
  redis.call('PUBLISH', key, '')
  return token
end
`;

/**
 * `KEYS`: the queue. `ARGV`: id; `<ttl> <latest> <asks> <rest>`, which are microseconds, the latest server
 * time at which it may enter, {@linkcode ASKS}, and the rest of its record; metadata if it has some.
 * Replies state, token, recheck, server time; or only the token. Most keys are free: that comes first,
 * and does without the rest.
 */
const ATTEMPT_ONE: Script = script(
  CLOCK + ENTER + "local key, at = KEYS[1], 1" + ASKED + `
local fields = redis.call('HGETALL', key)
if asks < ${ASKS.entered} and now <= latest and (#fields == 0 or #fields == 2 and fields[1] == '#') then
  return take(key, id, ttl, rest, metadata, fields[2])
end
` + QUEUE + `
local q = load(key, fields)
local claim = q.by[id]
if claim then
  claim.expires = now + ttl
  claim.told = true
  keep(q)
  write(q, claim)
  settle(q)
  local state, token, recheck = standing(q, claim)
  return { state, token, recheck, now }
end
local refusal
if q.tombs[id] then refusal = q.tombs[id] == 'stolen' and ${STATE.stolen} or ${STATE.revoked}
elseif asks >= ${ASKS.entered} then refusal = q.expired[id] and ${STATE.expired} or ${STATE.revoked}
elseif now > latest then refusal = ${STATE.late} end
if refusal then
  settle(q)
  return { refusal, 0, 0, now }
end
if asks >= ${ASKS.steal} then
  for _, victim in ipairs(q.claims) do
    forget(q, victim, string.format('%.0f stolen', victim.expires))
    redis.call('PUBLISH', victim.channel, 'stolen ' .. victim.id)
  end
  q.claims = {}
end
claim = parse(id, string.format('%016.0f %016.0f %s', math.max(q.last + 1, now), now + ttl, rest))
claim.told = true
q.claims[#q.claims + 1] = claim
if asks % 2 == 0 and holders(q.claims) < #q.claims then
  q.claims[#q.claims] = nil
  settle(q)
  return { ${STATE.contended}, 0, 0, now }
end
enter(key, id, ttl, rest, metadata, claim.token, q.last)
q.changed = true
settle(q)
local state, token, recheck = standing(q, claim)
return { state, token, recheck, now }
`,
);

/**
 * The same for claims that are new to queues that are free. In others a claim that waits takes its place
 * already, so that it is not overtaken, and asks alone how it stands.
 */
const ATTEMPT_MANY: Script = script(
  CLOCK + ENTER + `
local reply = {}
for n, key in ipairs(KEYS) do
  local at = 3 * n - 2
` + ASKED + `
  reply[n] = false
  local length = asks < ${ASKS.entered} and now <= latest and redis.pcall('HLEN', key)
  local last = type(length) == 'number' and redis.call('HGET', key, '#')
  if length == 0 or length == 1 and last then
    reply[n] = take(key, id, ttl, rest, metadata, last)
  elseif last and asks == ${ASKS.wait} and not redis.call('HGET', key, id) and not redis.call('HGET', key, 'x:' .. id) then
    take(key, id, ttl, rest, metadata, last)
  end
end
return reply
`,
);

/** Takes a place, or asks for a standing. */
export const ATTEMPT: Operation = { one: ATTEMPT_ONE, many: ATTEMPT_MANY, size: 3 };
