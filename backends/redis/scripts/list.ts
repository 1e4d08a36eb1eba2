/** How queues are read; see `queue.ts` for what a queue looks like. */
import { CLOCK, CROWD, LATER } from "./queue.ts";

/**
 * `KEYS`: queues. `ARGV`: the token to begin with in the first of them, and how many claims may be listed.
 * Replies 1 if there is more to do first, and nothing else; or 0, the token to go on with in the last key
 * that is listed, or 0 if that is done; then for each key that was got to a list of name, token,
 * milliseconds left, metadata, and 1 if it holds, of each claim in queue order.
 */
export const LIST = CLOCK + CROWD + `
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
