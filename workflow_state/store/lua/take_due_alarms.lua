-- Return what is due now, and put it off: one worker looks at it now, another one if that one dies.
--
-- keys:
--   alarms     sorted set: what to look at -> when, in s
-- arguments:
--   put_off_s  number: s until others look at it
--   at_once    number: how many are taken at most
--
-- Answers the members.
local now_s = tonumber(redis.call('TIME')[1])
local due = redis.call('ZRANGEBYSCORE', alarms, '-inf', now_s, 'LIMIT', 0, at_once)
for _, member in ipairs(due) do redis.call('ZADD', alarms, now_s + put_off_s, member) end
return due
