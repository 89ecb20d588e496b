-- Note that an unsafe request is about to leave.
--
-- include: own_claim
-- keys:
--   progress  hash: what is under way of the execution
-- arguments:
--   action    text: the action's name in the progress hash
--   holder    text: who holds its claim
--
-- Answers 1, or 0 where the claim is another holder's.
local claim = read_own_claim(progress, action, holder)
if not claim then return 0 end
claim.sent = true
redis.call('HSET', progress, action, cjson.encode(claim))
return 1
