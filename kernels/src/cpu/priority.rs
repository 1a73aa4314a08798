//! A thread that stands back for all others.

/// The weakest claim to a processor that a thread can have and still run.
const NICE_MAX: libc::c_int = 19;

/// Gives the calling thread, and those that it starts from here on, the lowest priority; whether the system did. It cannot
/// be taken back. Beside threads of the usual priority such a thread gets about one part in seventy of a busy processor on
/// Linux, and all of one that is idle.
#[cfg(target_os = "linux")]
pub fn stand_back() -> bool {
    // SAFETY: the call reads its three numbers and no memory. On Linux, who 0 is the calling thread alone (setpriority(2),
    // "C library/kernel differences").
    unsafe { libc::setpriority(libc::PRIO_PROCESS as _, 0, NICE_MAX) == 0 }
}

/// Other systems know a priority of processes only: nothing is changed.
#[cfg(not(target_os = "linux"))]
pub fn stand_back() -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// The 17th figure behind the name in `/proc/thread-self/stat` (proc(5)), which may itself have spaces and brackets.
    fn nice() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, figures) = stat.rsplit_once(") ").unwrap();
        figures.split(' ').nth(16).unwrap().parse().unwrap()
    }

    #[test]
    fn a_thread_and_its_children_stand_back_and_nobody_else() {
        let before = nice();
        let inside = || {
            assert!(stand_back());
            (nice(), std::thread::spawn(nice).join().unwrap())
        };
        assert_eq!(std::thread::spawn(inside).join().unwrap(), (NICE_MAX, NICE_MAX));
        assert_eq!(nice(), before);
    }
}
