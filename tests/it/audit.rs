//! One changed byte of the journal is found and named, whichever byte it is.

use sqlx::{Connection as _, Row as _, SqliteConnection};

use crate::support::Toolgate;

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_is_named() {
    let toolgate = Toolgate::new();
    toolgate.run(&["tools", "call", "transform.jq", r#"{"filter": ".a", "input": {"a": "canary"}}"#]).exits(0);
    toolgate.run(&["tools", "call", "transform.jq", r#"{"filter": ".a", "input": {"a": 2}}"#]).exits(0);
    assert!(toolgate.json(0, &["audit", "verify", "--json"])["broken"].is_null());

    let url = format!("sqlite://{}", toolgate.data().join("toolgate.db").display());
    let mut database = SqliteConnection::connect(&url).await.unwrap();
    let columns: Vec<String> = sqlx::query("SELECT name FROM pragma_table_info('journal')")
        .fetch_all(&mut database)
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(columns.len() >= 5, "{columns:?}");
    let rows: i64 = sqlx::query("SELECT count(*) FROM journal").fetch_one(&mut database).await.unwrap().get(0);
    let victim = rows / 2;
    let key = columns.first().unwrap().clone();
    for column in columns.iter().filter(|column| **column != key) {
        let select = format!("SELECT CAST({column} AS BLOB) FROM journal WHERE {key} = ?");
        let Some(bytes) =
            sqlx::query(sqlx::AssertSqlSafe(select)).bind(victim).fetch_one(&mut database).await.unwrap().get::<Option<Vec<u8>>, _>(0)
        else {
            continue;
        };
        if bytes.is_empty() {
            continue;
        }
        let middle = bytes.len() / 2;
        let mut changed = bytes.clone();
        changed[middle] = if changed[middle] == b'1' { b'2' } else { b'1' };
        if bytes.iter().all(u8::is_ascii_digit) {
            // A number that stands in no other row, or the database itself would refuse it.
            changed.extend_from_slice(b"77");
        }
        set(&mut database, &key, column, victim, &changed).await;
        let found = toolgate.json(1, &["audit", "verify", "--json"]);
        assert_eq!(found["broken"]["index"], victim, "column {column}: {found}");
        let told = toolgate.run(&["audit", "verify"]).exits(1);
        assert!(told.stderr.contains(&format!("record {victim}")), "{}", told.stderr);
        set(&mut database, &key, column, victim, &bytes).await;
        assert!(toolgate.json(0, &["audit", "verify", "--json"])["broken"].is_null(), "column {column} is as it was");
    }
    sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM journal WHERE {key} = ?"))).bind(victim).execute(&mut database).await.unwrap();
    let found = toolgate.json(1, &["audit", "verify", "--json"]);
    assert!(!found["broken"].is_null(), "a deleted record is missed: {found}");
}

/// Writes `bytes` into a column with the type it had.
async fn set(database: &mut SqliteConnection, key: &str, column: &str, index: i64, bytes: &[u8]) {
    let kind = format!("SELECT typeof({column}) FROM journal WHERE {key} = ?");
    let kind: String = sqlx::query(sqlx::AssertSqlSafe(kind)).bind(index).fetch_one(&mut *database).await.unwrap().get(0);
    let value = match kind.as_str() {
        "integer" => "CAST(CAST(? AS TEXT) AS INTEGER)",
        "blob" => "?",
        _ => "CAST(? AS TEXT)",
    };
    let update = format!("UPDATE journal SET {column} = {value} WHERE {key} = ?");
    sqlx::query(sqlx::AssertSqlSafe(update)).bind(bytes).bind(index).execute(database).await.unwrap();
}
