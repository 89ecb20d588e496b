-- Let a claimed action wait for a person's answer.
--
-- include: own_claim
-- keys:
--   progress        hash: what is under way of the execution
--   alarms          sorted set: what to look at -> when, in s
-- arguments:
--   execution       text: the execution's id
--   step            text: the action, or the element of its list, such as pay[3]
--   holder          text: who holds its claim
--   asks            text: all its questions so far (a JSON list, which may be packed or encrypted); the last one is open
--   asks_count      number: how many they are
--   digest          text: of the request that the last question shows
--   timeout_s       number?: how long it waits; for ever without
--   message         text: the message that goes on with it (JSON, which may be packed)
--   template_field  text?: where the template of its list is stored, where it was not there yet
--   template        text?: what is the template then
--   look_after_s    number: s until a worker looks at it, as a sign of life
--   retention_s     number: how long the alarms live from now on
--
-- Answers 1, or 0 where the claim is another holder's. May be repeated.
local claim = read_own_claim(progress, step, holder)
if not claim then return 0 end
local now_s = tonumber(redis.call('TIME')[1])
claim.status = 'waiting'
claim.digest = digest
claim.asks = asks_count
claim.expiresAt = timeout_s and now_s + timeout_s or nil
local alarm_s = math.min(now_s + look_after_s, claim.expiresAt or math.huge)
redis.call('HSET', progress, step, cjson.encode(claim), step .. ':asks', asks, step .. ':message', message)
redis.call('HINCRBY', progress, ':askedBytes', #asks)
if template_field then redis.call('HSETNX', progress, template_field, template) end
redis.call('ZADD', alarms, alarm_s, execution .. ' ' .. step)
redis.call('EXPIRE', alarms, retention_s)
return 1
