//! [`Relational`](crate::relational::Relational) in SQL, once for SQLite and PostgreSQL.
//!
//! The statements are those that both understand: `$1` as a placeholder, `ON CONFLICT`, `RETURNING`, comparisons of rows,
//! texts, integers and bytes. JSON is kept as text, since the services read it and the database does not; booleans are
//! integers. What differs is in [`Dialect`], and is little: four types, how a transaction begins, what an error is called.
//!
//! It stands on the one driver of sqlx that has its backend chosen at run time. Code that is generic over the database
//! would need every bound of every type repeated at every function, and two copies would be two copies.

mod commit;
mod dialect;
mod error;
mod migrate;
mod read;
mod row;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::any::{AnyArguments, AnyPoolOptions, AnyRow};
use sqlx::{Any, AnyConnection, AnyPool, Connection, Transaction};
use tokio::sync::{Semaphore, SemaphorePermit};

pub(crate) use dialect::{Dialect, SQLITE_PRAGMAS};
pub use migrate::{SCHEMA, oldest_program};

use crate::{ErrorKind, StoreError, StoreKind};

const STORE: StoreKind = StoreKind::Relational;

/// A database with our schema in it.
#[derive(Debug)]
pub struct SqlRelational {
    pool: AnyPool,
    dialect: Dialect,
    /// As many as may change something at once: one on SQLite, which would otherwise let writers try again and again
    /// until their time is over instead of queueing them.
    writers: Semaphore,
}

/// How the database is reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SqlOptions {
    pub connections_max: u32,
    pub writers_max: usize,
    /// How long a call waits for a connection, and opening for an answer.
    pub connect_max: Duration,
}

impl SqlRelational {
    /// Connects, and brings the schema up to date.
    pub(crate) async fn open(url: &str, dialect: Dialect, options: SqlOptions) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let fail = |error| dialect.fail("open", error);
        // One connection by itself, before the pool: a pool answers every fault with the same word, that it took too long.
        let first = async {
            let mut first = AnyConnection::connect(url).await.map_err(fail)?;
            dialect.prepare(&mut first).await.map_err(fail)?;
            migrate::migrate(&mut first, dialect).await?;
            first.close().await.map_err(fail)
        };
        let silent = |_| {
            let detail = format!("no answer from {} within {} ms", dialect.name(), options.connect_max.as_millis());
            StoreError::new(STORE, "open", ErrorKind::Timeout, detail)
        };
        tokio::time::timeout(options.connect_max, first).await.map_err(silent)??;
        // SQLite ends a transaction by itself when the disk is full, the rollback behind it then fails, and sqlx believes for
        // good that the connection is in a transaction: such a connection is not used again.
        let pool = AnyPoolOptions::new()
            .max_connections(options.connections_max)
            .acquire_timeout(options.connect_max)
            .after_connect(move |connection, _| Box::pin(async move { dialect.prepare(connection).await }))
            .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
            .connect_lazy(url)
            .map_err(fail)?;
        Ok(Self { pool, dialect, writers: Semaphore::new(options.writers_max) })
    }

    async fn begin(&self, call: &'static str) -> Result<Writing<'_>, StoreError> {
        let turn = self.writers.acquire().await.expect("it is never closed");
        let begun = self.pool.begin_with(self.dialect.begin()).await;
        Ok(Writing {
            call,
            dialect: self.dialect,
            transaction: begun.map_err(|e| self.dialect.fail(call, e))?,
            _turn: turn,
        })
    }

    async fn rows(&self, call: &'static str, query: Query) -> Result<Vec<AnyRow>, StoreError> {
        query.fetch_all(&self.pool).await.map_err(|error| self.dialect.fail(call, error))
    }

    async fn row(&self, call: &'static str, query: Query) -> Result<Option<AnyRow>, StoreError> {
        query.fetch_optional(&self.pool).await.map_err(|error| self.dialect.fail(call, error))
    }
}

/// A transaction that is going to change something. Dropped without its end, it has changed nothing.
struct Writing<'s> {
    call: &'static str,
    dialect: Dialect,
    transaction: Transaction<'static, Any>,
    _turn: SemaphorePermit<'s>,
}

impl Writing<'_> {
    async fn rows(&mut self, query: Query) -> Result<Vec<AnyRow>, StoreError> {
        query.fetch_all(&mut *self.transaction).await.map_err(|error| self.dialect.fail(self.call, error))
    }

    async fn row(&mut self, query: Query) -> Result<Option<AnyRow>, StoreError> {
        Ok(self.rows(query).await?.into_iter().next())
    }

    async fn end(self) -> Result<(), StoreError> {
        self.transaction.commit().await.map_err(|error| self.dialect.fail(self.call, error))
    }
}

type Query = sqlx::query::Query<'static, Any, AnyArguments>;

/// A query with its arguments, in their order.
macro_rules! query {
    ($sql:expr $(, $argument:expr)* $(,)?) => { sqlx::query($sql)$(.bind($argument))* };
}
use query;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}
