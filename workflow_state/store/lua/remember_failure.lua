-- Keep how an action failed, before its alternative takes its place.
--
-- keys:
--   progress  hash: what is under way of the execution
-- arguments:
--   action    text: the action's name in the progress hash
--   state     text: how it failed (JSON)
--
-- Answers nothing. May be repeated. An alternative counts as an action that has begun, and may be retried as well.
if redis.call('HSETNX', progress, action .. ':failure', state) == 1 then
  redis.call('HINCRBY', progress, ':alternatives', 1)
end
