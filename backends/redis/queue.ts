/**
 * Everything that changes a queue happens in a script: atomically, by the clock of the server
 * (`TIME`), and with the one rule of `internal/queue.ts` written in Lua.
 *
 * The claims of a key, `prefix/name`, are one hash, `prefix/{name}`, with these fields:
 *
 * - `<id>`: a claim, `<token> <expires> <limit> <channel> <has metadata> <client>`. The token is also
 *   the place in the queue; times are microseconds of the server's clock; both have 16 digits, so that
 *   they are found without a search; limit 0 is a shared claim. Nothing says who holds: the rule does.
 * - `x:<id>`: a tombstone, `<until> <why>`: this claim was stolen or withdrawn, and must not enter.
 * - `m:<id>`: the metadata of a claim.
 * - `#`: the last token given out.
 *
 * One key, because during the migration of a slot a Cluster refuses scripts that name two. It stays
 * for two days after its last use: a day to remember the last token, on top of the longest ttl.
 *
 * Each script first drops what has expired, and at its end tells those who hold now and did not
 * before, on the channel of their process, and whoever watches the key, on the channel of that name.
 */

/** Milliseconds for which a queue is kept after its last use: two days. */
export const KEEP = 172_800_000;

/** Microseconds: a queue in use is told to stay for as long once in this time, not at each use. */
export const ROUND = 21_600_000_000;

/** What every script starts with: the time, in microseconds. */
export const CLOCK = `
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
`;

/** What scripts share that look at a whole queue. */
export const QUEUE = `
-- What is needed of the claims in front only.
local function detailed(claim)
  if not claim.limit then
    local limit, channel, has = claim.record:match('^(%d+) (%S+) (%d)', 35)
    claim.limit = limit == '0' and math.huge or tonumber(limit)
    claim.channel, claim.has = channel, has
  end
  return claim
end

local function holders(queue)
  local least = math.huge
  for i = 1, #queue do
    local limit = detailed(queue[i]).limit
    if limit < least then least = limit end
    if i > least then return i - 1 end
  end
  return #queue
end

local function forget(q, claim, tombstone)
  redis.call('HDEL', q.key, claim.id)
  if tombstone then redis.call('HSET', q.key, 'x:' .. claim.id, tombstone) end
  if detailed(claim).has == '1' then redis.call('HDEL', q.key, 'm:' .. claim.id) end
  q.changed = true
end

local function parse(id, record)
  return { id = id, record = record, token = tonumber(record:sub(1, 16)), expires = tonumber(record:sub(18, 33)) }
end

-- Reads a queue, without what has expired. A holder is marked as what it was when the last script ended.
local function load(key, fields)
  fields = fields or redis.call('HGETALL', key)
  local q = { key = key, last = 0, claims = {}, by = {}, tombs = {}, expired = {}, metadata = {} }
  local tokens, claims, dead = {}, {}, false
  for i = 1, #fields, 2 do
    local id, record = fields[i], fields[i + 1]
    if id == '#' then
      q.last = tonumber(record)
    elseif id:sub(1, 2) == 'm:' then
      q.metadata[id:sub(3)] = record
    elseif id:sub(1, 2) == 'x:' then
      local until_, why = record:match('^(%d+) (%a+)$')
      if tonumber(until_) > now then q.tombs[id:sub(3)] = why else redis.call('HDEL', key, id) end
    else
      local claim = parse(id, record)
      tokens[#tokens + 1] = claim.token
      claims[claim.token] = claim
      if claim.expires <= now then dead = true end
    end
  end
  table.sort(tokens)
  for i = 1, #tokens do q.claims[i] = claims[tokens[i]] end
  q.holding = holders(q.claims)
  for i = 1, q.holding do q.claims[i].held = true end
  if dead then
    local all = q.claims
    q.claims = {}
    for i = 1, #all do
      if all[i].expires > now then
        q.claims[#q.claims + 1] = all[i]
      else
        forget(q, all[i])
        q.expired[all[i].id] = true
      end
    end
  end
  for i = 1, #q.claims do
    q.by[q.claims[i].id] = q.claims[i]
    q.claims[i].at = i
  end
  return q
end

local function write(q, claim)
  redis.call('HSET', q.key, claim.id,
    string.format('%016.0f %016.0f %s', claim.token, claim.expires, claim.record:sub(35)))
end

-- Comes before the first HSET where a claim is known already: a server out of memory refuses a script
-- that begins with HSET, and so new claims, but lets one go on that has begun with PEXPIRE.
local function keep(q) redis.call('PEXPIRE', q.key, ${KEEP}) end

-- Grants to everyone the rule now allows, and says so. Those marked as told learn it from the reply.
local function settle(q)
  if not q.changed then return end
  q.holding = holders(q.claims)
  for i = 1, q.holding do
    local claim = q.claims[i]
    if not claim.held and not claim.told then
      redis.call('PUBLISH', claim.channel, 'granted ' .. claim.id .. ' ' .. string.format('%.0f', claim.token))
    end
  end
  for i = 1, #q.claims do q.claims[i].at = i end
  redis.call('PUBLISH', q.key, '')
end

-- Where a claim stands: 1 and its token if it holds; else 0 and, for the first in line, after how many
-- milliseconds a holder can have expired. The others are called, or find out when they renew.
local function standing(q, claim)
  if claim.at <= q.holding then return 1, claim.token, 0 end
  if claim.at > q.holding + 1 then return 0, 0, 0 end
  local first = math.huge
  for i = 1, q.holding do first = math.min(first, q.claims[i].expires) end
  return 0, 0, math.ceil((first - now) / 1000)
end
`;
