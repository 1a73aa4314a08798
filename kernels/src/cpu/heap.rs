//! Memory that was freed goes back to the system.

/// Gives back the pages that nothing on the heap uses any more; whether there were any. Worth its tens of milliseconds
/// after work that took much memory once, such as loading models: what was freed between things that stay would otherwise
/// count as resident until the end.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn trim_heap() -> bool {
    // SAFETY: takes a number, and gives back pages without a live allocation in them, under the locks of malloc(3)'s
    // arenas (malloc_trim(3): thread-safe).
    unsafe { libc::malloc_trim(0) == 1 }
}

/// Other allocators give back what they do in their own time.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn trim_heap() -> bool {
    false
}

/// Bytes on the heap that something uses; `None` where the allocator does not say.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn heap_in_use() -> Option<usize> {
    // SAFETY: takes nothing, and gives numbers that it has counted under the locks of malloc(3)'s arenas (mallinfo(3)).
    let info = unsafe { libc::mallinfo2() };
    Some(info.uordblks + info.hblkhd)
}

/// Other allocators are not asked.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn heap_in_use() -> Option<usize> {
    None
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    const BLOCK_BYTES: usize = 64 << 10;
    const BLOCKS: usize = 4096;

    fn resident_bytes() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    #[test]
    fn what_was_freed_between_things_that_stay_is_given_back() {
        let mut blocks: Vec<_> = (0..BLOCKS).map(|number| vec![number as u8 | 1; BLOCK_BYTES]).collect();
        let before = resident_bytes();
        assert!(heap_in_use().unwrap() > BLOCKS * BLOCK_BYTES);
        // Each tenth stays, and so does the last, below which nothing is given back unasked.
        let mut number = 0;
        blocks.retain(|_| {
            number += 1;
            number % 10 == 0 || number == BLOCKS
        });
        assert!(trim_heap());
        // 90% of 256 MB were freed; other tests of this process take less than the difference.
        let given_back = before.saturating_sub(resident_bytes());
        assert!(given_back > BLOCKS * BLOCK_BYTES / 2, "{given_back} bytes");
        assert!(blocks.iter().all(|block| block.iter().all(|&byte| byte == block[0])));
    }
}
