-- Store an action's result, and count the action in its level.
--
-- include: store_value
-- keys:
--   result          string: the action's result
--   counted         set: the steps of the level that have ended
--   record          hash: what is known of the execution
-- arguments:
--   value           text: what to store (JSON)
--   success_prefix  text: what the value of a success begins with; a success stays, whoever comes later
--   keeps_any       flag: any value that is there stays
--   ttl_s           number?: how long the result lives; for ever without
--   step            text: the action, or the element of its list, such as pay[3]
--   level           text: the level's number
--   stored_bytes    number: how many bytes of its output are in the storage
--
-- Answers the message that goes on (JSON), where all of the level have ended; otherwise nil. May be repeated: who comes
-- twice is counted once.
store_value(result, value, success_prefix, keeps_any, ttl_s)
local is_first = redis.call('SADD', counted, step) == 1
local count = redis.call('SCARD', counted)
if count == 1 and ttl_s then redis.call('EXPIRE', counted, ttl_s) end
local current, message_count, message =
  unpack(redis.call('HMGET', record, 'currentLevel', 'messageCount', 'nextMessage'))
-- A record that is gone must not come back.
if is_first and current then
  redis.call('HINCRBY', record, 'stateBytes', #value)
  if stored_bytes > 0 then redis.call('HINCRBY', record, 'storedBytes', stored_bytes) end
end
return current == level and count >= tonumber(message_count) and message
