/** How a claim leaves a queue; see `queue.ts` for what that looks like. */
import type { Operation } from "./gather.ts";
import { CLOCK, QUEUE } from "./queue.ts";
import { type Script, script } from "./script.ts";

/** How a claim leaves a queue in which it seems to be alone. Nil if it is not it that is there. */
const LEAVE = `
local function leave(key, id, has)
  local removed = has == '1' and redis.call('HDEL', key, id, 'm:' .. id) or redis.call('HDEL', key, id)
  if removed > 0 then redis.call('PUBLISH', key, '') end
  return (removed > 0 or has == '0') and removed
end
`;

/**
 * `KEYS`: the queue. `ARGV`: id, and where it is not 0: 1 for metadata, and until which server time a
 * late copy of an attempt could still enter. Replies whether the claim was there. Most claims are alone in their
 * queue, with the last token: that comes first; then those that pass the lock to the only other one.
 */
const RELEASE_ONE: Script = script(
  LEAVE + `
local key, id, has, latest = KEYS[1], ARGV[1], ARGV[2] or '0', tonumber(ARGV[3] or 0)
local length = latest == 0 and redis.call('HLEN', key)
if length == 2 + has then
  local removed = leave(key, id, has)
  if removed then return removed end
end
` + CLOCK + `
local fields = redis.call('HGETALL', key)
if length and length <= 4 + has then
  local mine, heir, record, others = nil, nil, nil, 0
  for i = 1, #fields, 2 do
    local name = fields[i]
    if name == id then mine = fields[i + 1]
    elseif name:sub(1, 2) == 'x:' then others = 2
    elseif name ~= '#' and name:sub(1, 2) ~= 'm:' then heir, record, others = name, fields[i + 1], others + 1 end
  end
  -- Exclusive, ahead of it, and neither has expired: it holds as soon as this one has left.
  if mine and others == 1 and mine:sub(35, 36) == '1 ' and tonumber(mine:sub(1, 16)) < tonumber(record:sub(1, 16))
    and tonumber(mine:sub(18, 33)) > now and tonumber(record:sub(18, 33)) > now then
    local channel = record:match('^%d+ (%S+)', 35)
    if has == '1' then redis.call('HDEL', key, id, 'm:' .. id) else redis.call('HDEL', key, id) end
    redis.call('PUBLISH', channel, 'granted ' .. heir .. ' ' .. record:sub(1, 16))
    redis.call('PUBLISH', key, '')
    return 1
  end
end
` + QUEUE + `
local q = load(key, fields)
local claim = q.by[id]
local tombstone = latest > now and ARGV[3] .. ' withdrawn'
if tombstone then keep(q) end
if claim then
  forget(q, claim, tombstone)
  table.remove(q.claims, claim.at)
elseif tombstone then
  redis.call('HSET', q.key, 'x:' .. id, tombstone)
  keep(q) -- now that it surely exists
end
settle(q)
return claim and 1 or 0
`,
);

/** The same for claims that are alone in their queue. */
const RELEASE_MANY: Script = script(
  LEAVE + `
local reply = {}
for n, key in ipairs(KEYS) do
  local id, has = ARGV[3 * n - 2], ARGV[3 * n - 1]
  if has == '' then has = '0' end
  reply[n] = false
  if (ARGV[3 * n] == '' or ARGV[3 * n] == '0') and redis.pcall('HLEN', key) == 2 + has then reply[n] = leave(key, id, has) end
end
return reply
`,
);

/** Gives up a place. */
export const RELEASE: Operation = { one: RELEASE_ONE, many: RELEASE_MANY, size: 3 };
