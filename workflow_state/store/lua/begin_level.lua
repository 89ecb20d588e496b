-- Note which level is about to be published, and which message goes on after it.
--
-- include: own_claim
-- keys:
--   record         hash: what is known of the execution
--   progress       hash: what is under way of it
-- arguments:
--   holder         text: who holds the claim of the level task
--   level          number: from 0
--   wave           number: 1 for the level's actions, 2 for alternatives that stand in for whole lists
--   message_count  number: how many messages are published
--   next_message   text: the message that goes on when all of them have ended (JSON)
--   element_count  number: how many elements the lists of the level have
--
-- Answers 1, or 0 where the claim is another holder's: nothing may be published then. May be repeated: `begunCount`, how
-- many steps have begun, and `elementCount` have each wave of a level once.
if not read_own_claim(progress, ':level', holder) then return 0 end
local known_level, known_wave, begun, elements =
  unpack(redis.call('HMGET', record, 'currentLevel', 'wave', 'begunCount', 'elementCount'))
begun, elements = tonumber(begun or 0), tonumber(elements or 0)
if tonumber(known_level or -1) ~= level or tonumber(known_wave or 0) ~= wave then
  begun, elements = begun + message_count, elements + element_count
end
redis.call('HSET', record, 'currentLevel', level, 'wave', wave, 'messageCount', message_count,
  'nextMessage', next_message, 'begunCount', begun, 'elementCount', elements)
return 1
