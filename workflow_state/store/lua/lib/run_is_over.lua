-- Whether a run has ended without a result. `lease` is the lease (JSON) of the process that began the run, false where
-- there is none. `claimed_at_s` is when the run took what it holds.
-- The same rule stands in Python in leases.py; tests/integration/test_leases.py compares the two.
local function run_is_over(lease, run, claimed_at_s)
  if not lease then return true end
  local told = cjson.decode(lease)
  return told.at > claimed_at_s and not string.find(told.runs, run, 1, true)
end
