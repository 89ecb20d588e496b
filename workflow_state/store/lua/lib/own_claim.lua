-- The claim of an action as a table, if this run has it; otherwise nil.
local function read_own_claim(progress, action, run)
  local raw = redis.call('HGET', progress, action)
  local claim = raw and cjson.decode(raw)
  return claim and claim.run == run and claim or nil
end
