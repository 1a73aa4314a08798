-- Adds to counters once a step. KEYS: the stream's last step, the counters. ARGV: this step, the time to live in
-- milliseconds, the amounts. Answers whether it added.
local last = redis.call('GET', KEYS[1])
if last and last >= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
for i = 2, #KEYS do
    local amount = ARGV[i + 1]
    local sum = redis.pcall('INCRBY', KEYS[i], amount)
    if type(sum) == 'table' then -- it would overflow, and stays at the end
        redis.call('SET', KEYS[i], amount:sub(1, 1) == '-' and '-9223372036854775808' or '9223372036854775807')
    end
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
end
return 1
