//! Redis: the length of a list, or what a stream's group has still to read and has not acknowledged.

use futures::future::{BoxFuture, FutureExt as _};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, IntoConnectionInfo as _, RedisError, Value};

use super::access::secret;
use super::poll::{Depth, Read};
use super::{CALL, QueueError};
use crate::config::queues::Access;

/// Entries of a stream that are counted one by one where the server does not say how many are left.
const COUNTED: usize = 10_000;

/// Reads one key of one server, over one connection as long as that holds.
pub(super) struct Reader {
    url: String,
    key: String,
    group: Option<String>,
    access: Access,
    kube: kube::Client,
    connection: Option<MultiplexedConnection>,
}

impl Reader {
    pub(super) fn new(url: String, key: String, group: Option<String>, access: Access, kube: kube::Client) -> Self {
        Self { url, key, group, access, kube, connection: None }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, QueueError> {
        let mut info: ConnectionInfo = self.url.as_str().into_connection_info().map_err(|error| self.sort(&error))?;
        if let Some(secret) = secret(&self.access, &self.kube).await? {
            let mut settings = info.redis_settings().clone().set_password(secret);
            if let Some(username) = &self.access.username {
                settings = settings.set_username(username);
            }
            info = info.set_redis_settings(settings);
        }
        let limits = AsyncConnectionConfig::new().set_connection_timeout(Some(CALL)).set_response_timeout(Some(CALL));
        let client = Client::open(info).map_err(|error| self.sort(&error))?;
        client.get_multiplexed_async_connection_with_config(&limits).await.map_err(|error| self.sort(&error))
    }

    fn sort(&self, error: &RedisError) -> QueueError {
        const FINAL: [&str; 4] = ["WRONGTYPE", "NOAUTH", "NOPERM", "WRONGPASS"];
        let (place, reason) = (self.url.clone(), error.to_string());
        let kinds = [ErrorKind::AuthenticationFailed, ErrorKind::InvalidClientConfig];
        // It answered, and what it said will not change by itself.
        if kinds.contains(&error.kind()) || error.code().is_some_and(|code| FINAL.contains(&code)) {
            return QueueError::Refused { place, reason: format!("`{}`: {reason}", self.key) };
        }
        QueueError::Unreachable { place, reason }
    }

    async fn list(&self, connection: &mut MultiplexedConnection) -> Result<Depth, RedisError> {
        let waiting: u64 = redis::cmd("LLEN").arg(&self.key).query_async(connection).await?;
        // Who takes a message from a list takes it off: the list does not know of it any more.
        Ok(Depth { waiting, in_flight: None })
    }

    async fn stream(&self, connection: &mut MultiplexedConnection, group: &str) -> Result<Option<Depth>, RedisError> {
        let groups: Value = match redis::cmd("XINFO").arg("GROUPS").arg(&self.key).query_async(connection).await {
            Ok(groups) => groups,
            // No stream, so nothing waits in it.
            Err(error) if error.to_string().contains("no such key") => {
                return Ok(Some(Depth { waiting: 0, in_flight: Some(0) }));
            }
            Err(error) => return Err(error),
        };
        let Value::Array(groups) = groups else { return Ok(None) };
        let Some(group) = groups.iter().find(|one| field(one, "name").and_then(text).as_deref() == Some(group)) else {
            return Ok(None);
        };
        let in_flight = field(group, "pending").and_then(number);
        if let Some(waiting) = field(group, "lag").and_then(number) {
            return Ok(Some(Depth { waiting, in_flight }));
        }
        // Before Redis 7, or after deletions, it does not know: they are counted.
        let last = field(group, "last-delivered-id").and_then(text).unwrap_or_else(|| "0-0".to_owned());
        let mut range = redis::cmd("XRANGE");
        range.arg(&self.key).arg(format!("({last}")).arg("+").arg("COUNT").arg(COUNTED);
        let entries: Value = range.query_async(connection).await?;
        let waiting = if let Value::Array(entries) = entries { entries.len() as u64 } else { 0 };
        Ok(Some(Depth { waiting, in_flight }))
    }
}

impl Read for Reader {
    fn read(&mut self) -> BoxFuture<'_, Result<Depth, QueueError>> {
        async move {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let depth = match &self.group {
                None => self.list(&mut connection).await.map(Some),
                Some(group) => self.stream(&mut connection, group).await,
            };
            // A connection that failed is not used again.
            let depth = depth.map_err(|error| self.sort(&error))?;
            self.connection = Some(connection);
            depth.ok_or_else(|| QueueError::Refused {
                place: self.url.clone(),
                reason: format!(
                    "stream `{}` has no group `{}`; XGROUP CREATE makes it",
                    self.key,
                    self.group.as_deref().unwrap_or_default()
                ),
            })
        }
        .boxed()
    }
}

/// A field of an answer that is a flat list of names and values, or a map.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds of answer are no such thing")]
fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Array(items) => {
            items.chunks_exact(2).find(|pair| text(&pair[0]).as_deref() == Some(name)).map(|pair| &pair[1])
        }
        Value::Map(pairs) => pairs.iter().find(|(key, _)| text(key).as_deref() == Some(name)).map(|(_, value)| value),
        _ => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds of answer are no text")]
fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u64> {
    if let Value::Int(number) = value { u64::try_from(*number).ok() } else { None }
}
