//! What a pool's nodes carry: devices, labels and taints.

use std::collections::BTreeMap;

use crate::diagnostic::Span;
use crate::model::node::{Effect, Taint};
use crate::radl::features::{Features, Property, short};
use crate::radl::report::{Report, did_you_mean};
use crate::radl::syntax::Text;

/// `gpu.count` of a `gpu.vendor` as the extended resource that its device plugin offers.
pub(super) fn devices(features: &Features<'_>, report: &mut Report) -> BTreeMap<String, u64> {
    let mut devices = BTreeMap::new();
    let Some((range, span)) = features.number("gpu.count") else { return devices };
    let amount = super::count("gpu.count", range.chosen(), span, report);
    let vendor = features.text("gpu.vendor").map(|(text, _)| text);
    let resource = match vendor.map(|text| text.raw.to_lowercase()).as_deref() {
        Some("nvidia") => "nvidia.com/gpu",
        Some("amd") => "amd.com/gpu",
        _ => {
            let span = vendor.map_or(span, |text| text.span);
            report.error(
                "R0066",
                span,
                "whose GPUs are these?",
                "no vendor that is known",
                "add `gpu.vendor = 'nvidia'` or `gpu.vendor = 'amd'`",
            );
            return devices;
        }
    };
    if amount > 0 {
        devices.insert(resource.to_owned(), amount);
    }
    devices
}

/// The parts of a text between commas, each with its place.
fn parts(text: Text<'_>) -> impl Iterator<Item = (&str, Span)> {
    // A string that has no end has no closing quote: the places are still within the line.
    let mut at = text.span.start + 1;
    text.raw.split(',').filter_map(move |part| {
        let start = at + (part.len() - part.trim_start().len());
        at += part.len() + 1;
        let part = part.trim();
        (!part.is_empty()).then_some((part, Span { start, end: start + part.len() }))
    })
}

/// `kubernetes.node_labels` and `ec3_node_keywords`.
pub(super) fn labels(features: &Features<'_>, report: &mut Report) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for property in ["kubernetes.node_labels", "ec3_node_keywords"] {
        let Some((Property::Text(_, text), _)) = features.properties.get(property) else { continue };
        for (part, span) in parts(*text) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let (key, value) = (key.trim(), value.trim());
            if !is_key(key) || !is_value(value) {
                report.error(
                    "R0067",
                    span,
                    format!("`{}` is no label", short(part)),
                    "a label",
                    format!("write `{property} = 'key=value,other.example/key=value'`, {RULES}"),
                );
                continue;
            }
            let before = labels.insert(key.to_owned(), value.to_owned());
            if before.is_some_and(|before| before != value) {
                report.error("R0067", span, format!("label `{key}` has two values"), "the second", "keep one of them");
            }
        }
    }
    labels
}

/// What Kubernetes allows.
const RULES: &str = "each of letters, digits, `-`, `_` and `.`, 63 at most, with a letter or digit first and last";

/// `kubernetes.node_taints`.
pub(super) fn taints(features: &Features<'_>, report: &mut Report) -> Vec<Taint> {
    let mut taints: Vec<Taint> = Vec::new();
    let Some((Property::Text(_, text), _)) = features.properties.get("kubernetes.node_taints") else { return taints };
    for (part, span) in parts(*text) {
        let (left, effect) = part.rsplit_once(':').unwrap_or((part, ""));
        let (key, value) = left.split_once('=').unwrap_or((left, ""));
        let effect = match effect {
            "NoSchedule" => Some(Effect::NoSchedule),
            "PreferNoSchedule" => Some(Effect::PreferNoSchedule),
            "NoExecute" => Some(Effect::NoExecute),
            _ => None,
        };
        match effect {
            Some(effect) if is_key(key) && is_value(value) => {
                if taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
                    report.error(
                        "R0068",
                        span,
                        format!("taint `{key}` stands twice with one effect"),
                        "the second",
                        "keep one of them",
                    );
                }
                taints.push(Taint { key: key.to_owned(), value: value.to_owned(), effect });
            }
            _ => {
                let meant = did_you_mean(
                    part.rsplit(':').next().unwrap_or(""),
                    ["NoSchedule", "PreferNoSchedule", "NoExecute"],
                );
                let help = format!(
                    "write `key=value:EFFECT`, where EFFECT is NoSchedule, PreferNoSchedule or NoExecute{meant}"
                );
                report.error("R0068", span, format!("`{}` is no taint", short(part)), "a taint", help);
            }
        }
    }
    taints
}

fn is_value(value: &str) -> bool {
    value.is_empty() || is_name(value)
}

fn is_name(name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// `[prefix/]name`, where the prefix is a DNS name.
fn is_key(key: &str) -> bool {
    let Some((prefix, name)) = key.split_once('/') else { return is_name(key) };
    let dns = |label: &str| {
        is_name(label) && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    is_name(name) && prefix.len() <= 253 && prefix.split('.').all(dns)
}
