-- Release the claim of an execution's level task: it has done what there was to do, or it has failed.
--
-- include: own_claim
-- keys:
--   progress  hash: what is under way of the execution; `:level` is the claim
-- arguments:
--   holder    text: who holds it
--   failed    flag: it has failed, which counts as a lost worker does
--
-- Answers 1 where another task came meanwhile: then the claim stays, and the holder looks once more. Otherwise 0, also
-- where the claim is another holder's. May be repeated; a repeated 1 costs that holder one look more.
local claim = read_own_claim(progress, ':level', holder)
if not claim or claim.status ~= 'running' then return 0 end
local comes_again = claim.again and not failed
claim.again, claim.losses = nil, failed and (claim.losses or 0) + 1 or nil
if not comes_again then claim.status = 'released' end
redis.call('HSET', progress, ':level', cjson.encode(claim))
return comes_again and 1 or 0
