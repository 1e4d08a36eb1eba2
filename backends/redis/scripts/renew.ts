/** How claims are kept alive; see `queue.ts` for what a queue looks like. */
import type { Claim } from "../../../internal/backend.ts";
import { CLOCK, CROWD, LATER } from "./queue.ts";
import { STATE } from "./standing.ts";

/**
 * `KEYS`: queues. `ARGV`: ttl in microseconds, then for each key the number of claims and their names, which may be
 * none. Replies the server time, whether there is more to do, then state, token, recheck of each claim.
 */
export const RENEW = CLOCK + `
local ttl = tonumber(ARGV[1])
local reply, rest, at, to = { now, 0 }, {}, 2, 0
redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), math.ceil((ttl + memory) / 1000)))
for _, key in ipairs(KEYS) do
  local count = tonumber(ARGV[at])
  if redis.call('TYPE', key).ok == 'zset' then
    rest[#rest + 1] = { key = key, count = count, at = at, to = to }
  else
    for n = 1, count do
      local name, state, token = ARGV[at + n], ${STATE.revoked}, 0
      local value = redis.call('HGET', key, name)
      local ends = value and tonumber(value:sub(1, 16))
      if value and ends <= now then state = ${STATE.expired}
      elseif value then
        state, token = ${STATE.granted}, tonumber(value:sub(17, 32))
        redis.call('HSET', key, name, string.format('%016.0f', now + ttl) .. value:sub(17))
        if redis.call('PTTL', key) < (ttl + memory) / 1000 then
          redis.call('PEXPIRE', key, math.ceil((ttl + 3 * memory) / 1000))
        end
      end
      local last = 3 * (to + n)
      reply[last], reply[last + 1], reply[last + 2] = state, token, 0
    end
  end
  at = at + count + 1
  to = to + count
end
if #rest == 0 then return reply end
` + CROWD + `
for _, part in ipairs(rest) do
  local key, count = part.key, part.count
  local q = take(key, 'zset', '#')
  local members, scores, places = {}, {}, {}
  for n = 1, count do
    local name = ARGV[part.at + n]
    members[2 * n - 1], members[2 * n] = name, '!' .. name
  end
  local found = count > 0 and redis.call('ZMSCORE', key, unpack(members))
  for n = 1, count do
    local place, ends = tonumber(found[2 * n - 1]), tonumber(found[2 * n] or 0) - ${LATER}
    if place and ends > now and not robbed(q, place) then
      places[n] = place
      scores[#scores + 1], scores[#scores + 2] = ${LATER} + now + ttl, members[2 * n]
    end
  end
  if #scores > 0 then
    keep(key, ttl)
    redis.call('ZADD', key, unpack(scores))
  end
  finish(q)
  for n = 1, count do
    local name, place, last = members[2 * n - 1], tonumber(found[2 * n - 1]), 3 * (part.to + n)
    local state, token, recheck = ${STATE.revoked}, 0, 0
    if places[n] then state, token, recheck = standing(q, name, place)
    elseif not q.over and (place and robbed(q, place) or redis.call('ZSCORE', key, 's:' .. name:match('%S+'))) then state = ${STATE.stolen}
    elseif place or q.expired[name] then state = ${STATE.expired} end
    reply[last], reply[last + 1], reply[last + 2] = state, token, recheck
  end
  if q.more then reply[2] = 1 end
end
return reply
`;

/** How many claims one renewal call names, and how many of them of one key: Redis serves no other client meanwhile. */
const BATCH = 400;
const QUEUE = 256;

/** Claims by key, at most so many in a batch. In a Cluster a batch is one key: two may not share a slot. */
export function* batches(claims: readonly Claim[], cluster: boolean): Generator<Map<string, Claim[]>> {
  let batch = new Map<string, Claim[]>();
  let size = 0;
  for (const claim of cluster ? [...claims].sort(byKey) : claims) {
    if (
      size >= BATCH || cluster && size > 0 && !batch.has(claim.key) || batch.get(claim.key)?.length === QUEUE
    ) {
      yield batch;
      batch = new Map();
      size = 0;
    }
    const same = batch.get(claim.key);
    if (same) same.push(claim);
    else batch.set(claim.key, [claim]);
    size++;
  }
  if (size > 0) yield batch;
}

function byKey(a: Claim, b: Claim): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}
