/** What keeps claims alive and lists them; see `queue.ts` for what a queue looks like. */
import { ATTEMPT } from "./attempt.ts";
import { CLOCK, CROWD, LATER } from "./queue.ts";
import { RELEASE } from "./release.ts";
import { type Script, script } from "./script.ts";
import { STATE } from "./states.ts";

/**
 * `KEYS`: queues. `ARGV`: ttl in microseconds, then for each key the number of claims and their names, which may be
 * none. Replies the server time, whether there is more to do, then state, token, recheck of each claim.
 */
const RENEW = CLOCK + `
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

/**
 * `KEYS`: queues. `ARGV`: the token to begin with in the first of them, and how many claims may be listed.
 * Replies 1 if there is more to do first, and nothing else; or 0, the token to go on with in the last key
 * that is listed, or 0 if that is done; then for each key that was got to a list of name, token,
 * milliseconds left, metadata, and 1 if it holds, of each claim in queue order.
 */
const LIST = CLOCK + CROWD + `
local from, room = tonumber(ARGV[1]), tonumber(ARGV[2])
local reply = { 0, 0 }

local function crowd(key)
  local q, entries, timers = take(key, 'zset', '#'), {}, {}
  finish(q)
  if q.more then return nil, 0 end
  if q.over then return entries, 1, false end
  local claims = redis.call('ZRANGEBYSCORE', key, from, '(${LATER}', 'WITHSCORES', 'LIMIT', 0, room)
  for i = 1, #claims, 2 do timers[#timers + 1] = '!' .. claims[i] end
  local ends = #timers > 0 and redis.call('ZMSCORE', key, unpack(timers))
  for i = 1, #claims, 2 do
    local name, place = claims[i], tonumber(claims[i + 1])
    local _, _, has = parse(name)
    local said = has and redis.call('ZRANGEBYSCORE', key, -${LATER} - place, -${LATER} - place)[1]
    local left = math.ceil((tonumber(ends[(i + 1) / 2] or 0) - ${LATER} - now) / 1000)
    local holds = (not q.edge or place < q.edge) and 1 or 0
    for _, value in ipairs({ name, place, left, said and said:match('^%S+ (.*)$') or '', holds }) do
      entries[#entries + 1] = value
    end
  end
  return entries, #claims / 2, tonumber(claims[#claims]) -- which may be nothing
end

local function alone(key)
  local entries, last, fields = {}, redis.call('HGET', key, '#'), redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    local left = fields[i] ~= '#' and math.ceil(((tonumber(fields[i + 1]:sub(1, 16)) or 0) - now) / 1000) or 0
    if left > 0 and tonumber(last) >= from then entries = { fields[i], last, left, fields[i + 1]:sub(33), 1 } end
  end
  return entries, 1, false
end

for _, key in ipairs(KEYS) do
  local entries, size, final = (redis.call('TYPE', key).ok == 'zset' and crowd or alone)(key)
  if not entries then return { 1 } end
  reply[#reply + 1] = entries
  room = room - size
  if room <= 0 then
    reply[2] = final and final + 1 or 0
    return reply
  end
  from = 0
end
return reply
`;

/** The scripts of one backend. */
export interface Scripts {
  readonly attempt: Script;
  readonly release: Script;
  readonly renew: Script;
  readonly list: Script;
}

/** `memory`: milliseconds for which a queue that is free remembers its last token. */
export function scripts(memory: number): Scripts {
  const one = (source: string, publish: string) =>
    script(`local memory, publish = ${memory * 1_000}, '${publish}'\n${source}`);
  const made = (source: string) => ({ ...one(source, "PUBLISH"), sharded: one(source, "SPUBLISH") });
  return { attempt: made(ATTEMPT), release: made(RELEASE), renew: made(RENEW), list: made(LIST) };
}
