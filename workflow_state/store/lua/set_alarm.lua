-- Have a worker look at something after a while.
--
-- keys:
--   alarms         sorted set: what to look at -> when, in s
-- arguments:
--   member         text: what to look at
--   after_s        number: s from now
--   only_existing  flag: change an alarm that is there, and set no new one
--   retention_s    number: how long the alarms live from now on
--
-- Answers nothing. May be repeated.
local at_s = tonumber(redis.call('TIME')[1]) + after_s
if only_existing then redis.call('ZADD', alarms, 'XX', at_s, member) else redis.call('ZADD', alarms, at_s, member) end
redis.call('EXPIRE', alarms, retention_s)
