-- Store an execution's record before its first message is published.
--
-- keys:
--   record        hash: what is known of the execution
--   index         sorted set: execution -> time of submission in ms
--   alarms        sorted set: what to look at -> when, in s
--   encryption    string: the id of the key that executions are encrypted by
-- arguments:
--   execution     text: the execution's id
--   digests       text: tell this plan from others, in each way in which that may be written, with spaces between them
--   key_id        text?: of the key that the fields are encrypted by
--   submitted_ms  number: now, in ms since 1970
--   retention_s   number: how long all of this lives
--   alarm         text: the execution's member of the alarms
--   first_look_s  number: s until a worker looks whether the execution has begun
--   fields        list: the record's fields and values in turn
--
-- Answers 'new'; or what is there already: its status where the digest is the same, 'conflict' where it is another; or
-- 'unencrypted' where the fields are not encrypted, and others are.
-- May be repeated: the second time it answers 'initializing', and the caller publishes either way.
if key_id then
  redis.call('SET', encryption, key_id, 'EX', retention_s)
elseif redis.call('EXISTS', encryption) == 1 then
  return 'unencrypted'
end
local known = redis.call('HGET', record, 'digest')
if known then
  if not string.find(digests, known, 1, true) then return 'conflict' end
  -- Written once more, so that the caller may wait for a replica to have it: one waits for one's own writes only.
  redis.call('HSET', record, 'digest', known)
  return redis.call('HGET', record, 'status')
end
-- Not all at once: Lua's stack has an end.
for i = 1, #fields, 1000 do redis.call('HSET', record, unpack(fields, i, math.min(i + 999, #fields))) end
redis.call('EXPIRE', record, retention_s)
redis.call('ZADD', index, submitted_ms, execution)
redis.call('ZREMRANGEBYSCORE', index, '-inf', submitted_ms - retention_s * 1000)
redis.call('EXPIRE', index, retention_s)
redis.call('ZADD', alarms, tonumber(redis.call('TIME')[1]) + first_look_s, alarm)
redis.call('EXPIRE', alarms, retention_s)
return 'new'
