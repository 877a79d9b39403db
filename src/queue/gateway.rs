//! The function gateway: a stream of lines, each all that its queue holds. It speaks every few seconds even when
//! nothing changes, so that silence is known for what it is.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt as _};
use serde::Deserialize;

use super::access::Http;
use super::{PAUSE_MOST, QueueError, Reading};
use crate::config::queues::{Access, TolerationEntry};
use crate::model::pod::Toleration;
use crate::model::queue::{Backlog, Unit};
use crate::model::resources::Resources;

const PATH: &str = "/marea/queue";
/// Three of the gateway's heartbeats.
const SILENCE: Duration = Duration::from_secs(15);
/// The first pause before the stream is begun again; it doubles.
const PAUSE: Duration = Duration::from_millis(250);
/// A line longer than this is no line of a gateway.
const LONGEST: usize = 32 << 20;

#[derive(Deserialize)]
struct Line {
    services: BTreeMap<String, Service>,
}

#[derive(Deserialize)]
struct Service {
    waiting: u64,
    #[serde(default)]
    in_flight: u64,
    limit: Option<u64>,
    #[serde(default)]
    requests: BTreeMap<String, String>,
    #[serde(default)]
    node_selector: BTreeMap<String, String>,
    #[serde(default)]
    tolerations: Vec<TolerationEntry>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    held: Option<String>,
}

struct Ear {
    http: Http,
    body: Option<BoxStream<'static, reqwest::Result<bytes::Bytes>>>,
    buffer: Vec<u8>,
    pause: Duration,
}

/// All that the gateway says, for ever.
pub(super) fn readings(url: String, access: Access, kube: kube::Client) -> BoxStream<'static, Reading> {
    let ear = Ear { http: Http::new(url, access, kube), body: None, buffer: Vec::new(), pause: Duration::ZERO };
    stream::unfold(ear, async |mut ear| {
        let reading = ear.next().await;
        if reading.is_err() {
            ear.body = None;
            ear.pause = (ear.pause * 2).clamp(PAUSE, PAUSE_MOST);
        } else {
            ear.pause = Duration::ZERO;
        }
        Some((reading, ear))
    })
    .boxed()
}

impl Ear {
    async fn next(&mut self) -> Reading {
        let place = self.http.url.clone();
        let unreachable = |reason: String| QueueError::Unreachable { place: place.clone(), reason };
        let mut body = if let Some(body) = self.body.take() {
            body
        } else {
            tokio::time::sleep(self.pause).await;
            self.buffer.clear();
            self.http.get(PATH, &[]).await?.bytes_stream().boxed()
        };
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                let line = std::mem::replace(&mut self.buffer, rest);
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                self.body = Some(body);
                return read(&line).map_err(|reason| self.http.nonsense(PATH, &reason));
            }
            match tokio::time::timeout(SILENCE, body.next()).await {
                Ok(Some(Ok(bytes))) if self.buffer.len() + bytes.len() <= LONGEST => self.buffer.extend(bytes),
                Ok(Some(Ok(_))) => return Err(self.http.nonsense(PATH, "a line without an end")),
                Ok(Some(Err(error))) => return Err(unreachable(format!("its stream broke: {error}"))),
                Ok(None) => return Err(unreachable("its stream ended".to_owned())),
                Err(_) => return Err(unreachable(format!("it said nothing for {} s", SILENCE.as_secs()))),
            }
        }
    }
}

/// Reads one line.
fn read(line: &[u8]) -> Result<Vec<Backlog>, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let backlog = |(name, service): (String, Service)| {
        let requests = Resources::of_pod(&service.requests).map_err(|error| format!("service `{name}`: {error}"))?;
        let labels = if service.labels.is_empty() {
            BTreeMap::from([("oscar_service".to_owned(), name.clone())])
        } else {
            service.labels
        };
        Ok(Backlog {
            service: name,
            waiting: service.waiting,
            in_flight: Some(service.in_flight),
            limit: service.limit,
            held: service.held,
            unit: Unit {
                labels,
                requests,
                node_selector: service.node_selector,
                tolerations: service.tolerations.into_iter().map(Toleration::from).collect(),
                ..Unit::default()
            },
        })
    };
    line.services.into_iter().map(backlog).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_the_contract_says() {
        let line = br#"{"at":"2026-01-01T00:00:00Z","services":{"thumb":{"waiting":3,"in_flight":2,"limit":10,
            "requests":{"cpu":"500m","memory":"256Mi","nvidia.com/gpu":"1"},"node_selector":{"disk":"ssd"},
            "tolerations":[{"key":"gpu","operator":"Exists"}],"labels":{"oscar_service":"thumb"},"held":null},
            "idle":{"waiting":0,"in_flight":0,"limit":1,"requests":{},"held":"paused"}}}"#;
        let backlogs = read(line).unwrap();
        assert_eq!(backlogs.iter().map(|one| one.service.as_str()).collect::<Vec<_>>(), ["idle", "thumb"]);
        let (idle, thumb) = (&backlogs[0], &backlogs[1]);
        assert_eq!((thumb.waiting, thumb.in_flight, thumb.limit, &thumb.held), (3, Some(2), Some(10), &None));
        assert_eq!((thumb.unit.requests.cpu_milli, thumb.unit.requests.extended["nvidia.com/gpu"]), (500, 1));
        assert!(thumb.unit.tolerations[0].exists && thumb.unit.node_selector["disk"] == "ssd");
        assert_eq!(idle.held.as_deref(), Some("paused"));
        assert_eq!(idle.unit.labels["oscar_service"], "idle");
        for wrong in [&b"{}"[..], b"[]", br#"{"services":{"x":{"waiting":-1}}}"#] {
            read(wrong).unwrap_err();
        }
        let error = read(br#"{"services":{"x":{"waiting":1,"requests":{"cpu":"much"}}}}"#).unwrap_err();
        assert!(error.contains("service `x`") && error.contains("cpu"), "{error}");
    }
}
