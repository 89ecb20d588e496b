-- Note that a claimed attempt has ended in a retry, or is held back: for a permit, or because its mark is not safe.
--
-- include: own_claim
-- keys:
--   progress         hash: what is under way of the execution
--   record           hash: what is known of it
-- arguments:
--   step             text: the action, or the element of its list, such as pay[3]
--   holder           text: who holds its claim
--   next_attempt_at  text: ISO 8601, for people
--   delay_s          number: s until then
--   trace            text: the trace so far (JSON)
--   message          text: the message of the next attempt (JSON)
--   free_retries     number: how often an execution is retried, besides twice for each action that has begun
--   max_requests     number: how many requests an execution may send, one for each step that has begun, and retries
--   held_back        text?: why nothing was sent, so that the same attempt comes again: 'limit', 'pause' or 'durability'
--
-- Answers 1; 0 where the claim is another holder's; -1 where the execution has used up its retries.
-- May be repeated: a retry that is noted already is not counted again.
local claim = read_own_claim(progress, step, holder)
if not claim then return 0 end
if claim.status ~= 'retrying' and not held_back then
  local used = tonumber(redis.call('HGET', progress, ':retries') or 0)
  local begun = tonumber(redis.call('HGET', record, 'begunCount') or 0)
  begun = begun + tonumber(redis.call('HGET', progress, ':alternatives') or 0)
  if used >= free_retries + 2 * begun or used + begun >= max_requests then return -1 end
  redis.call('HSET', progress, ':retries', used + 1)
end
claim.status = 'retrying'
claim.nextAttemptAt = next_attempt_at
-- Nothing left, whatever an unsafe attempt had marked before it found that the mark is not safe.
if held_back then claim.heldBack, claim.sent = true, nil end
if held_back == 'pause' then claim.pauses = (claim.pauses or 0) + 1 end
claim.dueAt = tonumber(redis.call('TIME')[1]) + delay_s
redis.call('HSET', progress, step, cjson.encode(claim), step .. ':trace', trace, step .. ':message', message)
return 1
