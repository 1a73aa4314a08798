-- Gives a lock back. KEYS: the lock. ARGV: the token of who gives it back, which must be the holder's.
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('DEL', KEYS[1])
end
