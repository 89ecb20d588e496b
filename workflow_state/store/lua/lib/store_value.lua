-- Write a task's result and tell those who wait for it. A success that is there stays. `keeps_any` is for a value that
-- gives way to any other.
local function store_value(result, value, success_prefix, keeps_any, ttl_s)
  local stored = redis.call('GETRANGE', result, 0, #success_prefix - 1)
  if stored == success_prefix or (stored ~= '' and keeps_any) then return end
  if ttl_s then redis.call('SET', result, value, 'EX', ttl_s) else redis.call('SET', result, value) end
  redis.call('PUBLISH', result, value)
end
