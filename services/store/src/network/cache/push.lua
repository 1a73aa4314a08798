-- Puts entries at the head of a list and cuts its tail. KEYS: the list. ARGV: how many stay, the time to live in
-- milliseconds, the entries.
for i = 3, #ARGV do
    redis.call('LPUSH', KEYS[1], ARGV[i])
end
if tonumber(ARGV[1]) == 0 then
    redis.call('DEL', KEYS[1])
else
    redis.call('LTRIM', KEYS[1], 0, ARGV[1] - 1)
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
