//! The event: what a function runs on. It has an identity, so that a store which delivers twice (as all do)
//! makes one run, and so that the Job's name follows from it: whoever makes the Job again finds it made. An
//! event of a store finds its functions by bucket and longest folder; any other is for the function it names.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::service::{Place, Service};

/// An event's identity: 128 bits, written as a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub [u8; 16]);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl std::str::FromStr for EventId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let hex: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
        if hex.len() != 32 {
            return Err(());
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| ())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| ())?;
        }
        Ok(Self(bytes))
    }
}

/// The name of the Job of one attempt: OSCAR's `SERVICE-UUID`, and `-rN` for the Nth attempt from the second on.
/// Within 63 characters, which is what a Job may have.
pub fn job_name(service: &str, id: EventId, attempt: u32) -> String {
    let short = if service.len() >= 25 || attempt > 1 { &service[..service.len().min(16)] } else { service };
    let short = short.trim_end_matches('-');
    if attempt > 1 { format!("{short}-{id}-r{attempt}") } else { format!("{short}-{id}") }
}

/// One object that came into a bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// The bucket.
    pub bucket: String,
    /// The object's key, decoded.
    pub key: String,
    /// What tells this arrival from all others; nothing when the store did not number it.
    pub mark: Option<String>,
    /// The event with this record alone: what the function gets.
    pub body: String,
}

/// The arrivals in a notification of a store. `None` when the text is not S3-shaped.
pub fn arrivals(body: &[u8]) -> Option<Vec<Arrival>> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let records = value.get("Records")?.as_array()?;
    let mut found = Vec::new();
    for record in records {
        let s3 = record.get("s3")?;
        let bucket = s3.get("bucket")?.get("name")?.as_str()?;
        let object = s3.get("object")?;
        let key = decode(object.get("key")?.as_str()?);
        let name = record.get("eventName").and_then(Value::as_str).unwrap_or_default();
        // What is removed, or is only a folder's marker, is nothing to run on.
        if !(name.is_empty() || name.contains("ObjectCreated")) || key.ends_with('/') {
            continue;
        }
        let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
        let mark = (!text("sequencer").is_empty())
            .then(|| [name, bucket, &key, text("versionId"), text("eTag"), text("sequencer")].join("\0"));
        let mut one = json!({ "Records": [record] });
        for extra in ["EventName", "Key"] {
            if let Some(value) = value.get(extra) {
                one[extra] = value.clone();
            }
        }
        found.push(Arrival { bucket: bucket.to_owned(), key, mark, body: one.to_string() });
    }
    Some(found)
}

impl Arrival {
    /// The identity of this arrival as an event of one function; nothing when the store gave it no number.
    pub fn id(&self, service: &str) -> Option<EventId> {
        let digest = Sha256::digest(format!("{service}\0{}", self.mark.as_ref()?));
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Some(EventId(id))
    }
}

/// A key as stores write it in events: percent-encoded, with `+` for a space.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = text.get(at + 1..at + 3).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (byte, hex) {
            (b'%', Some(value)) => {
                out.push(value);
                at += 3;
                continue;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Which functions an object is for.
#[derive(Debug, Default, Clone)]
pub struct Routes {
    buckets: BTreeMap<String, Vec<(Place, String)>>,
}

impl Routes {
    /// The routes of these services' inputs.
    pub fn of<'a>(services: impl IntoIterator<Item = &'a Service>) -> Self {
        let mut buckets: BTreeMap<String, Vec<(Place, String)>> = BTreeMap::new();
        for service in services {
            for place in service.input.iter().filter(|place| place.provider() == ("minio", "default")) {
                let (bucket, _) = place.bucket_and_folder();
                buckets.entry(bucket.to_owned()).or_default().push((place.clone(), service.name.clone()));
            }
        }
        Self { buckets }
    }

    /// The functions whose input is the longest folder that holds the object.
    pub fn find(&self, bucket: &str, key: &str) -> Vec<&str> {
        let takers: Vec<_> = self.buckets.get(bucket).into_iter().flatten().filter(|(p, _)| p.takes(key)).collect();
        let longest = takers.iter().map(|(place, _)| place.bucket_and_folder().1.len()).max().unwrap_or(0);
        let mut names: Vec<&str> = takers
            .iter()
            .filter(|(place, _)| place.bucket_and_folder().1.len() == longest)
            .map(|(_, service)| service.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The folders of a bucket that the store must tell about: no one inside another, which stores refuse.
    pub fn folders(&self, bucket: &str) -> Vec<String> {
        let mut folders: Vec<String> =
            self.buckets.get(bucket).into_iter().flatten().map(|(place, _)| place.bucket_and_folder().1).collect();
        folders.sort_unstable();
        let mut outer: Vec<String> = Vec::new();
        for folder in folders {
            if !outer.iter().any(|o| folder.starts_with(o.as_str())) {
                outer.push(folder);
            }
        }
        outer
    }

    /// The buckets that events come from.
    pub fn buckets(&self) -> impl Iterator<Item = &str> {
        self.buckets.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(key: &str, sequencer: &str) -> String {
        json!({ "EventName": "s3:ObjectCreated:Put", "Key": format!("box/{key}"), "Records": [
            { "eventName": "s3:ObjectCreated:Put", "eventSource": "minio:s3", "s3": { "bucket": { "name": "box" },
              "object": { "key": key, "eTag": "e", "sequencer": sequencer } } } ] })
        .to_string()
    }

    fn service(name: &str, path: &str, suffix: &[&str]) -> Service {
        let suffix = suffix.iter().map(|&s| s.to_owned()).collect();
        let input = Place { path: path.to_owned(), suffix, ..Place::default() };
        Service { name: name.to_owned(), input: vec![input], ..Service::default() }
    }

    #[test]
    fn the_same_notification_is_the_same_event_and_another_upload_is_another() {
        let one = arrivals(note("in/a%20b%2B.txt", "17").as_bytes()).unwrap().remove(0);
        assert_eq!(one.key, "in/a b+.txt");
        let again = arrivals(note("in/a%20b%2B.txt", "17").as_bytes()).unwrap().remove(0);
        let later = arrivals(note("in/a%20b%2B.txt", "18").as_bytes()).unwrap().remove(0);
        assert_eq!(one.id("f"), again.id("f"));
        assert_ne!(one.id("f"), later.id("f"));
        assert_ne!(one.id("f"), one.id("g"), "each function has its own event");
        let id = one.id("f").unwrap();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(arrivals(note("in/a", "").as_bytes()).unwrap()[0].id("f"), None);
    }

    #[test]
    fn what_is_not_an_arrival_is_told_apart() {
        assert_eq!(arrivals(b"hello"), None);
        assert_eq!(arrivals(br#"{"Records":[{"no":"s3"}]}"#), None);
        assert_eq!(arrivals(note("in/", "1").as_bytes()), Some(vec![]), "a folder's marker");
        let gone = note("in/a", "1").replace("s3:ObjectCreated:Put", "s3:ObjectRemoved:Delete");
        assert_eq!(arrivals(gone.as_bytes()), Some(vec![]));
    }

    #[test]
    fn the_longest_folder_takes_the_object_and_filters_hold() {
        let services =
            [service("all", "box/in", &[]), service("deep", "box/in/deep", &[]), service("text", "box/in", &[".txt"])];
        let routes = Routes::of(&services);
        assert_eq!(routes.find("box", "in/x.jpg"), ["all"]);
        assert_eq!(routes.find("box", "in/x.txt"), ["all", "text"]);
        assert_eq!(routes.find("box", "in/deep/x.txt"), ["deep"]);
        assert!(routes.find("box", "inner/x").is_empty(), "a folder is not a prefix of a name");
        assert!(routes.find("other", "in/x").is_empty());
        assert_eq!(routes.folders("box"), ["in/"]);
    }

    #[test]
    fn a_job_has_a_name_of_at_most_63_characters() {
        let id = EventId([0xab; 16]);
        for name in ["f", "abcdefghijklmnopqrstuvwx", "abcdefghijklmno-abcdefghijklmno-abcdefg"] {
            for attempt in [1, 2, 99] {
                let job = job_name(name, id, attempt);
                assert!(job.len() <= 63 && !job.contains("--"), "{job}");
            }
        }
        assert_eq!(job_name("cow", id, 1), "cow-abababab-abab-abab-abab-abababababab");
        assert_eq!(job_name("cow", id, 3), "cow-abababab-abab-abab-abab-abababababab-r3");
    }
}
