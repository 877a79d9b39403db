//! The check: whether what a document says makes sense. Ids are unique, references lead somewhere,
//! constraints leave something, and the properties that RADL knows have values of their kind.

use std::collections::{BTreeMap, BTreeSet};

use super::features::{Features, Property, short};
use super::report::{Report, did_you_mean, nearest};
use super::syntax::{Aspect, AspectKind, Body, Comparator, Configure, Contextualize, Document, Name, Sentence, Text};
use super::unit::{self, Measure, ONE};
use super::yaml;
use crate::diagnostic::Span;

/// What a property must be.
#[derive(Debug, Clone, Copy)]
enum Must {
    /// A number without a unit.
    Count,
    /// A number, with a unit of bytes or none.
    Bytes,
    /// A number with a unit of performance.
    Performance,
    /// A text.
    Text,
    /// A text or a list of texts.
    Texts,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// Elements.
    Elements,
}

/// Recipes longer than this are Ansible's to look into.
const LONGEST: usize = 4 << 20;

const YES_NO: Must = Must::OneOf(&["yes", "no"]);

/// The properties of a system that RADL knows. All others are allowed.
const SYSTEM: [(&str, Must); 26] = [
    ("spot", YES_NO),
    ("image_type", Must::OneOf(&["vmdk", "qcow", "qcow2", "raw"])),
    ("virtual_system_type", Must::Text),
    ("price", Must::Count),
    ("cpu.count", Must::Count),
    ("cpu.arch", Must::OneOf(&["i386", "i686", "x86_64", "arm64", "aarch64"])),
    ("cpu.performance", Must::Performance),
    ("memory.size", Must::Bytes),
    ("gpu.count", Must::Count),
    ("gpu.vendor", Must::Text),
    ("gpu.model", Must::Text),
    ("ansible_host", Must::Text),
    ("availability_zone", Must::Text),
    ("instance_type", Must::Text),
    ("instance_name", Must::Text),
    ("kubernetes.node_labels", Must::Text),
    ("kubernetes.node_taints", Must::Text),
    ("ec3_max_instances", Must::Count),
    ("ec3_min_instances", Must::Count),
    ("ec3_if_fail", Must::Text),
    ("ec3_destroy_interval", Must::Count),
    ("ec3_destroy_safe", Must::Count),
    ("ec3_node_type", Must::Text),
    ("ec3_node_pattern", Must::Text),
    ("ec3_node_keywords", Must::Text),
    ("ec3_node_queues_list", Must::Text),
];

/// The same for `disk.N.` and `net_interface.N.`, without the index.
const DISK: [(&str, Must); 13] = [
    ("image.url", Must::Texts),
    ("image.name", Must::Text),
    ("type", Must::Text),
    ("device", Must::Text),
    ("mount_path", Must::Text),
    ("fstype", Must::Text),
    ("size", Must::Bytes),
    ("free_size", Must::Bytes),
    ("os.name", Must::OneOf(&["linux", "windows", "mac os x"])),
    ("os.flavour", Must::Text),
    ("os.credentials.username", Must::Text),
    ("os.credentials.private_key", Must::Text),
    ("applications", Must::Elements),
];
const INTERFACE: [(&str, Must); 3] = [("connection", Must::Text), ("ip", Must::Text), ("dns_name", Must::Text)];
const NETWORK: [(&str, Must); 6] = [
    ("outbound", YES_NO),
    ("outports", Must::Text),
    ("provider_id", Must::Text),
    ("create", YES_NO),
    ("cidr", Must::Text),
    ("sg_name", Must::Text),
];
const ANSIBLE: [(&str, Must); 4] = [
    ("host", Must::Text),
    ("credentials.username", Must::Text),
    ("credentials.password", Must::Text),
    ("credentials.private_key", Must::Text),
];

/// The ids of each kind of sentence.
type Ids<'a> = BTreeMap<&'static str, BTreeSet<&'a str>>;

/// Checks a document.
pub(super) fn check(document: &Document<'_>, report: &mut Report) {
    let ids = ids(document, report);
    let mut pairs = BTreeSet::new();
    for sentence in &document.sentences {
        match sentence {
            Sentence::Aspect(aspect) => self::aspect(aspect, &ids, document.broken, report),
            Sentence::Configure(configure) => {
                if let Body::Recipe(text) = configure.body
                    && text.len() <= LONGEST
                    && let Err(error) = yaml::load(text, yaml::Tags::Any)
                {
                    report.error(
                        "R0086",
                        configure.id.span,
                        format!("the recipe `{}` is no YAML: {error}", short(configure.id.text)),
                        "its recipe",
                        "lines are counted from `@begin`; Ansible would say the same later",
                    );
                }
            }
            Sentence::Contextualize(sentence) => context(sentence, &ids, &mut pairs, document.broken, report),
            Sentence::Deploy(deploy) => {
                known("R0041", "system", deploy.system, &ids, document.broken, report);
                if deploy.count.digits.len() > 9 {
                    report.error(
                        "R0029",
                        deploy.count.span,
                        "this number is out of range",
                        "too many machines",
                        "deploy fewer than a thousand million machines",
                    );
                }
            }
        }
    }
}

/// Collects ids, each of which must be one thing's.
fn ids<'a>(document: &Document<'a>, report: &mut Report) -> Ids<'a> {
    let mut ids = Ids::new();
    for sentence in &document.sentences {
        let (kind, id) = match sentence {
            Sentence::Aspect(Aspect { kind: AspectKind::Description, .. })
            | Sentence::Contextualize(_)
            | Sentence::Deploy(_) => continue,
            Sentence::Aspect(aspect) => (aspect.kind.keyword(), aspect.id),
            Sentence::Configure(Configure { id, .. }) => ("configure", *id),
        };
        if !ids.entry(kind).or_default().insert(id.text) {
            let message = format!("there is already a {kind} `{}`", id.text);
            report.error(
                "R0040",
                id.span,
                message,
                "the second of its name",
                "rename one of them, or put all of it in one sentence",
            );
        }
    }
    ids
}

/// Reports a reference that leads nowhere. In a broken document, what it means may stand in the part that could not be read.
fn known(code: &'static str, kind: &'static str, name: Name<'_>, ids: &Ids<'_>, broken: bool, report: &mut Report) {
    let there = ids.get(kind);
    if broken || there.is_some_and(|there| there.contains(name.text)) {
        return;
    }
    let meant = did_you_mean(name.text, there.into_iter().flatten().copied());
    let help = format!("declare it: `{kind} {} ( ... )`{meant}", short(name.text));
    report.error(code, name.span, format!("there is no {kind} `{}`", short(name.text)), "unknown", help);
}

fn context<'a>(
    sentence: &Contextualize<'a>,
    ids: &Ids<'_>,
    pairs: &mut BTreeSet<(&'a str, &'a str)>,
    broken: bool,
    report: &mut Report,
) {
    for item in &sentence.items {
        known("R0041", "system", item.system, ids, broken, report);
        known("R0042", "configure", item.configure, ids, broken, report);
        if !pairs.insert((item.system.text, item.configure.text)) {
            let message = format!("`{}` is already configured with `{}`", item.system.text, item.configure.text);
            report.error(
                "R0045",
                item.configure.span,
                message,
                "once more",
                "IM keeps only the last of them: give the second step a `configure` of its own name",
            );
        }
    }
}

fn aspect(aspect: &Aspect<'_>, ids: &Ids<'_>, broken: bool, report: &mut Report) {
    let Some(features) = &aspect.features else { return };
    let features = Features::of(features, report);
    match aspect.kind {
        AspectKind::System => {
            for (name, (property, span)) in &features.properties {
                let rest = |prefix| indexed(name, prefix).map(|(_, rest)| rest);
                if let Some(rest) = rest("disk.") {
                    judge(name, rest, property, *span, &DISK, report);
                } else if let Some(rest) = rest("net_interface.") {
                    judge(name, rest, property, *span, &INTERFACE, report);
                    if let (Property::Text(_, text), "connection") = (property, rest) {
                        known("R0043", "network", name_in(*text), ids, broken, report);
                    }
                } else {
                    judge(name, name, property, *span, &SYSTEM, report);
                }
            }
            if let Some((text, _)) = features.text("ansible_host") {
                known("R0044", "ansible", name_in(text), ids, broken, report);
            }
            gaps(&features, "disk.", report);
            gaps(&features, "net_interface.", report);
        }
        AspectKind::Network => {
            for (name, (property, span)) in &features.properties {
                judge(name, name, property, *span, &NETWORK, report);
            }
            if let Some((text, _)) = features.text("outports") {
                outports(text, report);
            }
        }
        AspectKind::Ansible => {
            for (name, (property, span)) in &features.properties {
                judge(name, name, property, *span, &ANSIBLE, report);
            }
            let secret = features.text("credentials.password").or(features.text("credentials.private_key"));
            for (there, what) in [
                (features.text("host").is_some(), "host"),
                (features.text("credentials.username").is_some(), "credentials.username"),
                (secret.is_some(), "credentials.password or credentials.private_key"),
            ] {
                if !there && !broken {
                    let message = format!("ansible `{}` has no {what}", aspect.id.text);
                    report.error("R0057", aspect.id.span, message, "incomplete", format!("add `{what} = '...'`"));
                }
            }
        }
        AspectKind::Description | AspectKind::Include => {}
        AspectKind::Infrastructure | AspectKind::File | AspectKind::DeployFile | AspectKind::DeployScript => {
            report.error(
                "R0079",
                aspect.id.span,
                format!("`{}` means nothing outside of EC3", aspect.kind.keyword()),
                "EC3's own",
                "take it away: IM's dialect has no such aspect, and no machine gets anything by it",
            );
        }
    }
}

/// A text that names something.
fn name_in(text: Text<'_>) -> Name<'_> {
    Name { text: text.raw, span: text.span }
}

/// The index and the rest of `disk.0.image.url`.
fn indexed<'n>(name: &'n str, prefix: &str) -> Option<(u32, &'n str)> {
    let (index, rest) = name.strip_prefix(prefix)?.split_once('.')?;
    Some((index.parse().ok()?, rest))
}

fn gaps(features: &Features<'_>, prefix: &str, report: &mut Report) {
    let mut seen: BTreeMap<u32, Span> = BTreeMap::new();
    for (name, (_, span)) in &features.properties {
        if let Some((index, _)) = indexed(name, prefix) {
            seen.entry(index).or_insert(*span);
        }
    }
    for (expected, (index, span)) in (0..).zip(&seen) {
        if *index != expected {
            let message = format!("there is a `{prefix}{index}` and no `{prefix}{expected}`");
            report.error(
                "R0055",
                *span,
                message,
                "numbered too high",
                format!("number them from 0: `{prefix}{expected}` comes next"),
            );
            return;
        }
    }
}

/// Checks a property against a table of those that are known.
fn judge(
    full: &str,
    name: &str,
    property: &Property<'_>,
    span: Span,
    table: &[(&'static str, Must)],
    report: &mut Report,
) {
    let Some((_, must)) = table.iter().find(|(known, _)| *known == name) else {
        let near = (name.len() > 5).then(|| nearest(name, table.iter().map(|(known, _)| *known))).flatten();
        if let Some(near) = near {
            let meant = full.strip_suffix(name).unwrap_or("");
            report.warning(
                "R0056",
                span,
                format!("`{full}` means nothing to RADL"),
                "this value has no effect",
                format!("did you mean `{meant}{near}`?"),
            );
        }
        return;
    };
    let wanted = match (must, property) {
        (Must::Count, Property::Number(range)) => match unit::measure(&range.written) {
            Some(Measure::Plain) | None => return,
            Some(Measure::Bytes | Measure::Performance) => return misfit(full, "no unit", span, report),
        },
        (Must::Bytes, Property::Number(range)) => {
            let bytes = matches!(unit::measure(&range.written), Some(Measure::Bytes | Measure::Plain) | None);
            if !bytes {
                return misfit(full, "a unit of bytes, such as 4 GiB", span, report);
            }
            if range.chosen() % ONE != 0 {
                report.error(
                    "R0063",
                    span,
                    format!("`{full}` is no whole number of bytes"),
                    "not whole",
                    "write a whole number, or a smaller unit",
                );
            }
            return;
        }
        (Must::Performance, Property::Number(range)) => match unit::measure(&range.written) {
            Some(Measure::Performance) | None => return,
            Some(Measure::Bytes | Measure::Plain) => {
                return misfit(full, "one of the units ECU, GCEU and HRZ", span, report);
            }
        },
        (Must::Text, Property::Text(..))
        | (Must::Texts, Property::Text(..) | Property::List(_))
        | (Must::Elements, Property::Elements(_)) => return,
        (Must::OneOf(allowed), Property::Text(how, text)) => {
            if *how == Comparator::Equal && !allowed.contains(&text.raw) {
                let list = allowed.iter().map(|one| format!("'{one}'")).collect::<Vec<_>>().join(", ");
                let message = format!("`{full}` cannot be '{}'", short(text.raw));
                report.error("R0052", text.span, message, "not one of its values", format!("write one of {list}"));
            }
            return;
        }
        (Must::Count | Must::Bytes | Must::Performance, _) => "a number",
        (Must::Text | Must::OneOf(_), _) => "a text",
        (Must::Texts, _) => "a text or a list of texts",
        (Must::Elements, _) => "`contains ( name = '...' )`",
    };
    report.error(
        "R0051",
        span,
        format!("`{full}` must be {wanted}"),
        "of another kind",
        format!("give `{full}` {wanted}"),
    );
}

fn misfit(full: &str, wanted: &str, span: Span, report: &mut Report) {
    report.error(
        "R0053",
        span,
        format!("`{full}` takes {wanted}"),
        "the unit does not fit",
        format!("write `{full}` with {wanted}"),
    );
}

/// `[CIDR-]A[:B][/tcp|udp|icmp][-C[/proto]]`, joined by commas.
fn outports(text: Text<'_>, report: &mut Report) {
    let port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let proto = |end: &str| end.split_once('/').is_none_or(|(_, proto)| matches!(proto, "tcp" | "udp" | "icmp"));
    let number = |end: &str| end.split_once('/').map_or(end, |(number, _)| number).to_owned();
    for entry in text.raw.split(',').map(str::trim) {
        let mut parts: Vec<&str> = entry.split('-').collect();
        if parts.first().is_some_and(|first| first.contains('.')) {
            parts.remove(0);
        }
        let fine = match parts.as_slice() {
            [one] => {
                let ends = number(one);
                let (low, high) = ends.split_once(':').unwrap_or((&ends, &ends));
                proto(one) && port(low) && port(high)
            }
            [from, to] => proto(from) && proto(to) && port(&number(from)) && port(&number(to)),
            _ => false,
        };
        if !fine {
            report.error(
                "R0058",
                text.span,
                format!("`{}` is no port", short(entry)),
                "ports to open",
                "write ports such as '22,80/tcp,8000:8100/udp,8080-80': a port, a range A:B, or A-B to lead port A to port B",
            );
        }
    }
}
