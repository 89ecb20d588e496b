-- Note which level is about to be published, and which message goes on after it.
--
-- keys:
--   record         hash: what is known of the execution
--   progress       hash: what is under way of it
-- arguments:
--   level          number: from 0
--   wave           number: 1 for the level's actions, 2 for alternatives that stand in for whole lists
--   message_count  number: how many messages are published
--   next_message   text: the message that goes on when all of them have ended (JSON)
--   retention_s    number: how long a progress hash lives that is new
--
-- Answers nothing. May be repeated: `begunCount`, how many actions have begun, has each wave of a level once.
local known_level, known_wave, begun = unpack(redis.call('HMGET', record, 'currentLevel', 'wave', 'begunCount'))
begun = tonumber(begun or 0)
if tonumber(known_level or -1) ~= level or tonumber(known_wave or 0) ~= wave then begun = begun + message_count end
redis.call('HSET', record, 'currentLevel', level, 'wave', wave, 'messageCount', message_count,
  'nextMessage', next_message, 'begunCount', begun)
local is_new = redis.call('HSET', progress, ':at', tonumber(redis.call('TIME')[1])) == 1
if is_new then redis.call('EXPIRE', progress, retention_s) end
