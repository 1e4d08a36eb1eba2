/** What keeps claims alive and lists them; see `queue.ts` for what a queue looks like. */
import { CLOCK, KEEP, QUEUE, ROUND } from "./queue.ts";
import { type Script, script } from "./script.ts";

/** States in the replies. */
export const STATE = {
  granted: 1,
  contended: 0,
  stolen: -1,
  revoked: -2,
  expired: -3,
  late: -4,
} as const;

/**
 * `KEYS`: queues. `ARGV`: ttl in ms, then for each key the number of claims and their ids. Replies the
 * server time, then state, token, recheck of each claim. What most locks are, the only claim of their
 * queue, is renewed without reading the whole of it.
 */
export const RENEW: Script = script(
  CLOCK + QUEUE + `
local ttl = ARGV[1] * 1000
local reply = { now }
local at = 2

local function add(state, token, recheck)
  local n = #reply
  reply[n + 1], reply[n + 2], reply[n + 3] = state, token, recheck
end

local function alone(key, id)
  local record = redis.call('HGET', key, id)
  if not record then return false end
  local token, expires, rest = record:sub(1, 16), tonumber(record:sub(18, 33)), record:sub(35)
  if expires <= now or redis.call('HLEN', key) ~= 2 + rest:match('^%d+ %S+ (%d)') then return false end
  if math.floor(expires / ${ROUND}) ~= math.floor((now + ttl) / ${ROUND}) then redis.call('PEXPIRE', key, ${KEEP}) end
  redis.call('HSET', key, id, string.format('%s %016.0f %s', token, now + ttl, rest))
  add(1, tonumber(token), 0)
  return true
end

local function together(key, from, to)
  local q = load(key)
  keep(q)
  for n = from, to do
    local claim = q.by[ARGV[n]]
    if claim then
      claim.expires = now + ttl
      claim.told = true
      write(q, claim)
    end
  end
  settle(q)
  for n = from, to do
    local id = ARGV[n]
    if q.by[id] then
      add(standing(q, q.by[id]))
    else
      add(q.tombs[id] == 'stolen' and ${STATE.stolen} or q.expired[id] and ${STATE.expired} or ${STATE.revoked}, 0, 0)
    end
  end
end

redis.call('PEXPIRE', KEYS[1], ${KEEP}) -- before the first HSET, see \`keep\`
for _, key in ipairs(KEYS) do
  local count = tonumber(ARGV[at])
  if count > 1 or not alone(key, ARGV[at + 1]) then together(key, at + 1, at + count) end
  at = at + count + 1
end
return reply
`,
);

/**
 * `KEYS`: queues. Replies for each key a list of: number of holders, then
 * id, token, milliseconds left, limit, client, metadata of each claim in queue order.
 */
export const LIST: Script = script(
  CLOCK + QUEUE + `
local reply = {}
for _, key in ipairs(KEYS) do
  local q = load(key)
  settle(q)
  local entries = { q.holding }
  for _, claim in ipairs(q.claims) do
    local client = claim.record:match('^%d+ %S+ %d (.*)$', 35)
    local limit = detailed(claim).limit == math.huge and 0 or claim.limit
    local left = math.ceil((claim.expires - now) / 1000)
    for _, value in ipairs({ claim.id, claim.token, left, limit, client, q.metadata[claim.id] or '' }) do
      entries[#entries + 1] = value
    end
  end
  reply[#reply + 1] = entries
end
return reply
`,
);
