-- End an action's waiting for a person. One answer has one effect, whoever else answers in the same instant.
--
-- keys:
--   progress             hash: what is under way of the execution
--   alarms               sorted set: what to look at -> when, in s
-- arguments:
--   execution            text: the execution's id
--   step                 text: the action, or the element of its list, such as pay[3]
--   how                  text: 'answer', 'timeout' or 'cancel'
--   answer               text: the answer (JSON); not kept for 'cancel'
--   unpublished_after_s  number: s until a worker looks whether the action's message was published
--   silence_s            number: s until a worker looks at the execution again
--   retention_s          number: how long the alarms live from now on
--   digests              list: the digest of the request that the answer is bound to, in each way in which it may be
--                        written; an answer without one counts for none
--
-- Answers 'released'; or why not: 'nothing' waits, it was 'answered' before, its request has 'changed', the answer is
-- 'unbound' because it has no digest, its time has 'expired'.
local raw = redis.call('HGET', progress, step)
if not raw then return 'nothing' end
local claim = cjson.decode(raw)
local answer_field = step .. ':answer:' .. (claim.asks or 0)
if claim.status ~= 'waiting' then
  if redis.call('HEXISTS', progress, answer_field) == 1 then return 'answered' end
  return 'nothing'
end
local now_s = tonumber(redis.call('TIME')[1])
local has_expired = claim.expiresAt and now_s >= claim.expiresAt
if how == 'timeout' and not has_expired then return 'nothing' end
if how == 'answer' then
  if has_expired then return 'expired' end
  if #digests == 0 then return 'unbound' end
  local is_bound = false
  for _, digest in ipairs(digests) do is_bound = is_bound or digest == claim.digest end
  if not is_bound then return 'changed' end
end
if how ~= 'cancel' then redis.call('HSET', progress, answer_field, answer) end
claim.status = 'released'
redis.call('HSET', progress, step, cjson.encode(claim), ':at', now_s)
redis.call('ZADD', alarms, now_s + unpublished_after_s, execution .. ' ' .. step)
redis.call('ZADD', alarms, 'XX', now_s + silence_s, execution .. ' ')
redis.call('EXPIRE', alarms, retention_s)
return 'released'
