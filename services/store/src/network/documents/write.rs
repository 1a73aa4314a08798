//! How documents are written: inserted, or put in place of the version that was there.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use mongodb::bson::{Document as Bson, doc};
use mongodb::error::ErrorKind as MongoKind;
use mongodb::options::ReturnDocument;

use super::error::{fail, is_duplicate};
use super::{MongoDocuments, TRIES_MAX, found_by, joint, version};
use crate::documents::{Collection, Put, conflict, lookups};
use crate::{Expect, StoreError, Tenant, Version};

/// Documents that are written one by one at the same time.
const AT_ONCE: usize = 16;

type Outcome = Result<Version, StoreError>;

/// Writes all, each for itself: what may be new in one insert, the others one by one, those of one key in their order.
pub(super) async fn put_all(
    store: &MongoDocuments,
    tenant: &Tenant,
    collection: Collection,
    puts: &[Put],
) -> Result<Vec<Outcome>, StoreError> {
    let mut times: HashMap<&str, usize> = HashMap::new();
    puts.iter().for_each(|put| *times.entry(&put.id).or_default() += 1);
    let may_be_new = |place: &usize| {
        let put = &puts[*place];
        !matches!(put.expect, Expect::Version(_)) && times[put.id.as_str()] == 1
    };
    let fresh: Vec<usize> = (0..puts.len()).filter(may_be_new).collect();
    let mut outcomes: HashMap<usize, Outcome> =
        insert(store, tenant, collection, puts, &fresh).await?.into_iter().collect();

    let mut left: HashMap<&str, Vec<usize>> = HashMap::new();
    for place in (0..puts.len()).filter(|place| !outcomes.contains_key(place)) {
        left.entry(&puts[place].id).or_default().push(place);
    }
    let in_order = |places: Vec<usize>| async move {
        let mut written = Vec::with_capacity(places.len());
        for place in places {
            written.push((place, put(store, tenant, collection, &puts[place]).await?));
        }
        Ok::<_, StoreError>(written)
    };
    let written: Vec<_> =
        stream::iter(left.into_values().map(in_order)).buffer_unordered(AT_ONCE).try_collect().await?;
    outcomes.extend(written.into_iter().flatten());
    Ok((0..puts.len()).map(|place| outcomes.remove(&place).expect("each was written or refused")).collect())
}

/// Inserts what is new. A document that is there already is refused where it must not be, and left to be replaced where
/// it may.
async fn insert(
    store: &MongoDocuments,
    tenant: &Tenant,
    collection: Collection,
    puts: &[Put],
    places: &[usize],
) -> Result<Vec<(usize, Outcome)>, StoreError> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let first = Version::first();
    let rows = places.iter().map(|place| fields(tenant, collection, &puts[*place], first));
    let inserted = store.collection(collection).insert_many(rows).ordered(false).await;
    let there: HashSet<usize> = match inserted {
        Ok(_) => HashSet::new(),
        Err(error) => match error.kind.as_ref() {
            MongoKind::InsertMany(many) if many.write_concern_error.is_none() => {
                let errors = many.write_errors.as_deref().unwrap_or_default();
                if errors.is_empty() || !errors.iter().all(|error| is_duplicate(error.code)) {
                    return Err(fail("put")(error));
                }
                errors.iter().map(|error| error.index).collect()
            }
            _ => return Err(fail("put")(error)),
        },
    };
    let outcome = |(row, place): (usize, &usize)| {
        let put = &puts[*place];
        match (there.contains(&row), put.expect) {
            (false, _) => Some((*place, Ok(first))),
            (true, Expect::Absent) => Some((*place, Err(conflict("put", &put.id, put.expect)))),
            (true, _) => None,
        }
    };
    Ok(places.iter().enumerate().filter_map(outcome).collect())
}

/// Writes one. What came between two tries is tried again.
async fn put(
    store: &MongoDocuments,
    tenant: &Tenant,
    collection: Collection,
    put: &Put,
) -> Result<Outcome, StoreError> {
    let refused = || Ok(Err(conflict("put", &put.id, put.expect)));
    for _ in 0..TRIES_MAX {
        if put.expect != Expect::Absent
            && let Some(version) = replace(store, "put", tenant, collection, put).await?
        {
            return Ok(Ok(version));
        }
        if matches!(put.expect, Expect::Version(_)) {
            return refused();
        }
        let first = Version::first();
        match store.collection(collection).insert_one(fields(tenant, collection, put, first)).await {
            Ok(_) => return Ok(Ok(first)),
            Err(error) if super::error::code(&error).is_some_and(is_duplicate) => (),
            Err(error) => return Err(fail("put")(error)),
        }
        if put.expect == Expect::Absent {
            return refused();
        }
    }
    refused()
}

/// Puts a document in place of the one there, when it is of the expected version. The new version, if it was.
pub(super) async fn replace(
    store: &MongoDocuments,
    call: &'static str,
    tenant: &Tenant,
    collection: Collection,
    put: &Put,
) -> Result<Option<Version>, StoreError> {
    let (documents, joint) = (store.collection(collection), joint(tenant, &put.id));
    let filter = match put.expect {
        Expect::Version(version) => store.of_version(call, collection, joint, version).await?,
        _ => Some(doc! { "_id": joint }),
    };
    let Some(filter) = filter else { return Ok(None) };
    let mut set = fields(tenant, collection, put, Version(0));
    set.remove("_id");
    set.remove("version");
    let unset: Bson = (collection.lookups.iter().map(|lookup| found_by(lookup)))
        .filter(|field| !set.contains_key(field))
        .map(|field| (field, "".into()))
        .collect();
    let mut update = doc! { "$set": set, "$inc": { "version": 1_i64 } };
    if !unset.is_empty() {
        update.insert("$unset", unset);
    }
    let updated = documents.find_one_and_update(filter, update).return_document(ReturnDocument::After);
    let updated = updated.await.map_err(fail(call))?;
    updated.map(|row| version(call, &row)).transpose()
}

/// The fields of a document.
fn fields(tenant: &Tenant, collection: Collection, put: &Put, version: Version) -> Bson {
    let mut fields = doc! {
        "_id": joint(tenant, &put.id),
        "tenant": tenant.as_str(),
        "version": version.0 as i64,
        "body": put.body.to_string(),
    };
    for (lookup, text) in lookups(collection, &put.body) {
        fields.insert(found_by(lookup), text);
    }
    fields
}
