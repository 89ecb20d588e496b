-- The time in seconds since 1970 by Redis' own clock, to the microsecond: a worker's clock may be wrong.
local function read_clock_s()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1e6
end
