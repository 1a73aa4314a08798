-- The generic cell rate algorithm. KEYS: the rate. ARGV: cost of one and burst in microseconds, how many are taken.
-- Answers by how much it is too early, 0 if it was taken, and when the bucket runs empty, in microseconds from now.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local before = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local after = before + ARGV[1] * ARGV[3]
local over = after - (now + ARGV[2])
if over > 0 then
    return { math.min(over, 9007199254740992), before - now }
end
if after > now then
    redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000))
end
return { 0, after - now }
