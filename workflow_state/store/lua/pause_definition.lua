-- Let nobody send requests of a definition for a while. A pause that is under way is never shortened.
--
-- include: clock
-- keys:
--   pause     string: when the pause ends, s since 1970; it lives as long as the pause
-- arguments:
--   pause_ms  number: how long, in whole ms
--
-- Answers nothing. May be repeated.
if redis.call('PTTL', pause) >= pause_ms then return end
redis.call('SET', pause, string.format('%.3f', read_clock_s() + pause_ms / 1000), 'PX', pause_ms)
