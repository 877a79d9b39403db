//! Prometheus: a query whose answer is one number. No answer is not nothing: it is a queue that is not known.

use futures::future::{BoxFuture, FutureExt as _};
use serde::Deserialize;
use serde_json::Value;

use super::QueueError;
use super::access::Http;
use super::poll::{Depth, Read};

/// Asks one query.
pub(super) struct Reader {
    pub(super) http: Http,
    pub(super) query: String,
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

const PATH: &str = "/api/v1/query";

/// The one number in an answer.
fn one(data: &Data) -> Result<u64, String> {
    let value = match (data.result_type.as_str(), &data.result) {
        ("scalar", value) => value,
        ("vector", Value::Array(samples)) => match &samples[..] {
            [] => return Err("the query has no result: is what it asks for scraped?".to_owned()),
            [one] => &one["value"],
            many => return Err(format!("the query has {} results; make one of them, as by sum(...)", many.len())),
        },
        (kind, _) => return Err(format!("the query's result is a {kind}, not one number")),
    };
    let text = value.get(1).and_then(Value::as_str).unwrap_or_default();
    let number: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    if !number.is_finite() || number < 0.0 {
        return Err(format!("{text} is no number of messages"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was checked, and saturates")]
    Ok(number.ceil() as u64)
}

impl Reader {
    async fn depth(&mut self) -> Result<Depth, QueueError> {
        let query = self.query.clone();
        let answer: Answer = self.http.json(PATH, &[("query", &query)]).await?;
        let waiting = one(&answer.data).map_err(|reason| self.http.nonsense(PATH, &reason))?;
        Ok(Depth { waiting, in_flight: None })
    }
}

impl Read for Reader {
    fn read(&mut self) -> BoxFuture<'_, Result<Depth, QueueError>> {
        self.depth().boxed()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_one_number_is_a_depth() {
        let read = |kind: &str, result: Value| one(&Data { result_type: kind.to_owned(), result });
        let sample = |value: &str| json!({"metric": {}, "value": [1.5, value]});
        assert_eq!(read("scalar", json!([1.5, "3"])), Ok(3));
        assert_eq!(read("vector", json!([sample("2.2")])), Ok(3), "rounded up");
        assert_eq!(read("vector", json!([sample("0")])), Ok(0));
        for (kind, result, words) in [
            ("vector", json!([]), "no result"),
            ("vector", json!([sample("1"), sample("2")]), "2 results"),
            ("vector", json!([sample("NaN")]), "NaN"),
            ("vector", json!([sample("-1")]), "-1"),
            ("matrix", json!([]), "matrix"),
        ] {
            let error = read(kind, result).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
