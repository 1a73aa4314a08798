//! Keeps memory that nobody uses from counting as the server's.
//!
//! What a catalogue, a snapshot or an import takes for a moment lies between things that stay when it is freed, and the
//! allocator keeps it: after 100,000 items were read that was as much memory as all that is in use. So it is looked at every
//! few seconds, and given back when there is much of it. An idle server never does it twice.

use std::time::Duration;

use attune_kernels::{heap_in_use, trim_heap};
use tokio::task::{JoinHandle, spawn_blocking};

const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Giving back takes milliseconds, in which others wait for memory: it is done for so many bytes at least.
const UNUSED_MIN: usize = 64 << 20;

/// Gives back what nobody uses, again and again, until it is aborted.
pub fn keep_small() -> JoinHandle<()> {
    tokio::spawn(async {
        let mut ours = 0;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Ok(left) = spawn_blocking(move || look(ours)).await else { return };
            ours = left;
        }
    })
}

/// Gives back where there is much more unused than the `least` there ever was; says how much that is from now on.
fn look(least: usize) -> usize {
    let Some(before) = unused() else { return least };
    if before < least + UNUSED_MIN {
        return least.min(before);
    }
    trim_heap();
    unused().unwrap_or(least)
}

/// Bytes that are resident and no page of a file, and on no account of the allocator's users.
fn unused() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    resident(&status)?.checked_sub(heap_in_use()?)
}

fn resident(status: &str) -> Option<usize> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.parse::<usize>().ok().map(|kilobytes| kilobytes << 10)
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_how_much_is_resident() {
        assert_eq!(resident("VmRSS:\t 9 kB\nRssAnon:\t    3 kB\n"), Some(3 << 10));
        assert_eq!(resident("VmRSS:\t 9 kB\n"), None);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(resident(&status).unwrap() > 1 << 20);
    }

    /// In a process of its own: what other tests hold meanwhile would be measured, too.
    #[test]
    fn memory_is_given_back_by_a_process_that_does_nothing_else() {
        let alone = ["heap::tests::what_was_freed_between_things_that_stay_is_given_back_once", "--exact", "--ignored"];
        let told = std::process::Command::new(std::env::current_exe().unwrap()).args(alone).output().unwrap();
        let said = String::from_utf8_lossy(&told.stdout);
        assert!(told.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    #[ignore = "is run by the test before, in a process of its own"]
    fn what_was_freed_between_things_that_stay_is_given_back_once() {
        const BLOCK: usize = 32 << 10;
        let least = look(0);
        let mut blocks: Vec<Vec<u8>> = (0..8_192).map(|_| vec![1; BLOCK]).collect();
        let mut number = 0;
        blocks.retain(|_| {
            number += 1;
            number % 16 == 0 || number == 8_192
        });
        let before = unused().unwrap();
        assert!(before > least + UNUSED_MIN, "{before} after {least}");
        let after = look(least);
        assert!(after < before - UNUSED_MIN, "{after} after {before}");
        assert!(look(after) <= after + UNUSED_MIN);
        assert_eq!(blocks.len(), 512);
    }
}
