/** How a claim leaves a queue; see `queue.ts` for what that looks like. */
import { CLOCK, CROWD, LATER } from "./queue.ts";

/**
 * `KEYS`: queues. `ARGV`: two for each: the name of the claim, and until which server time a late copy of an
 * attempt could still enter, or nothing. Replies for each whether the claim was there, plus 2 if there is more to
 * do, plus 4 if it had been stolen.
 */
export const RELEASE = `
local reply, rest = {}, {}
for n, key in ipairs(KEYS) do
  local name, removed = ARGV[2 * n - 1], false
  local kind = redis.call('TYPE', key).ok
  if ARGV[2 * n] ~= '' then -- not as simple as that
  elseif kind == 'hash' or kind == 'none' then
    removed = redis.call('HDEL', key, name)
    if removed == 1 then redis.call(publish, key, '') end
  elseif kind == 'zset' and redis.call('ZCARD', key) == 6 then
    -- The smallest crowd: '#', '>', who holds, who waits, and when either of them expires.
    local all, clock = redis.call('ZRANGEBYSCORE', key, '-inf', '+inf', 'WITHSCORES'), redis.call('TIME')
    local id, channel = all[7]:match('^(%S+) [01] %d (%S+)')
    if all[3] == '>' and all[5] == name and id and id:sub(1, 1) ~= '!' and channel:sub(-2) ~= '{}'
      and tonumber(all[8]) >= -tonumber(all[4]) and tonumber(all[10]) > ${LATER} + clock[1] * 1000000 + clock[2] then
      removed = 1
      redis.call('ZREM', key, name, '!' .. name, '>')
      redis.call('PUBLISH', channel, string.format('granted %s %.0f', id, all[8]))
      redis.call(publish, key, '')
    end
  end
  if removed and #KEYS == 1 then return removed end
  if removed then reply[n] = removed else rest[#rest + 1] = { n = n, kind = kind } end
end
if #rest == 0 then return reply end
` + CLOCK + CROWD + `
for _, one in ipairs(rest) do
  local n = one.n
  local key, name, latest = KEYS[n], ARGV[2 * n - 1], tonumber(ARGV[2 * n]) or 0
  local q, found = take(key, one.kind, name, '!' .. name, 's:' .. name:match('%S+'))
  local place, ends = tonumber(found[1]), tonumber(found[2] or 0) - ${LATER}
  local there = place and ends > now and not robbed(q, place)
  if there then drop(q, name, place) end
  reply[n] = there and 1 or (found[3] or place and robbed(q, place)) and 4 or 0
  if latest > now then
    redis.call('ZREM', key, name) -- a write that needs no memory
    redis.call('ZADD', key, -math.max(q.last, 1), '#', ${LATER} + latest, 'w:' .. name:match('%S+'))
    keep(key, latest - now) -- now that it surely exists
  end
end
for _, q in ipairs(taken) do finish(q) end
for _, one in ipairs(rest) do
  if queues[KEYS[one.n]].more then reply[one.n] = reply[one.n] + 2 end
end
return #KEYS == 1 and reply[1] or reply
`;
