//! Which partition a subject's events go to.

use crate::{Tenant, hash::spread};

/// The partition of a subject, below `partitions`. It never changes, whichever backend holds the log.
pub fn partition_of(tenant: &Tenant, subject: &str, partitions: u32) -> u32 {
    (spread([tenant.as_str(), "\0", subject]) % u64::from(partitions)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored logs depend on these values.
    #[test]
    fn it_is_stable() {
        let tenant: Tenant = "acme".parse().unwrap();
        let found: Vec<u32> = ["s-1", "s-2", "ü", ""].map(|subject| partition_of(&tenant, subject, 8)).into();
        assert_eq!(found, STABLE);
    }

    #[test]
    fn it_spreads_subjects_evenly_and_tenants_differently() {
        let (a, b): (Tenant, Tenant) = ("a".parse().unwrap(), "b".parse().unwrap());
        let mut counts = [0_u32; 8];
        let mut same = 0;
        for number in 0..8_000 {
            let subject = format!("user-{number}");
            counts[partition_of(&a, &subject, 8) as usize] += 1;
            same += u32::from(partition_of(&a, &subject, 8) == partition_of(&b, &subject, 8));
        }
        // Six standard deviations of a binomial with p = 1/8.
        assert!(counts.iter().all(|count| (823..=1177).contains(count)), "{counts:?}");
        assert!((823..=1177).contains(&same), "{same}");
    }

    const STABLE: [u32; 4] = [4, 5, 6, 1];
}
