/** How a claim takes its place in a queue; see `queue.ts` for what that looks like. */
import { CLOCK, CROWD, LATER } from "./queue.ts";
import { STATE } from "./standing.ts";

/** What an attempt asks for, as bits of one digit. Fewer arguments are faster than what it takes to part them. */
export const ASKS = { wait: 1, steal: 2, entered: 4 } as const;

/**
 * `KEYS`: queues, the same one as often as may be. `ARGV`: two for each. First `<ttl> <latest> <asks> <name>`:
 * microseconds, the latest server time at which it may enter, and {@linkcode ASKS}. Then its metadata, or nothing.
 * Replies for each state, token, recheck, server time, and 1 if there is more to do; or only the token.
 * Of one queue it is not a list, but the answer.
 */
export const ATTEMPT = CLOCK + `
local reply, rest = {}, {}
for n, key in ipairs(KEYS) do
  local ttl, latest, asks, name = ARGV[2 * n - 1]:match('^(%d+) (%d+) (%d) (.*)$')
  ttl, latest, asks = tonumber(ttl), tonumber(latest), tonumber(asks)
  local kind, last = redis.call('TYPE', key).ok, false
  if asks >= ${ASKS.entered} or now > latest then -- nothing new
  elseif kind == 'none' then last = 0
  elseif kind == 'hash' then
    local fields = redis.call('HGETALL', key)
    if #fields == 2 and fields[1] == '#' then last = tonumber(fields[2]) end
  end
  if last then
    local token = math.max(now, last + 1)
    local digits = string.format('%016.0f', token)
    redis.call('HSET', key, '#', digits, name, string.format('%016.0f', now + ttl) .. digits .. ARGV[2 * n])
    if redis.call('PTTL', key) < (ttl + memory) / 1000 then
      redis.call('PEXPIRE', key, math.ceil((ttl + 3 * memory) / 1000))
    end
    redis.call(publish, key, '')
    if #KEYS == 1 then return token end
    reply[n] = token
  else
    rest[#rest + 1] = { n = n, key = key, kind = kind, ttl = ttl, latest = latest, asks = asks, name = name }
  end
end
if #rest == 0 then return reply end
` + CROWD + `
-- What needs no crowd although there is somebody: to ask again, and to ask in vain. Nothing if it does.
local function alone(ask)
  local fields, marked, holder, value, ends = ask.kind == 'hash' and redis.call('HGETALL', ask.key) or {}
  for i = 1, #fields, 2 do
    if fields[i] == '#' then marked = true
    else holder, value, ends = fields[i], fields[i + 1], tonumber(fields[i + 1]:sub(1, 16)) end
  end
  if holder and not marked then redis.call('ZCARD', ask.key) end -- somebody else's, which is what the error says
  if holder == ask.name then
    if ends <= now then return ${STATE.expired} end
    keep(ask.key, ask.ttl)
    redis.call('HSET', ask.key, holder, string.format('%016.0f', now + ask.ttl) .. value:sub(17))
    return ${STATE.granted}, tonumber(value:sub(17, 32))
  end
  if ask.asks >= ${ASKS.entered} then return ${STATE.revoked} end
  if now > ask.latest then return ${STATE.late} end
  if ask.asks ~= 0 or not holder or ends <= now then return end
  local _, theirs = parse(holder)
  local _, ours = parse(ask.name)
  if theirs == 1 or ours == 1 then return ${STATE.contended} end
end

-- The place of a claim that is new to its queue, or why it gets none.
local function enter(q, ask, id, limit, metadata)
  local place, key, name = math.max(now, q.last + 1), q.key, ask.name
  local steals = ask.asks % 4 >= ${ASKS.steal}
  local waiting = not steals and q.edge and redis.call('ZCOUNT', key, q.edge, '(${LATER}') or 0
  local holds = steals
  if not steals and not q.more and waiting == 0 then
    local holding, least = holders(q)
    holds = holding < math.min(least, limit)
  end
  if not holds and ask.asks % 2 == 0 then return nil, q.more and ${STATE.unsettled} or ${STATE.contended} end
  if holds or q.edge then redis.call('ZADD', key, -place, '#', place, name, ${LATER} + now + ask.ttl, '!' .. name)
  else redis.call('ZADD', key, -place, '#', place, name, ${LATER} + now + ask.ttl, '!' .. name, -place, '>') end
  if metadata ~= '' then redis.call('ZADD', key, -${LATER} - place, 'm:' .. id .. ' ' .. metadata) end
  if redis.call('PTTL', key) < (ask.ttl + memory) / 1000 then keep(key, ask.ttl) end
  q.last, q.holding = place, nil
  if holds then
    q.changed = true
    if counted(limit) then redis.call('ZADD', key, -limit, 'l:' .. id) end
    if q.edge then redis.call('ZREM', key, '>') end -- all who waited have left, or are robbed
    q.edge = nil
    if steals then
      redis.call('ZADD', key, -place, '<')
      q.floor, q.thief = place, place
      clear(q)
    end
  else
    q.edge = q.edge or place
    if waiting == 0 then q.first = name end
    ask.behind = waiting > 0 and not q.left
  end
  return place
end

-- What becomes of a claim in a crowd: its place, or why it has none.
local function join(ask, metadata)
  local name = ask.name
  local id, limit = parse(name)
  local q, found = take(ask.key, ask.kind, name, '!' .. name, 's:' .. id, 'w:' .. id)
  local place, ends = tonumber(found[1]), tonumber(found[2] or 0) - ${LATER}
  if found[3] or place and robbed(q, place) then return nil, ${STATE.stolen} end
  if place and ends > now then
    keep(ask.key, ask.ttl)
    redis.call('ZADD', ask.key, ${LATER} + now + ask.ttl, '!' .. name)
    return place
  end
  if place or q.expired[name] then return nil, ${STATE.expired} end
  if found[4] or ask.asks >= ${ASKS.entered} then return nil, ${STATE.revoked} end
  if now > ask.latest then return nil, ${STATE.late} end
  return enter(q, ask, id, limit, metadata)
end

for _, ask in ipairs(rest) do
  if ask.kind ~= 'zset' and not queues[ask.key] then ask.state, ask.token = alone(ask) end
  if not ask.state then ask.place, ask.state = join(ask, ARGV[2 * ask.n]) end
end
for _, q in ipairs(taken) do finish(q) end
for _, ask in ipairs(rest) do
  local q, place = queues[ask.key], ask.place
  local state, token, recheck = ask.state, ask.token or 0, 0
  if place and robbed(q, place) then state = ${STATE.stolen} -- by a later one of this call
  elseif ask.behind and not q.more and q.edge and place >= q.edge then state = ${STATE.contended}
  elseif place then state, token, recheck = standing(q, ask.name, place) end
  reply[ask.n] = { state, token, recheck, now, q and q.more and 1 or 0 }
end
return #KEYS == 1 and reply[1] or reply
`;
