-- Note that an unsafe request is about to leave.
--
-- include: own_claim
-- keys:
--   progress  hash: what is under way of the execution
-- arguments:
--   step      text: the action, or the element of its list, such as pay[3]
--   holder    text: who holds its claim
--
-- Answers 1, or 0 where the claim is another holder's.
local claim = read_own_claim(progress, step, holder)
if not claim then return 0 end
claim.sent = true
redis.call('HSET', progress, step, cjson.encode(claim))
return 1
