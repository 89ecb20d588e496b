-- The claim of an action as a table, if it is this holder's; otherwise nil.
local function read_own_claim(progress, action, holder)
  local raw = redis.call('HGET', progress, action)
  local claim = raw and cjson.decode(raw)
  return claim and claim.holder == holder and claim or nil
end
