//! Which partition a subject's events go to.

use crate::Tenant;

const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// The partition of a subject, below `partitions`. It never changes, whichever backend holds the log: 64-bit FNV-1a over
/// the tenant, a zero byte and the subject, mixed as MurmurHash3 ends, since FNV's low bits alone are uneven.
pub fn partition_of(tenant: &Tenant, subject: &str, partitions: u32) -> u32 {
    let bytes = tenant.as_str().bytes().chain([0]).chain(subject.bytes());
    let hash = bytes.fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    (mixed(hash) % u64::from(partitions)) as u32
}

fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
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
