//! Orders and pages.

use attune_store::search::{Cursor, Order};

use super::*;

/// Every id in the order of the pages.
async fn pages(search: &dyn Search, tenant: &Tenant, query: &Query, hits_max: usize) -> Vec<String> {
    let mut seen = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let page = search.search(tenant, &Query { hits_max, after, ..query.clone() }).await.unwrap();
        assert!(page.hits.len() == hits_max || page.next.is_none());
        seen.extend(page.hits.into_iter().map(|hit| hit.id));
        // As a client would, by way of text.
        match page.next {
            None => return seen,
            Some(next) => after = Some(next.to_string().parse().unwrap()),
        }
    }
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort_unstable();
    ids
}

pub async fn every_hit_is_on_one_page_by_relevance(search: &dyn Search) {
    let tenant = begun(search, &schema()).await;
    let entries: Vec<Entry> =
        (0..45).map(|number| put(&format!("{number:02}"), "red shoe", &"red ".repeat(number % 4))).collect();
    let expected: Vec<String> = entries.iter().map(|entry| entry.id.clone()).collect();
    // In two parts, so that there is more than one segment.
    let (first, second) = entries.split_at(20);
    write(search, &tenant, first.to_vec()).await;
    write(search, &tenant, second.to_vec()).await;
    let whole = pages(search, &tenant, &text("red"), 100).await;
    for hits_max in [1, 7, 44, 45] {
        for words in ["red", "shoe", "rad", ""] {
            let seen = pages(search, &tenant, &text(words), hits_max).await;
            assert_eq!(sorted(seen.clone()), expected, "{words:?} by {hits_max}");
            assert!(words != "red" || seen == whole, "another order by {hits_max}");
        }
    }
}

pub async fn every_hit_is_on_one_page_by_attribute(search: &dyn Search) {
    let schema = Schema::new([("price", Kind::Number), ("time", Kind::Time)]).unwrap();
    let tenant = begun(search, &schema).await;
    let prices =
        [Some(1.5), None, Some(-2.0), Some(1.5), Some(1e300), Some(0.1), None, Some(-1e300), Some(1.5), Some(-0.0)];
    let entries = prices.iter().enumerate().map(|(place, price)| {
        let time = Value::Time(i64::try_from(place).unwrap() * 3_600_000_000 - 1_800_000_000);
        let mut attributes = vec![("time".to_owned(), time)];
        attributes.extend(price.map(|price| ("price".to_owned(), number(price))));
        Entry { attributes, ..put(&place.to_string(), "", "") }
    });
    let (first, second): (Vec<_>, Vec<_>) = entries.partition(|entry| entry.id.as_str() < "4");
    write(search, &tenant, first).await;
    write(search, &tenant, second).await;
    let by =
        |attribute: &str, descending| Query { order: Order::By { attribute: attribute.into(), descending }, ..all() };
    let value = |id: &String| prices[id.parse::<usize>().unwrap()];
    for hits_max in [1, 3, 10] {
        let down = pages(search, &tenant, &by("price", true), hits_max).await;
        let values: Vec<Option<f64>> = down.iter().map(value).collect();
        let expected = [1e300, 1.5, 1.5, 1.5, 0.1, 0.0, -2.0, -1e300];
        assert_eq!(values, [&expected.map(Some)[..], &[None, None]].concat(), "by {hits_max}");
        let up = pages(search, &tenant, &by("price", false), hits_max).await;
        let values: Vec<Option<f64>> = up.iter().map(value).collect();
        let expected: Vec<Option<f64>> = expected.into_iter().rev().map(Some).chain([None, None]).collect();
        assert_eq!(values, expected, "by {hits_max}");
        let times = pages(search, &tenant, &by("time", true), hits_max).await;
        assert_eq!(times, ["9", "8", "7", "6", "5", "4", "3", "2", "1", "0"]);
    }
}

pub async fn pages_by_attribute_stay_while_others_are_written(search: &dyn Search) {
    let tenant = begun(search, &schema()).await;
    let entry =
        |id: String, price: f64| Entry { attributes: vec![("price".into(), number(price))], ..put(&id, "", "") };
    write(search, &tenant, (0..20).map(|place| entry(format!("old-{place:02}"), f64::from(place)))).await;
    let query = Query { order: Order::By { attribute: "price".into(), descending: true }, hits_max: 6, ..all() };
    let mut seen = Vec::new();
    let mut after = None;
    for round in 0.. {
        let page = search.search(&tenant, &Query { after, ..query.clone() }).await.unwrap();
        seen.extend(page.hits.into_iter().map(|hit| hit.id));
        // Others come before the place where the reader is, and shift nothing.
        write(search, &tenant, [entry(format!("new-{round}"), 100.0 + f64::from(round))]).await;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..20).rev().map(|place| format!("old-{place:02}")).collect();
    assert_eq!(seen, expected);
}
