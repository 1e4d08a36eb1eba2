/**
 * Everything that changes a queue happens in a script: atomically, by the clock of the server
 * (`TIME`), and with the one rule of `internal/queue.ts` written in Lua.
 *
 * The queue of a key, `prefix/name`, is one key of Redis, `prefix/{name}`, so that it is there or gone as a whole,
 * and moves with its slot as a whole. The name of a claim is all that never changes of it, `<id> <limit>
 * <has metadata> <channel> <client>`; a limit of 0 is a shared claim. Times and tokens are microseconds of the
 * server's clock; the token of a claim is also its place in the queue.
 *
 * Most queues are free, or have one claim. That is a hash: `#` is the last token given out, and if there is a claim,
 * its name is the other field: when it expires and its token, 16 digits each, and then its metadata. It becomes
 * a crowd with the second claim, and a hash again with the last to leave.
 *
 * A crowd is a sorted set, of which no operation reads more than what it is about. Its members, and their scores:
 *
 * - `<name>`: the token of a claim.
 * - `!<name>`: when it expires.
 * - `l:<id>`: minus the limit, of a holder that shares with so many.
 * - `m:<id> <JSON>`: minus the token, of a claim with metadata.
 * - `s:<id>`, `w:<id>`: a tombstone, and until when. The claim was stolen or withdrawn, and must not enter.
 * - `#`: minus the last token given out.
 * - `>`: minus the edge, while a claim waits or has waited. Claims before the edge hold; without an edge all do.
 * - `<`: minus the token of a thief, until all those before it have been told and taken out.
 * - `+`: there is more to do.
 *
 * To tell them apart by their scores alone, times are moved up by {@linkcode LATER}, and tokens of metadata down: a
 * double holds whole numbers to twice that.
 *
 * What can be many (those who expired at once, the victims of a thief, readers whom a writer lets in) is done
 * {@linkcode MOST} at a time, so that no script takes a millisecond. While there is more to do the replies say so;
 * whoever gets such a reply asks again, and so does in the end every renewal.
 */

/** What moves times out of the way of tokens. Both are below this number until the year 2112. */
export const LATER = 2 ** 52;

/** How many claims one script takes out or lets in at most. */
export const MOST = 32;

/** What scripts start with that need the time, in microseconds. Redis takes a number in full, Lua writes 14 digits. */
export const CLOCK = `
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
`;

/**
 * What scripts share that have to do with crowds; to make these functions takes as long as a short script does
 * without them.
 *
 * \`memory\` is how long a queue that is free remembers its last token, in microseconds. A key is told to stay for
 * three times as long on top of a claim's ttl, and again once less than one is left of it: others may have asked for
 * less, and to set it each time takes long.
 *
 * A server that is out of memory lets no script begin with HSET or ZADD: new claims are refused. After a write that
 * needs no memory, such as PEXPIRE or ZREM, all the rest is let go on.
 */
export const CROWD = `
local queues, taken = {}, {}

local function parse(name)
  local id, limit, has, channel = name:match('^(%S+) (%d+) (%d) (%S+)')
  limit = tonumber(limit)
  if limit == 0 or limit > 1000000000 then limit = math.huge end
  return id, limit, has == '1', channel
end

local function counted(limit) return limit > 1 and limit < math.huge end

-- Never makes it shorter.
local function keep(key, ttl)
  redis.call('PEXPIRE', key, math.max(redis.call('PTTL', key), math.ceil((ttl + 3 * memory) / 1000)))
end

local function before(place) return string.format('(%.0f', place) end

-- Tells who waits. A channel that ends in {} is one for each key, in its slot: only the node of the key knows it.
local function call(q, channel, text)
  if channel:sub(-2) ~= '{}' then return redis.call('PUBLISH', channel, text) end
  redis.call('SPUBLISH', channel:sub(1, -3) .. q.key:match('{.-}'), text)
end

-- Whether a claim is among those that a thief has robbed, taken out or not.
local function robbed(q, place) return q.thief and place < q.thief end

local function drop(q, name, place)
  local id, limit, has = parse(name)
  redis.call('ZREM', q.key, name, '!' .. name, 'l:' .. id)
  if not place then return end
  if has then redis.call('ZREMRANGEBYSCORE', q.key, -${LATER} - place, -${LATER} - place) end
  q.left = true
  if not q.edge or place < q.edge then
    q.changed = true
    if limit == 1 then q.holding = 0 end -- it was alone
  end
end

local function rob(q)
  local victims = redis.call('ZRANGEBYSCORE', q.key, 0, before(q.floor), 'WITHSCORES', 'LIMIT', 0, ${MOST})
  for i = 1, #victims, 2 do
    local name = victims[i]
    local id, _, _, channel = parse(name)
    local ends = redis.call('ZSCORE', q.key, '!' .. name)
    drop(q, name, tonumber(victims[i + 1]))
    if ends then redis.call('ZADD', q.key, ends, 's:' .. id) end
    redis.call('PUBLISH', channel:gsub('{}$', ''), 'stolen ' .. id)
  end
  q.holding = nil
  if #victims == 2 * ${MOST} then return true end
  redis.call('ZREM', q.key, '<')
  q.floor = nil
end

local function bury(q)
  if redis.call('ZCOUNT', q.key, ${LATER}, ${LATER} + now) == 0 then return false end
  local dead = redis.call('ZRANGEBYSCORE', q.key, ${LATER}, ${LATER} + now, 'LIMIT', 0, ${MOST})
  for _, member in ipairs(dead) do
    local name = member:match('^!(.*)')
    if name then
      drop(q, name, tonumber(redis.call('ZSCORE', q.key, name)))
      q.expired[name] = true
    else
      redis.call('ZREM', q.key, member)
      q.left = true
    end
  end
  q.holding = nil
  return #dead == ${MOST}
end

-- Takes out who has been robbed or has expired. While there are more of them, nobody is let in.
local function clear(q)
  local more = q.floor and rob(q)
  q.more = bury(q) or more or false
end

-- Makes a crowd of a hash.
local function gather(key)
  local fields, left = redis.call('HGETALL', key), redis.call('PTTL', key)
  local last, name, value
  for i = 1, #fields, 2 do
    if fields[i] == '#' then last = tonumber(fields[i + 1]) else name, value = fields[i], fields[i + 1] end
  end
  if not last then redis.call('ZCARD', key) end -- somebody else's, which is what the error says
  redis.call('DEL', key)
  redis.call('ZADD', key, -last, '#')
  if name then
    local id, limit = parse(name)
    local token = tonumber(value:sub(17, 32))
    redis.call('ZADD', key, token, name, ${LATER} + tonumber(value:sub(1, 16)), '!' .. name)
    if counted(limit) then redis.call('ZADD', key, -limit, 'l:' .. id) end
    if #value > 32 then redis.call('ZADD', key, -${LATER} - token, 'm:' .. id .. ' ' .. value:sub(33)) end
  end
  if left > 0 then redis.call('PEXPIRE', key, left) end
end

-- Takes up a queue as a crowd, once in each script; and replies what the scores of some members were before.
local function take(key, kind, ...)
  local q = queues[key]
  if q then return q, redis.call('ZMSCORE', key, ...) end
  if kind == 'hash' then gather(key) end
  local found = redis.call('ZMSCORE', key, '#', '>', '<', '+', ...)
  if kind == 'zset' and not found[1] then redis.call('HLEN', key) end -- somebody else's, which is what the error says
  local function mark(n) return found[n] and -tonumber(found[n]) or nil end
  q = { key = key, last = mark(1) or 0, edge = mark(2), floor = mark(3), thief = mark(3), pending = mark(4) ~= nil, expired = {} }
  queues[key] = q
  taken[#taken + 1] = q
  clear(q)
  return q, { unpack(found, 5, 4 + select('#', ...)) }
end

-- How many hold, and the smallest limit among them. Who shares with nobody is alone.
local function holders(q)
  if q.holding == 0 then return 0, math.huge end
  local first = redis.call('ZRANGEBYSCORE', q.key, 0, '(${LATER}', 'WITHSCORES', 'LIMIT', 0, 1)
  if #first == 0 or q.edge and tonumber(first[2]) >= q.edge then return 0, math.huge end
  local _, limit = parse(first[1])
  if limit == 1 then
    q.alone = first[1]
    return 1, 1
  end
  local holding = redis.call('ZCOUNT', q.key, 0, q.edge and before(q.edge) or '(${LATER}')
  local least = redis.call('ZREVRANGEBYSCORE', q.key, -1, -1000000000, 'WITHSCORES', 'LIMIT', 0, 1)[2]
  return holding, least and -tonumber(least) or math.huge
end

-- Lets in whom the rule allows, in their order, and tells them.
local function admit(q)
  local key, edge, size, room = q.key, q.edge, 2, ${MOST}
  local holding, limit = holders(q)
  while edge and holding < limit and room > 0 do
    local next = redis.call('ZRANGEBYSCORE', key, edge, '(${LATER}', 'WITHSCORES', 'LIMIT', 0, size)
    edge = #next == 2 * size and tonumber(next[#next]) + 1 or nil
    for i = 1, #next, 2 do
      local id, own, _, channel = parse(next[i])
      limit = math.min(limit, own)
      if holding >= limit then
        edge = tonumber(next[i + 1])
        break
      end
      holding = holding + 1
      if counted(own) then redis.call('ZADD', key, -own, 'l:' .. id) end
      call(q, channel, string.format('granted %s %.0f', id, next[i + 1]))
      q.changed = true
    end
    room = room - size
    size = room
  end
  q.more = edge ~= nil and holding < limit
  if edge == q.edge then return end
  if edge then redis.call('ZADD', key, -edge, '>') else redis.call('ZREM', key, '>') end
  q.edge = edge
end

-- Comes last: lets in whoever may now hold, and tells whoever watches if that has changed. If nobody is left, the
-- queue is no crowd any more.
local function finish(q)
  if q.edge and not q.more and (q.left or q.pending) then admit(q) end
  if q.more ~= q.pending then
    if q.more then redis.call('ZADD', q.key, -2000000000, '+') else redis.call('ZREM', q.key, '+') end
  end
  if q.changed then redis.call(publish, q.key, '') end
  if q.left and not q.more and not q.edge and q.last > 0 and redis.call('ZCARD', q.key) == 1 then
    q.over = true
    redis.call('DEL', q.key)
    redis.call('HSET', q.key, '#', string.format('%.0f', q.last))
    redis.call('PEXPIRE', q.key, math.ceil(3 * memory / 1000))
  end
end

-- Where a claim stands: 1 and its token if it holds; else 0 and, for the first in line, after how many
-- milliseconds somebody may have expired. The others are called, or find out when they renew.
local function standing(q, name, place)
  if not q.edge or place < q.edge then return 1, place, 0 end
  if q.more then return 0, 0, 1 end
  if not q.first then q.first = redis.call('ZRANGEBYSCORE', q.key, q.edge, '(${LATER}', 'LIMIT', 0, 1)[1] end
  if name ~= q.first then return 0, 0, 0 end
  local soonest = q.alone and redis.call('ZSCORE', q.key, '!' .. q.alone) or
    redis.call('ZRANGEBYSCORE', q.key, ${LATER}, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
  return 0, 0, math.max(1, math.ceil((soonest - ${LATER} - now) / 1000))
end
`;
