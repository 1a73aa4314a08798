-- Holds a lock for longer. KEYS: the lock. ARGV: the holder's token, the time to live in milliseconds. Answers whether he
-- has it.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
