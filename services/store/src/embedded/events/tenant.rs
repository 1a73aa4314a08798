//! All that the log keeps of one tenant.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::group::Group;
use super::journal::Journal;
use crate::embedded::disk::{Disk, make_folders};
use crate::embedded::disk_failure;
use crate::events::{Damage, check};
use crate::{StoreError, StoreKind, Tenant};

/// A tenant's logs and groups.
pub(super) struct TenantLog {
    pub(super) events: Arc<Journal>,
    pub(super) dead: Arc<Journal>,
    disk: Arc<dyn Disk>,
    groups_folder: String,
    partitions: u32,
    groups: Mutex<HashMap<String, Arc<Group>>>,
}

impl TenantLog {
    /// Opens everything there is, groups too: what they have committed is held against the events that are there now.
    pub(super) fn open(
        disk: &Arc<dyn Disk>,
        tenant: &Tenant,
        partitions: u32,
        segment_bytes: u64,
    ) -> io::Result<Arc<Self>> {
        let groups_folder = format!("{tenant}/groups");
        make_folders(&**disk, &groups_folder)?;
        let log = Self {
            events: Journal::open(disk.clone(), format!("{tenant}/events"), segment_bytes)?,
            dead: Journal::open(disk.clone(), format!("{tenant}/dead"), segment_bytes)?,
            disk: disk.clone(),
            groups_folder,
            partitions,
            groups: Mutex::default(),
        };
        for entry in disk.list(&log.groups_folder)? {
            if check::group("open", &entry.name).is_ok() {
                log.load(&entry.name)?;
            }
        }
        Ok(Arc::new(log))
    }

    /// The group of that name.
    pub(super) fn group(&self, call: &'static str, name: &str) -> Result<Arc<Group>, StoreError> {
        self.load(name).map_err(|error| disk_failure(StoreKind::Events, call, format!("the group {name}"), &error))
    }

    fn load(&self, name: &str) -> io::Result<Arc<Group>> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = groups.get(name) {
            return Ok(found.clone());
        }
        let next = self.events.bounds().1;
        let (group, damage) = Group::load(self.disk.clone(), &self.groups_folder, name, self.partitions, next)?;
        damage.into_iter().for_each(|damage| self.events.report(damage));
        groups.insert(name.to_owned(), group.clone());
        Ok(group)
    }

    /// All damage that was found.
    pub(super) fn damage(&self) -> Vec<Damage> {
        let mut all = self.events.damage();
        all.extend(self.dead.damage());
        all
    }
}
