-- Give back the permit of an attempt that has ended, and learn from it how long permits are held.
--
-- include: clock
-- keys:
--   limit   hash: `hold`, s that a permit is held lately
--   held    hash: holder -> {process, at}
-- arguments:
--   holder  text: who holds it
--
-- Answers nothing. May be repeated.
local raw = redis.call('HGET', held, holder)
if not raw then return end
redis.call('HDEL', held, holder)
local held_s = read_clock_s() - cjson.decode(raw).at
local before_s = tonumber(redis.call('HGET', limit, 'hold')) or held_s
redis.call('HSET', limit, 'hold', string.format('%.6f', before_s * 0.8 + held_s * 0.2))
if redis.call('TTL', limit) < 3600 then redis.call('EXPIRE', limit, 3600) end
