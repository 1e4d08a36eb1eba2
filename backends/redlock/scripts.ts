/**
 * What one node does. It gives its vote for a key to one claim at a time (or to several shared ones),
 * for a ttl, by its own clock. In `prefix/{name}:votes`, a hash, are
 *
 * - `<id>`: a vote, `<ballot> <expires> <limit> <channel> <has metadata> <client>`; microseconds;
 *   limit 0 for a shared claim;
 * - `<id>`: or a tombstone, `0 <until> stolen`;
 * - `m:<id>`: the metadata of a claim;
 * - `#`: the greatest ballot given a vote. It is forgotten only once the clock has passed it.
 *
 * In `holdfast:node` is when this node began to remember: a node that comes back without its memory
 * could vote twice, so it stays out until every lock it may have forgotten has expired.
 */
import { CLOCK } from "../redis/queue.ts";
import { type Script, script } from "../redis/script.ts";

/** The memory of a node. */
export const MEMORY = "holdfast:node";

/** Microseconds by which a ballot may be ahead of a node's clock. */
export const AHEAD = 5_000_000;

/** Sets `out`: for how many microseconds this node stays out. `run` and `longest` come from the caller. */
const OUT = `
longest = math.max(longest * 1000, ${AHEAD})
local known = redis.call('HMGET', memory, 'run', 'since', 'longest')
local out
if known[1] == run and known[3] and tonumber(known[3]) >= longest then
  out = known[2] + known[3] - now
elseif known[1] == run then
  redis.call('HSET', memory, 'longest', longest)
  out = known[2] + longest - now
else
  redis.call('HSET', memory, 'run', run, 'since', now, 'longest', longest)
  out = longest
end
`;

/**
 * `KEYS`: memory. `ARGV`: longest ttl in ms. Replies the server's run_id. A node that has no memory
 * counts from here on, not only from the first vote that it is asked for.
 */
export const GREET: Script = script(
  CLOCK + `
local memory, longest = KEYS[1], tonumber(ARGV[1])
local run = redis.call('INFO', 'server'):match('run_id:(%w+)') or ''
` + OUT + `
return run
`,
);

const NODE = `
local function text(number) return string.format('%.0f', number) end

local function load(key, fields)
  local v = { key = key, last = 0, claims = {}, by = {}, tombs = {}, metadata = {} }
  fields = fields or redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    local id, record = fields[i], fields[i + 1]
    if id == '#' then
      v.last = tonumber(record)
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

local function write(v, claim)
  redis.call('HSET', v.key, claim.id, text(claim.ballot) .. ' ' .. text(claim.expires) .. ' ' .. claim.rest)
  v.by[claim.id] = claim
end

local function last(v, ballot)
  v.last = math.max(v.last, ballot)
  redis.call('HSET', v.key, '#', text(v.last))
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

/** First number of the reply to a vote. */
export const ANSWER = {
  granted: 1,
  /** Somebody else has it. */
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
local fields = redis.call('HGETALL', key)
local free = #fields == 0 or #fields == 2 and fields[1] == '#' and tonumber(fields[2]) < ballot

local function give(ends)
  local record = string.format('%.0f %.0f %s', ballot, now + ttl, rest)
  if metadata then redis.call('HSET', key, '#', ballot, id, record, 'm:' .. id, metadata)
  else redis.call('HSET', key, '#', ballot, id, record) end
  redis.call('PEXPIREAT', key, math.ceil(math.max(now + ttl, ballot, ends) / 1000) + 1000)
  redis.call('PUBLISH', key, 'voted')
  return { ${ANSWER.granted}, ballot, now }
end

if free and ballot >= now and ballot <= now + ${AHEAD} then return give(0) end
` + NODE + `
local limit = rest:match('^%d+')
local v = load(key, fields)
if v.tombs[id] then
  tell(v)
  return { ${ANSWER.stolen}, 0, now }
end
local taken = 0
for _, other in ipairs(v.claims) do
  if other.id ~= id and (limit ~= '0' or other.limit ~= '0') then taken = math.max(taken, other.expires - now) end
end
if taken > 0 and steal == '0' then
  tell(v)
  return { ${ANSWER.refused}, math.ceil(taken / 1000), now }
end
local claim = v.by[id]
if not (claim and claim.ballot == ballot) and (ballot <= v.last or ballot < now or ballot > now + ${AHEAD}) then
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
return give(ends(v))
`,
);

/**
 * Gives a vote that was won elsewhere: a majority has just renewed it, and this node, which was away at
 * the vote or has lost its memory since, is free. Tokens stay in order, because the majority of the
 * vote itself remembers its ballot. `KEYS` and `ARGV` as of {@linkcode VOTE}, but with the latest time
 * at which this may still be done in place of "1 to steal". Replies 1 if it was, and the time.
 */
export const ADOPT: Script = script(
  CLOCK + `
local key, memory, id, rest, metadata = KEYS[1], KEYS[2], ARGV[1], ARGV[3], ARGV[4]
local ballot, ttl, longest, latest, run = ARGV[2]:match('^(%d+) (%d+) (%d+) (%d+) (%w*)$')
ballot, ttl, longest = tonumber(ballot), tonumber(ttl), tonumber(longest)
` + OUT + NODE + `
if out > 0 or now > tonumber(latest) then return { 0, now } end
local v = load(key)
if v.by[id] or v.tombs[id] then return { 0, now } end
local limit = rest:match('^%d+')
for _, other in ipairs(v.claims) do
  if limit ~= '0' or other.limit ~= '0' then return { 0, now } end
end
last(v, ballot)
write(v, { id = id, ballot = ballot, expires = now + ttl, rest = rest })
if metadata then redis.call('HSET', key, 'm:' .. id, metadata) end
keep(v)
tell(v, 'voted')
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
if last and tonumber(last) == ballot and redis.call('HLEN', key) == 2 + ARGV[3] then
  if redis.call('HDEL', key, id, 'm:' .. id) > 0 then
    redis.call('PEXPIREAT', key, math.ceil(last / 1000) + 1000)
    redis.call('PUBLISH', key, 'left')
    return { 1, now }
  end
end
` + NODE + `
local v = load(key)
keep(v) -- a server out of memory lets a script go on that does not begin with HSET
if ballot > v.last and ballot >= now and ballot <= now + ${AHEAD} then
  last(v, ballot)
end
local claim = v.by[id]
local there = claim and (claim.ballot <= ballot or ballot == 0)
if there then
  redis.call('HDEL', key, id, 'm:' .. id)
  v.by[id] = nil
end
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
` + OUT + NODE + `
local ttl = ARGV[1] * 1000
local reply = { now }
if out > 0 then return reply end
local at = 4
for k = 2, #KEYS do
  local v = load(KEYS[k])
  keep(v)
  for n = 1, tonumber(ARGV[at]) do
    local id, ballot = ARGV[at + 2 * n - 1], tonumber(ARGV[at + 2 * n])
    local claim = v.by[id]
    local there = claim and claim.ballot == ballot
    if there then
      claim.expires = now + ttl
      write(v, claim)
    end
    reply[#reply + 1] = there and 1 or v.tombs[id] and -1 or 0
  end
  keep(v)
  tell(v)
  at = at + 2 * tonumber(ARGV[at]) + 1
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
