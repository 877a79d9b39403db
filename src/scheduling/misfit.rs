//! A misfit: the one reason why a pod does not fit a node, for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::node::Taint;
use crate::model::pod::{HostPort, Operator, Requirement};

/// The first filter that keeps a pod off a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "filter", rename_all = "kebab-case")]
pub enum Misfit {
    /// The node is cordoned.
    Unschedulable,
    /// The pod names another node.
    NodeName {
        /// The node it names.
        wants: String,
    },
    /// The pod does not tolerate a taint.
    Taint {
        /// The taint.
        taint: Taint,
    },
    /// `nodeSelector` wants a label that the node has not.
    Selector {
        /// The label.
        key: String,
        /// The value it should have.
        wants: String,
        /// The value it has.
        has: Option<String>,
    },
    /// No term of the required node affinity holds.
    Affinity {
        /// The first requirement that fails; none when there is no term with anything in it.
        requirement: Option<Requirement>,
    },
    /// A host port is taken.
    HostPort {
        /// The port.
        port: HostPort,
    },
    /// The node takes no more pods.
    TooManyPods {
        /// The most it takes.
        most: u64,
    },
    /// The node is short of a resource.
    Short {
        /// Which one.
        resource: String,
        /// What the pod asks for.
        wanted: u64,
        /// What is free.
        free: u64,
        /// What there would be if the node were empty.
        all: u64,
    },
}

impl Misfit {
    /// The scheduler's name of the filter.
    pub fn filter(&self) -> &'static str {
        match self {
            Self::Unschedulable => "NodeUnschedulable",
            Self::NodeName { .. } => "NodeName",
            Self::Taint { .. } => "TaintToleration",
            Self::Selector { .. } | Self::Affinity { .. } => "NodeAffinity",
            Self::HostPort { .. } => "NodePorts",
            Self::TooManyPods { .. } | Self::Short { .. } => "NodeResourcesFit",
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unschedulable => f.write_str("the node is cordoned"),
            Self::NodeName { wants } => write!(f, "the pod names node {wants}"),
            Self::Taint { taint } => write!(f, "the pod does not tolerate taint {taint}"),
            Self::Selector { key, wants, has: None } => {
                write!(f, "the pod selects {key}={wants}, a label that it has not")
            }
            Self::Selector { key, wants, has: Some(has) } => {
                write!(f, "the pod selects {key}={wants}, and it has {key}={has}")
            }
            Self::Affinity { requirement: None } => f.write_str("the pod's node affinity has no term that could match"),
            Self::Affinity { requirement: Some(requirement) } => {
                let Requirement { key, operator, values } = requirement;
                let values = values.join(", ");
                let means = match operator {
                    Operator::In => format!("{key} in [{values}]"),
                    Operator::NotIn => format!("{key} not in [{values}]"),
                    Operator::Exists => format!("a label {key}"),
                    Operator::DoesNotExist => format!("no label {key}"),
                    Operator::Gt => format!("{key} > {values}"),
                    Operator::Lt => format!("{key} < {values}"),
                };
                write!(f, "the pod's node affinity wants {means}")
            }
            Self::HostPort { port } => write!(f, "host port {}/{} is taken", port.port, port.protocol),
            Self::TooManyPods { most } => write!(f, "it takes no more than {most} pods"),
            Self::Short { resource, wanted, free, all } => {
                let show = |value: u64| amount(resource, value);
                write!(
                    f,
                    "{resource}: asks for {}, {} free of {} ({} short)",
                    show(*wanted),
                    show(*free),
                    show(*all),
                    show(wanted.saturating_sub(*free))
                )
            }
        }
    }
}

/// An amount of a resource as people write it.
pub(super) fn amount(resource: &str, value: u64) -> String {
    match resource {
        "cpu" if value.is_multiple_of(1000) => (value / 1000).to_string(),
        "cpu" => format!("{value}m"),
        "memory" | "ephemeral-storage" => {
            let (unit, shift) = match value {
                0..=1023 => return value.to_string(),
                1024..=1_048_575 => ("Ki", 10),
                1_048_576..=1_073_741_823 => ("Mi", 20),
                _ => ("Gi", 30),
            };
            // One decimal, in whole numbers: the core holds no floating point that decides or prints.
            let tenths = (u128::from(value) * 10).div_ceil(1u128 << shift);
            if tenths.is_multiple_of(10) {
                format!("{}{unit}", tenths / 10)
            } else {
                format!("{}.{}{unit}", tenths / 10, tenths % 10)
            }
        }
        _ => value.to_string(),
    }
}
