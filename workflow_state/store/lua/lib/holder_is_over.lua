-- Whether the holder of a claim or a permit has ended without a result.
--
-- `lease` is the lease (JSON) of the holder's process, false where there is none any more: then the process is dead. A
-- lease that is younger than what is held names all holders of its process; one that it does not name is over.
-- `held_since_s` is when the claim or permit was taken.
--
-- The same rule stands in Python in leases.py; tests/integration/store/test_leases.py compares the two.
local function holder_is_over(lease, holder, held_since_s)
  if not lease then return true end
  local told = cjson.decode(lease)
  return told.at > held_since_s and not string.find(told.holders, holder, 1, true)
end
