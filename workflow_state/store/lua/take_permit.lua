-- Permit an attempt to be sent, or say when it is to come back. permits.py explains the rules.
--
-- include: clock, holder_is_over
-- keys:
--   pause         string that lives as long as the pause
--   limit         hash: `slot`, the next free one; `sent`, when the next may be sent; `hold`, s that a permit is held
--   slots         sorted set: attempt -> its slot
--   held          hash: holder -> {process, at}
--   line          sorted set: attempt that waits for one of those -> since when
--   seen          sorted set: attempt that waits -> when it will come back
-- arguments:
--   attempt       text: who asks: execution, action, and the attempt's number
--   holder        text: who holds the attempt's claim
--   process       text: the name of the holder's process
--   lease_prefix  text: with a process's name behind it, the key of that one's lease
--   interval_s    number: s between two slots; 0 where any number may be sent
--   concurrent    number: how many may be sent at once; 0 for any
--   patience_s    number: how long a worker may be held until it may send
--   ttl_s         number: s after which a permit may be forgotten
--   obeys_pause   flag: whether it waits for the pause
--
-- Answers why it is held back ('limit', 'pause' or ''), and the s until it may be sent or is to come back, as text:
-- Redis cuts numbers. May be repeated: the slot is kept under the attempt's name, the permit under the holder's; a
-- repeated answer costs one slot at most.
local now_s = read_clock_s()

local function take_slot(from_s, paused_s)
  redis.call('ZREMRANGEBYSCORE', slots, '-inf', now_s - 60)
  local slot = tonumber(redis.call('ZSCORE', slots, attempt))
  local sent = tonumber(redis.call('HGET', limit, 'sent')) or 0
  -- A slot in the pause, or that so many are late for that it can't be made up, is gone: to the end of the line.
  if slot and slot < from_s and (paused_s > 0 or sent - now_s > patience_s) then slot = nil end
  if not slot then
    slot = math.max(from_s, tonumber(redis.call('HGET', limit, 'slot')) or 0)
    redis.call('HSET', limit, 'slot', string.format('%.6f', slot + interval_s))
    redis.call('ZADD', slots, slot, attempt)
    local slot_ttl_s = math.ceil(slot + interval_s - now_s) + 120
    redis.call('EXPIRE', limit, slot_ttl_s)
    redis.call('EXPIRE', slots, slot_ttl_s)
  end
  return math.max(from_s, slot, sent)
end

-- Free the permits of holders that are over, and return how many that were.
local function free_left_over()
  local count, permits = 0, redis.call('HGETALL', held)
  for i = 1, #permits, 2 do
    local permit = cjson.decode(permits[i + 1])
    if holder_is_over(redis.call('GET', lease_prefix .. permit.process), permits[i], permit.at) then
      redis.call('HDEL', held, permits[i])
      count = count + 1
    end
  end
  return count
end

-- Take one of the permits, and return nil; or stand in line, and return the s until it should be this one's turn.
local function take_one_of_many()
  local free = concurrent - redis.call('HLEN', held)
  if free <= 0 then free = free + free_left_over() end
  -- Who has not come back for long, will not: its execution was cancelled, say.
  for _, lost in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', now_s - 30)) do
    redis.call('ZREM', line, lost)
    redis.call('ZREM', seen, lost)
  end
  local place = redis.call('ZRANK', line, attempt) or redis.call('ZCARD', line)
  if free <= 0 or place >= free + concurrent then
    local hold_s = tonumber(redis.call('HGET', limit, 'hold')) or 0.2
    local turn = math.floor(place / concurrent)
    local wait_s = turn == 0 and math.min(1, hold_s / 2) or math.min(10, hold_s * turn)
    wait_s = math.max(0.1, wait_s)
    redis.call('ZADD', line, 'NX', now_s, attempt)
    redis.call('ZADD', seen, now_s + wait_s, attempt)
    redis.call('EXPIRE', line, 3600)
    redis.call('EXPIRE', seen, 3600)
    return wait_s
  end
  redis.call('ZREM', line, attempt)
  redis.call('ZREM', seen, attempt)
  redis.call('HSET', held, holder, cjson.encode({process = process, at = now_s}))
  redis.call('EXPIRE', held, ttl_s)
end

local paused_s = obeys_pause and math.max(0, redis.call('PTTL', pause)) / 1000 or 0
if paused_s > patience_s and interval_s == 0 then return {'pause', tostring(paused_s)} end
local at_s = now_s + paused_s
if interval_s > 0 then at_s = take_slot(at_s, paused_s) end
if at_s - now_s > patience_s then return {paused_s > 0 and 'pause' or 'limit', tostring(at_s - now_s)} end
if concurrent > 0 and redis.call('HEXISTS', held, holder) == 0 then
  local wait_s = take_one_of_many()
  if wait_s then return {'limit', tostring(wait_s)} end
end
if interval_s > 0 then redis.call('HSET', limit, 'sent', string.format('%.6f', at_s + interval_s)) end
return {'', tostring(at_s - now_s)}
