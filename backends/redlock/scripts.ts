/**
 * What one node does. It gives its vote for a key to one claim at a time (or to several shared ones),
 * for a ttl, by its own clock. In `prefix/{name}:votes`, a hash, are
 *
 * - `<id>`: a vote, `<ballot> <expires> <limit> <channel> <has metadata> <client>`; microseconds;
 *   limit 0 for a shared claim;
 * - `<id>`: or a tombstone, `0 <until> stolen`;
 * - `m:<id>`: the metadata of a claim;
 * - `#`: the greatest ballot given a vote. It is forgotten only once the clock has passed it.
 * - `r`: `<until> <read> <id>`, a crowd: no vote here is an exclusive one, by `until` all that is here is over, and
 *   one of the votes is for `id`. Shared votes are given, renewed and taken back, and exclusive ones refused, without
 *   reading all the others, so that no such script takes the longer the more readers there are. All of it is read
 *   again, and what has expired is removed, by the next vote after ten seconds.
 *
 * A node that comes back without its memory stays out, see `client/memory.ts`.
 */
import { type Script, script } from "../redis/client/script.ts";
import { AHEAD, CLOCK, OUT } from "./client/memory.ts";

/** Microseconds for which a crowd is not read as a whole. */
const READ = 10_000_000;
/** So many fields are read as a whole whenever one is taken back: the last of a crowd leave nothing behind. */
const FEW = 16;

const NODE = `
local function text(number) return string.format('%.0f', number) end

local function load(key)
  local v = { key = key, last = 0, claims = {}, by = {}, tombs = {}, metadata = {} }
  local fields = redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    local id, record = fields[i], fields[i + 1]
    if id == '#' then
      v.last = tonumber(record)
    elseif id == 'r' then
      v.crowd = true
    elseif id:sub(1, 2) == 'm:' then
      v.metadata[id:sub(3)] = record
    else
      local ballot, expires, rest, limit, channel, has = record:match('^(%d+) (%d+) ((%d+) (%S+) (%d).*)$')
      local stolen = not ballot
      if stolen then expires = record:match('^0 (%d+)') end
      expires = tonumber(expires)
      if expires <= now then
        redis.call('HDEL', key, id, 'm:' .. id)
        v.changed = not stolen or v.changed
      else
        if stolen then
          v.tombs[id] = expires
        else
          local claim = { id = id, ballot = tonumber(ballot), expires = expires, limit = limit, channel = channel,
            rest = rest }
          v.claims[#v.claims + 1] = claim
          v.by[id] = claim
        end
      end
    end
  end
  return v
end

-- The key is kept until everything in it is over, the greatest ballot included.
local function ends(v)
  local last = v.last
  for _, claim in pairs(v.by) do last = math.max(last, claim.expires) end
  for _, expires in pairs(v.tombs) do last = math.max(last, expires) end
  return last
end

local function keep(v) redis.call('PEXPIREAT', v.key, math.ceil(ends(v) / 1000) + 1000) end

local function tell(v, what)
  if what or v.changed then redis.call('PUBLISH', v.key, what or 'left') end
end
`;

/**
 * Gives a vote. `last`: the greatest ballot before it; `till`: when all else that is there is over; `read`: when all of
 * it was read, of a crowd.
 */
const GIVE = `
local function give(last, till, read)
  till = math.max(now + ttl, ballot, last, till)
  local record = string.format('%.0f %.0f %s', ballot, now + ttl, rest)
  if metadata then redis.call('HSET', key, '#', math.max(ballot, last), id, record, 'm:' .. id, metadata)
  else redis.call('HSET', key, '#', math.max(ballot, last), id, record) end
  if read then redis.call('HSET', key, 'r', string.format('%.0f %.0f %s', till, read, id)) end
  redis.call('PEXPIREAT', key, math.ceil(till / 1000) + 1000)
  redis.call('PUBLISH', key, 'voted')
end
`;

/** What the scripts that give votes look at before they read all votes of a key: whether it is a crowd. */
const CROWD = `
local shared = rest:sub(1, 2) == '0 '
-- \`till\` is set for a crowd, unless this very claim is known there: what to say then takes a reading of all of it.
local r, last, own = unpack(redis.call('HMGET', key, 'r', '#', id))
local till, read, one = (not own and r or ''):match('^(%d+) (%d+) (%S+)$')
if till then till, read, last = tonumber(till), tonumber(read), tonumber(last) end
local fresh = till and shared and now - read < ${READ}
`;

/** First number of the reply to a vote. */
export const ANSWER = {
  granted: 1,
  /** Another claim has it. */
  refused: 0,
  stolen: -1,
  /** The ballot is too low, or too far ahead. */
  ballot: -2,
  excluded: -3,
} as const;

/**
 * `KEYS`: votes, memory. `ARGV`: id; `<ballot> <ttl> <longest> <steal> <run>`, with the ttl in microseconds,
 * the longest ttl in milliseconds, 1 to steal and the server's run_id as the caller has seen it on this
 * connection; the rest of the record; metadata if there is some. Replies the answer, then: the ballot;
 * or the milliseconds for which it is taken; or a ballot that would do; or the milliseconds for which
 * this node stays out. Then the node's time. Most keys are free: that comes first.
 */
export const VOTE: Script = script(
  CLOCK + `
local key, memory, id, rest, metadata = KEYS[1], KEYS[2], ARGV[1], ARGV[3], ARGV[4]
local ballot, ttl, longest, steal, run = ARGV[2]:match('^(%d+) (%d+) (%d+) (%d) (%w*)$')
ballot, ttl, longest = tonumber(ballot), tonumber(ttl), tonumber(longest)
` + OUT + `
if out > 0 then return { ${ANSWER.excluded}, math.ceil(out / 1000), now } end
local fit = ballot >= now and ballot <= now + ${AHEAD}
` + GIVE + `
local size = redis.call('HLEN', key)
local only = size == 1 and redis.call('HGET', key, '#')
if fit and (size == 0 or only and tonumber(only) < ballot) then
  give(0, 0)
  return { ${ANSWER.granted}, ballot, now }
end
` + CROWD + `
if fresh then
  if not (fit and ballot > last) then return { ${ANSWER.ballot}, math.max(last, now) + 1, now } end
  give(last, till, read)
  return { ${ANSWER.granted}, ballot, now }
end
if till and not shared and steal == '0' then
  local expires = tonumber((redis.call('HGET', key, one) or ''):match('^[1-9]%d* (%d+)'))
  if expires and expires > now then return { ${ANSWER.refused}, math.ceil((expires - now) / 1000), now } end
end
` + NODE + `
local v = load(key)
if v.tombs[id] then
  tell(v)
  return { ${ANSWER.stolen}, 0, now }
end
local rival
for _, other in ipairs(v.claims) do
  local rivals = other.id ~= id and not (shared and other.limit == '0')
  if rivals and not (rival and rival.expires > other.expires) then rival = other end
end
if rival and steal == '0' then
  if v.crowd then redis.pcall('HSET', key, 'r', string.format('%.0f %.0f %s', ends(v), now, rival.id)) end
  tell(v)
  return { ${ANSWER.refused}, math.ceil((rival.expires - now) / 1000), now }
end
local claim = v.by[id]
if not (claim and claim.ballot == ballot) and not (fit and ballot > v.last) then
  tell(v)
  return { ${ANSWER.ballot}, math.max(v.last, now) + 1, now }
end
if steal == '1' then
  for _, victim in ipairs(v.claims) do
    if victim.id ~= id then
      redis.call('HDEL', v.key, 'm:' .. victim.id)
      v.by[victim.id], v.tombs[victim.id] = nil, victim.expires
      redis.call('HSET', v.key, victim.id, '0 ' .. text(victim.expires) .. ' stolen')
      redis.call('PUBLISH', victim.channel, 'stolen ' .. victim.id)
    end
  end
end
give(v.last, ends(v), shared and (v.crowd or #v.claims > 0) and now)
if v.crowd and not shared then redis.call('HDEL', key, 'r') end
return { ${ANSWER.granted}, ballot, now }
`,
);

/**
 * Gives a vote that was won elsewhere: a majority has just renewed it, and this node, which was away at
 * the vote or has lost its memory since, is free. Tokens stay in order, because the majority of the
 * vote itself remembers its ballot. `KEYS` and `ARGV` as of {@linkcode VOTE}, but with the latest time
 * at which this may still be done in place of "1 to steal". Replies 1 if the vote is there now, and the time.
 */
export const ADOPT: Script = script(
  CLOCK + `
local key, memory, id, rest, metadata = KEYS[1], KEYS[2], ARGV[1], ARGV[3], ARGV[4]
local ballot, ttl, longest, latest, run = ARGV[2]:match('^(%d+) (%d+) (%d+) (%d+) (%w*)$')
ballot, ttl, longest = tonumber(ballot), tonumber(ttl), tonumber(longest)
` + OUT + `
if out > 0 or now > tonumber(latest) then return { 0, now } end
` + GIVE + CROWD + `
if fresh then
  give(last, till, read)
  return { 1, now }
end
` + NODE + `
local v = load(key)
if v.tombs[id] then return { 0, now } end
local given = v.by[id] and v.by[id].ballot
if given and given >= ballot then return { given == ballot and 1 or 0, now } end
for _, other in ipairs(v.claims) do
  if other.id ~= id and not (shared and other.limit == '0') then return { 0, now } end
end
give(v.last, ends(v), shared and (v.crowd or #v.claims > 0) and now)
if v.crowd and not shared then redis.call('HDEL', key, 'r') end
return { 1, now }
`,
);

/**
 * `KEYS`: votes. `ARGV`: id, the greatest ballot proposed for it or 0 for any, 1 if it has metadata.
 * Takes the vote back, and refuses copies of it that are still under way, by their ballot. A later vote
 * for the same claim stays: this may be a copy itself, or late. Replies 1 if it was there, and the time.
 * Most votes are the only one for their key, with the greatest ballot there.
 */
export const RETRACT: Script = script(
  CLOCK + `
local key, id, ballot = KEYS[1], ARGV[1], tonumber(ARGV[2])
local last = redis.call('HGET', key, '#')
local size = redis.call('HLEN', key)
if last and tonumber(last) == ballot and size == 2 + ARGV[3] then
  if redis.call('HDEL', key, id, 'm:' .. id) > 0 then
    redis.call('PEXPIREAT', key, math.ceil(last / 1000) + 1000)
    redis.call('PUBLISH', key, 'left')
    return { 1, now }
  end
end
local fit = ballot >= now and ballot <= now + ${AHEAD}
local r, own = unpack(redis.call('HMGET', key, 'r', id))
if r and size > ${FEW} then
  if fit and ballot > tonumber(last) then
    redis.call('PEXPIREAT', key, math.ceil(math.max(ballot, tonumber(r:match('^%d+'))) / 1000) + 1000)
    redis.call('HSET', key, '#', ballot)
  end
  local won, expires = (own or ''):match('^(%d+) (%d+)')
  won = tonumber(won)
  if not won or won == 0 or ballot ~= 0 and won > ballot then return { 0, now } end
  redis.call('HDEL', key, id, 'm:' .. id)
  redis.call('PUBLISH', key, 'left')
  return { tonumber(expires) > now and 1 or 0, now }
end
` + NODE + `
local v = load(key)
keep(v) -- a server out of memory lets a script go on that does not begin with HSET
if fit and ballot > v.last then
  v.last = ballot
  redis.call('HSET', key, '#', ballot)
end
local claim = v.by[id]
local there = claim and (claim.ballot <= ballot or ballot == 0)
if there then
  redis.call('HDEL', key, id, 'm:' .. id)
  v.by[id] = nil
end
if v.crowd and not next(v.by) then redis.call('HDEL', key, 'r') end
keep(v)
tell(v, there and 'left')
return { there and 1 or 0, now }
`,
);

/**
 * `KEYS`: memory, then votes. `ARGV`: ttl in ms, run_id, longest ttl in ms, then for each key the
 * number of claims and id and ballot of each. Replies the time, then 1 for each vote that goes on,
 * -1 for a stolen and 0 for a missing one; or only the time, if this node stays out.
 */
export const RENEW: Script = script(
  CLOCK + `
local memory, run, longest = KEYS[1], ARGV[2], tonumber(ARGV[3])
` + OUT + `
local ends = now + ARGV[1] * 1000
local reply = { now }
if out > 0 then return reply end
local at = 4
for k = 2, #KEYS do
  local key, count = KEYS[k], tonumber(ARGV[at])
  local ids, fields = {}, {}
  for n = 1, count do ids[n] = ARGV[at + 2 * n - 1] end
  local known = redis.call('HMGET', key, 'r', unpack(ids))
  for n, id in ipairs(ids) do
    local ballot, expires, rest = (known[n + 1] or ''):match('^(%d+) (%d+) (.*)$')
    local there = ballot and tonumber(expires) > now
    if there and ballot == ARGV[at + 2 * n] then
      fields[#fields + 1] = id
      fields[#fields + 1] = string.format('%s %.0f %s', ballot, ends, rest)
      reply[#reply + 1] = 1
    else
      reply[#reply + 1] = there and ballot == '0' and -1 or 0
    end
  end
  if #fields > 0 then
    local till, others = (known[1] or ''):match('^(%d+)( .*)$')
    if till and ends > tonumber(till) then
      fields[#fields + 1] = 'r'
      fields[#fields + 1] = string.format('%.0f', ends) .. others
    end
    -- The key stays for what else is there. A server out of memory lets a script go on that does not begin with HSET.
    local stays = math.ceil(now / 1000) + redis.call('PTTL', key)
    redis.call('PEXPIREAT', key, math.max(stays, math.ceil(ends / 1000) + 1000))
    redis.call('HSET', key, unpack(fields))
  end
  at = at + 2 * count + 1
end
return reply
`,
);

/** `KEYS`: votes. Replies for each key id, ballot, milliseconds left, limit, client, metadata of each vote. */
export const LIST: Script = script(
  CLOCK + NODE + `
local reply = {}
for _, key in ipairs(KEYS) do
  local v = load(key)
  tell(v)
  local votes = {}
  for _, claim in ipairs(v.claims) do
    local left = math.ceil((claim.expires - now) / 1000)
    local client = claim.rest:match('^%d+ %S+ %d (.*)$')
    for _, value in ipairs({ claim.id, claim.ballot, left, tonumber(claim.limit), client, v.metadata[claim.id] or '' }) do
      votes[#votes + 1] = value
    end
  end
  reply[#reply + 1] = votes
end
return reply
`,
);
