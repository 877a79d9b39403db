//! An event: why a function runs. A store's notification names an object; everything else is the input itself.

use std::borrow::Cow;

use base64::Engine as _;
use serde_json::Value;

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A store tells of an object.
    Object(Object),
    /// These bytes are the input.
    Raw(Vec<u8>),
}

/// The object that a store tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// `minio` or `s3`.
    pub kind: &'static str,
    /// The provider that the sender names, when another cluster passed the event on.
    pub provider: Option<String>,
    /// Its bucket.
    pub bucket: String,
    /// Its key, decoded.
    pub key: String,
    /// When, as the store writes it.
    pub time: String,
    /// The notification itself, as JSON.
    pub text: String,
}

/// Reads an event. Nothing is wrong with any text: what is no notification is raw input.
pub fn parse(text: &str) -> Event {
    let json: Option<Value> = serde_json::from_str(text).ok();
    match json.as_ref().and_then(|json| object(json, None)) {
        Some(object) => Event::Object(object),
        None => Event::Raw(raw(text, json.as_ref())),
    }
}

/// The object of a notification. OSCAR passes events on to other clusters as
/// `{"event": "...", "storage_provider": "minio.ID"}`.
fn object(json: &Value, provider: Option<&str>) -> Option<Object> {
    if let Some(inner) = json.get("event") {
        let provider = json.get("storage_provider").and_then(Value::as_str).or(provider);
        let text = inner.as_str().map(serde_json::from_str::<Value>);
        return match text {
            Some(text) => object(&text.ok()?, provider),
            None => object(inner, provider),
        };
    }
    let record = json.get("Records")?.get(0)?;
    let kind = match record.get("eventSource")?.as_str()? {
        "minio:s3" => "minio",
        "aws:s3" => "s3",
        _ => return None,
    };
    Some(Object {
        kind,
        provider: provider.map(str::to_owned),
        bucket: record.pointer("/s3/bucket/name")?.as_str()?.to_owned(),
        key: decode(record.pointer("/s3/object/key")?.as_str()?),
        time: record.get("eventTime").and_then(Value::as_str).unwrap_or_default().to_owned(),
        text: json.to_string(),
    })
}

/// A key as notifications write it: `+` is a space and `%XX` a byte.
fn decode(key: &str) -> String {
    let spaced = key.replace('+', " ");
    let bytes: Cow<'_, [u8]> = percent_encoding::percent_decode_str(&spaced).into();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// JSON is taken as it stands; other text is what base64 makes of it, or itself.
fn raw(text: &str, json: Option<&Value>) -> Vec<u8> {
    if json.is_some_and(|j| !j.is_number()) {
        return text.as_bytes().to_vec();
    }
    let packed: String = text.split_whitespace().collect();
    let decoded = base64::engine::general_purpose::STANDARD.decode(&packed);
    decoded.ok().filter(|_| !packed.is_empty()).unwrap_or_else(|| text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(source: &str, key: &str) -> String {
        format!(
            r#"{{"EventName":"s3:ObjectCreated:Put","Records":[{{"eventSource":"{source}","eventTime":"2026-11-25T10:00:00Z","s3":{{"bucket":{{"name":"photos"}},"object":{{"key":"{key}"}}}}}}]}}"#
        )
    }

    #[test]
    fn notifications_name_an_object() {
        for (source, kind) in [("minio:s3", "minio"), ("aws:s3", "s3")] {
            let Event::Object(object) = parse(&told(source, "in%2Fa+b%C3%B1%2B.txt")) else { panic!("{source}") };
            assert_eq!((object.kind, object.bucket.as_str(), object.key.as_str()), (kind, "photos", "in/a bñ+.txt"));
            assert_eq!((object.time.as_str(), object.provider), ("2026-11-25T10:00:00Z", None));
        }
    }

    #[test]
    fn an_event_that_was_passed_on_keeps_its_provider() {
        let inner = told("minio:s3", "x");
        for event in [Value::String(inner.clone()), serde_json::from_str(&inner).unwrap()] {
            let passed = serde_json::json!({ "event": event, "storage_provider": "minio.other" }).to_string();
            let Event::Object(object) = parse(&passed) else { panic!("{passed}") };
            assert_eq!(object.provider.as_deref(), Some("minio.other"));
            assert!(object.text.starts_with("{\"EventName\""), "{}", object.text);
        }
    }

    #[test]
    fn everything_else_is_input() {
        for (text, bytes) in [
            ("aGVsbG8=", "hello"),
            ("aGVs\nbG8=\n", "hello"),
            ("hello world", "hello world"),
            ("{\"a\": 1}", "{\"a\": 1}"),
            ("[1]", "[1]"),
            ("", ""),
            (r#"{"Records":[]}"#, r#"{"Records":[]}"#),
            (r#"{"Records":[{"eventSource":"minio:s3"}]}"#, r#"{"Records":[{"eventSource":"minio:s3"}]}"#),
            (r#"{"event":"no"}"#, r#"{"event":"no"}"#),
        ] {
            assert_eq!(parse(text), Event::Raw(bytes.as_bytes().to_vec()), "{text}");
        }
    }
}
