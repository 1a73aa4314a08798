-- Takes a lock that nobody has. KEYS: the lock, its last token. ARGV: the time to live in milliseconds. Answers the token,
-- or nothing. A token is greater than the last one, and at least the time in microseconds, so that it is greater also
-- when the server has lost the last one; that is kept for a day beyond the lock, no clock being that far off.
if redis.call('EXISTS', KEYS[1]) == 1 then
    return false
end
local time = redis.call('TIME')
local token = math.max(time[1] * 1000000 + time[2], (redis.call('GET', KEYS[2]) or 0) + 1)
token = string.format('%.0f', token)
redis.call('SET', KEYS[1], token, 'PX', ARGV[1])
redis.call('SET', KEYS[2], token, 'PX', ARGV[1] + 86400000)
return token
