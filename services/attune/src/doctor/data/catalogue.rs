//! The items, and what rules keep out of lists.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use attune_content::Inventory;
use attune_doctor::{CatalogueFacts, KnownItems, RuleFacts};
use attune_ranking::attributes::Columns;
use attune_recommendation::InForce;
use attune_store::documents::Documents;
use attune_store::relational::Relational;
use attune_store::{PAGE_ROWS_MAX, PageRequest, Tenant};

use super::definitions;
use crate::config::Config;

/// What there is to show.
pub struct Shelf {
    /// Its items.
    pub known: KnownItems,
    /// How many they are.
    pub facts: CatalogueFacts,
    /// What keeps them out of lists.
    pub rules: Vec<RuleFacts>,
}

/// Reads all items. Of those that may be shown, attributes are held in memory where rules ask for them.
pub async fn read(
    config: &Config,
    rows: &dyn Relational,
    documents: Arc<dyn Documents>,
    tenant: &Tenant,
    in_force: &InForce,
) -> Result<Shelf> {
    let inventory = Inventory::open(rows, documents, tenant.clone()).await.map_err(|error| anyhow!(error.detail))?;
    let schema = inventory.schema();
    let rules = definitions::rules(in_force, &schema);
    let asks_attributes = rules.iter().any(|rule| rule.asks_attributes());
    let (mut known, mut facts) = (KnownItems::default(), CatalogueFacts::default());
    facts.is_embedding = config.roles.need_models() && !config.models.is_empty();
    let (mut builder, mut ids) = (Columns::builder(&schema), Vec::new());
    let mut page = PageRequest::first(PAGE_ROWS_MAX);
    loop {
        let found = inventory.page(page).await.map_err(|error| anyhow!(error.detail))?;
        for item in found.rows {
            known.add(&item.id);
            facts.items += 1;
            facts.shown += u64::from(item.is_shown);
            facts.embedded += u64::from(item.is_shown && item.is_embedded);
            if item.is_shown && !rules.is_empty() {
                builder.push(if asks_attributes { &item.attributes } else { &[] })?;
                ids.push(item.id);
            }
        }
        let Some(next) = found.next else { break };
        page = PageRequest { after: Some(next), rows: PAGE_ROWS_MAX };
    }
    let columns = builder.finish();
    let rules = rules.into_iter().map(|rule| rule.over(&columns, &ids)).collect();
    Ok(Shelf { known, facts, rules })
}
