-- The claim of a step as a table, if it is this holder's; otherwise nil.
local function read_own_claim(progress, step, holder)
  local raw = redis.call('HGET', progress, step)
  local claim = raw and cjson.decode(raw)
  return claim and claim.holder == holder and claim or nil
end
