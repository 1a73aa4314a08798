//! The six real servers, where there are, with databases of one test's own.

use mongodb::Client;
use sqlx::{Connection, Executor, PgConnection};

/// What the stores are called in `[stores]`, and the variables by which tests find servers for them.
const STORES: [(&str, &str); 6] = [
    ("RELATIONAL", "ATTUNE_TEST_POSTGRES"),
    ("DOCUMENTS", "ATTUNE_TEST_MONGODB"),
    ("CACHE", "ATTUNE_TEST_REDIS"),
    ("SEARCH", "ATTUNE_TEST_ELASTICSEARCH"),
    ("EVENTS", "ATTUNE_TEST_KAFKA"),
    ("OBJECTS", "ATTUNE_TEST_S3"),
];

/// The servers, of which the first two have a database that nobody else uses: keys of an installation are of one secret,
/// and FerretDB reads all documents of a database to find some. Dropping it drops both.
pub struct Servers {
    /// Where attune finds its stores.
    pub variables: Vec<(String, String)>,
    /// The database that the PostgreSQL server came with.
    postgres: String,
    name: String,
}

impl Servers {
    /// None, with a word, where one is missing.
    pub fn find() -> Option<Self> {
        let server = |(store, variable): &(&str, &str)| {
            let uri = std::env::var(variable);
            let is_needed = std::env::var_os("ATTUNE_TEST_ALL").is_some();
            assert!(uri.is_ok() || !is_needed, "{variable} names no server: `make services` starts one");
            Some((format!("ATTUNE_STORES_{store}"), uri.ok()?))
        };
        let found: Option<Vec<(String, String)>> = STORES.iter().map(server).collect();
        let Some(mut variables) = found else {
            eprintln!("skipped: a server is missing (see `make test-services`)");
            return None;
        };
        let (postgres, name) = (variables[0].1.clone(), format!("test_{:016x}", rand::random::<u64>()));
        execute(&postgres, &format!("CREATE DATABASE {name}"));
        variables[..2].iter_mut().for_each(|(_, uri)| *uri = with_database(uri, &name));
        Some(Self { variables, postgres, name })
    }

    /// Where the database is that has tenants, keys and jobs.
    pub fn relational(&self) -> &str {
        &self.variables[0].1
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        execute(&self.postgres, &format!("DROP DATABASE {} WITH (FORCE)", self.name));
        block_on(async {
            let client = Client::with_uri_str(&self.variables[1].1).await.unwrap();
            client.database(&self.name).drop().await.unwrap();
        });
    }
}

/// Another database of the same server.
fn with_database(uri: &str, name: &str) -> String {
    format!("{}/{name}", uri.rsplit_once('/').expect("the URI names a database").0)
}

fn execute(uri: &str, sql: &str) {
    block_on(async {
        let mut connection = PgConnection::connect(uri).await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(sql.to_owned())).await.unwrap();
    });
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
