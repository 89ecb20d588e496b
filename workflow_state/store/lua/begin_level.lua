-- Note which level is about to be published, and which message goes on after it.
--
-- keys:
--   record       hash: what is known of the execution
--   progress     hash: what is under way of it
-- arguments:
--   level        number: from 0
--   stage        number: 2 for alternatives that stand in for whole lists, otherwise 1
--   parts        number: how many messages the level has
--   next         text: the message that goes on when all of them have ended (JSON)
--   retention_s  number: how long a progress hash lives that is new
--
-- Answers nothing. May be repeated: `begun`, how many actions have begun, counts each level and stage once.
local started, known_stage, begun = unpack(redis.call('HMGET', record, 'started', 'stage', 'begun'))
begun = tonumber(begun or 0)
if tonumber(started or -1) ~= level or tonumber(known_stage or 0) ~= stage then begun = begun + parts end
redis.call('HSET', record, 'begun', begun, 'started', level, 'stage', stage, 'parts', parts, 'next', next)
local is_new = redis.call('HSET', progress, ':at', tonumber(redis.call('TIME')[1])) == 1
if is_new then redis.call('EXPIRE', progress, retention_s) end
