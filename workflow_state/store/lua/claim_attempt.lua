-- Give the claim of one attempt of an action to a holder, if it is to be had.
--
-- include: clock, holder_is_over
-- keys:
--   progress      hash: what is under way of the execution
--   record        hash: what is known of it
-- arguments:
--   step          text: the action, or the element of its list, such as pay[3]
--   holder        text: the random id that is to hold the claim
--   process       text: the name of the holder's process
--   lease_prefix  text: with a process's name behind it, the key of that one's lease
--   attempt       number: from 1; 0 for whichever is due
--   now           text: ISO 8601, for people
--   retention_s   number: how long a progress hash lives that is new
--   over_holder   text?: a holder that the caller knows to be over
--   over_is_lost  flag: that holder's process is known to be dead
--
-- Answers the claim as it stands now (JSON) if it is this holder's, otherwise nil. May be repeated, as the client
-- does where a reply is lost.
--
-- The attempt is to be had in one of these cases:
-- - nobody has claimed the action, and this is its first attempt;
-- - the attempt before this one has ended in a retry;
-- - it waited for a person and was released (waiting.py), or it was held back for a permit (permits.py);
-- - its holder is over and left no result.
local raw = redis.call('HGET', progress, step)
local claim = raw and cjson.decode(raw) or {status = 'retrying', attempt = 0}
local now_s = read_clock_s()

if claim.holder ~= holder then
  if attempt == 0 then
    attempt = claim.attempt
    if claim.status == 'retrying' then
      if claim.dueAt and now_s < claim.dueAt then return false end
      if not claim.heldBack then attempt = attempt + 1 end
    end
  end
  if attempt < claim.attempt then return false end
  if attempt > claim.attempt then
    claim.sent, claim.losses, claim.pauses = nil, nil, nil
  elseif claim.status == 'running' then
    local is_lost = over_is_lost
    if claim.holder ~= over_holder then
      local lease = redis.call('GET', lease_prefix .. claim.process)
      if not holder_is_over(lease, claim.holder, claim.at) then return false end
      is_lost = true
    end
    if is_lost then claim.losses = (claim.losses or 0) + 1 end
  elseif claim.status ~= 'released' and not claim.heldBack then
    return false
  elseif claim.dueAt and now_s < claim.dueAt - 1 and redis.call('HEXISTS', record, 'cancelRequestedAt') == 0 then
    -- A message that comes long before its permit is a second one. It would only be held back into a third, unless a
    -- cancellation has sent it.
    return false
  end
  claim.attempt = attempt
end
claim.status = 'running'
claim.process = process
claim.holder = holder
claim.at = now_s
claim.startedAt = claim.startedAt or now
claim.nextAttemptAt, claim.dueAt = nil, nil
if claim.heldBack then claim.heldBack, claim.waits = nil, (claim.waits or 0) + 1 end
local written = cjson.encode(claim)
-- A hash that was there has its TTL already, since its level began.
if redis.call('HSET', progress, step, written, ':at', now_s) == 2 then redis.call('EXPIRE', progress, retention_s) end
return written
