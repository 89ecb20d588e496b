-- Give the claim of an execution's level task to a holder, if it is to be had.
--
-- include: clock, holder_is_over
-- keys:
--   progress      hash: what is under way of the execution; `:level` is this claim
--   record        hash: what is known of it
-- arguments:
--   level         number: the level that the task goes on with, from 0
--   holder        text: the random id that is to hold the claim
--   process       text: the name of the holder's process
--   lease_prefix  text: with a process's name behind it, the key of that one's lease
--   retention_s   number: how long a progress hash lives that is new
--   over_holder   text?: a holder that the caller knows to be over
--   over_is_lost  flag: that holder's process is known to be dead
--
-- Answers how many workers were lost over it, if it is this holder's; otherwise nil. May be repeated, as the client does
-- where a reply is lost.
--
-- It is to be had in one of these cases:
-- - the task of this level has not begun, whatever the one of the level before still has to do: all of that level's
--   messages have ended, so they were published;
-- - it ran before, and released the claim;
-- - its holder is over and released nothing.
-- A task that comes while another one holds the claim leaves a mark, `again`: the holder looks once more when it is done.
local raw = redis.call('HGET', progress, ':level')
if not raw and redis.call('EXISTS', record) == 0 then return false end
local claim = raw and cjson.decode(raw) or {level = level, status = 'released'}
local now_s = read_clock_s()

if claim.holder ~= holder then
  if level < claim.level then return false end
  if level > claim.level then
    claim = {level = level}
  elseif claim.status == 'running' then
    local is_lost = over_is_lost
    if claim.holder ~= over_holder then
      local lease = redis.call('GET', lease_prefix .. claim.process)
      if not holder_is_over(lease, claim.holder, claim.at) then
        claim.again = true
        redis.call('HSET', progress, ':level', cjson.encode(claim))
        return false
      end
      is_lost = true
    end
    if is_lost then claim.losses = (claim.losses or 0) + 1 end
  end
end
claim.status = 'running'
claim.process = process
claim.holder = holder
claim.at = now_s
claim.again = nil
local is_new = redis.call('HSET', progress, ':level', cjson.encode(claim), ':at', now_s) == 2
if is_new then redis.call('EXPIRE', progress, retention_s) end
return claim.losses or 0
