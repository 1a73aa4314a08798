//! Filters and facets.

use attune_ranking::filter::truth;
use attune_store::search::{FacetQuery, Order};

use super::*;

async fn truth_items(search: &dyn Search) -> Tenant {
    let tenant = begun(search, &truth::schema()).await;
    let items = truth::items().into_iter().enumerate().map(|(number, attributes)| Entry {
        id: number.to_string(),
        attributes: attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ..Entry::default()
    });
    write(search, &tenant, items).await;
    tenant
}

pub async fn the_table_of_truth_holds(search: &dyn Search) {
    let tenant = truth_items(search).await;
    for case in truth::CASES {
        let expected: Vec<String> = case.items.iter().map(u32::to_string).collect();
        assert_eq!(found(search, &tenant, &filter(case.filter)).await, expected, "{}", case.filter);
    }
}

pub async fn there_is_no_third_value(search: &dyn Search) {
    let tenant = truth_items(search).await;
    for case in truth::CASES {
        let expected = (0..truth::items().len() as u32).filter(|item| !case.items.contains(item));
        let complement = filter(&format!("not ({})", case.filter));
        let expected: Vec<String> = expected.map(|item| item.to_string()).collect();
        assert_eq!(found(search, &tenant, &complement).await, expected, "{}", case.filter);
    }
}

pub async fn attributes_have_any_names(search: &dyn Search) {
    let long = "x".repeat(attune_ranking::attributes::NAME_BYTES_MAX);
    let names = ["brand", "brand.name", "größe in cm", "*", "%2E", ".", "_id", "id", " ", long.as_str()];
    let tenant = begun(search, &Schema::new(names.map(|name| (name, Kind::Number))).unwrap()).await;
    let entries = names.iter().enumerate().map(|(place, name)| Entry {
        attributes: vec![((*name).to_owned(), number(1.0))],
        ..put(&place.to_string(), "", "")
    });
    write(search, &tenant, entries).await;
    for (place, name) in names.iter().enumerate() {
        assert_eq!(found(search, &tenant, &filter(&format!("`{name}` == 1"))).await, [place.to_string()], "{name}");
    }
}

pub async fn what_does_not_fit_the_schema_is_refused(search: &dyn Search) {
    let tenant = begun(search, &schema()).await;
    let facet = |attribute: &str| vec![FacetQuery { attribute: attribute.into(), values_max: 10 }];
    let order = |attribute: &str| Order::By { attribute: attribute.into(), descending: true };
    for (query, part) in [
        (filter("colour < 3 and size > 1"), "colour"),
        (filter("size > 1"), "size"),
        (Query { facets: facet("size"), ..all() }, "size"),
        (Query { facets: facet("price"), ..all() }, "price"),
        (Query { order: order("size"), ..all() }, "size"),
        (Query { order: order("tags"), ..all() }, "tags"),
        (Query { hits_max: 1_001, ..all() }, "hits_max"),
        (text(&"word ".repeat(33)), "words"),
    ] {
        let error = search.search(&tenant, &query).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{query:?}");
        assert!(error.detail.contains(part), "{error}");
    }
}

pub async fn facets_count_everything_that_matches(search: &dyn Search) {
    let schema = Schema::new([("colour", Kind::Keyword), ("tags", Kind::KeywordList), ("new", Kind::Boolean)]).unwrap();
    let tenant = begun(search, &schema).await;
    let entry = |id: &str, colour: &str, tags: &[&str], new: Option<bool>| {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let mut attributes = vec![("colour".to_owned(), keyword(colour)), ("tags".to_owned(), Value::Keywords(tags))];
        attributes.extend(new.map(|new| ("new".to_owned(), Value::Boolean(new))));
        Entry { attributes, ..put(id, "shoe", "") }
    };
    let entries = [
        entry("1", "red", &["a", "a", "b"], Some(true)),
        entry("2", "red", &["b"], Some(false)),
        entry("3", "Red", &[], Some(true)),
        entry("4", "blue", &["c"], None),
    ];
    write(search, &tenant, entries).await;
    let facet = |attribute: &str| FacetQuery { attribute: attribute.into(), values_max: 2 };
    let query = Query { facets: vec![facet("colour"), facet("tags"), facet("new")], hits_max: 0, ..text("shoe") };
    let page = search.search(&tenant, &query).await.unwrap();
    assert_eq!((page.matches, page.hits.len(), page.next), (4, 0, None));
    let values: Vec<Vec<(&str, u64)>> = page
        .facets
        .iter()
        .map(|facet| facet.values.iter().map(|(value, count)| (value.as_str(), *count)).collect())
        .collect();
    assert_eq!(values, [vec![("red", 2), ("Red", 1)], vec![("b", 2), ("a", 1)], vec![("true", 2), ("false", 1)]]);
    // Whatever is not on the page counts too, and what the filter excludes does not.
    let red = Query { hits_max: 1, facets: vec![facet("tags")], ..filter(r#"colour == "red""#) };
    let page = search.search(&tenant, &red).await.unwrap();
    assert_eq!(page.facets[0].values, [("b".to_owned(), 2), ("a".to_owned(), 1)]);
}
