-- Note that an execution has begun.
--
-- keys:
--   record  hash: what is known of the execution
-- arguments:
--   now     text: ISO 8601
--
-- Answers 1, or 0 where there is no such execution. May be repeated, even after the end.
local status = redis.call('HGET', record, 'status')
if not status then return 0 end
if status == 'initializing' then redis.call('HSET', record, 'startedAt', now, 'status', 'running') end
return 1
