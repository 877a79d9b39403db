//! A misfit: one reason why a pod does not fit a node, for people; and the smallest change that would help.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::node::Taint;
use crate::model::pod::{HostPort, Operator, Requirement};

/// The filters of kube-scheduler's default profile, by the names of its plugins and in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Filter {
    /// `spec.nodeName`.
    NodeName,
    /// The cordon.
    NodeUnschedulable,
    /// Taints.
    TaintToleration,
    /// `nodeSelector` and node affinity.
    NodeAffinity,
    /// Host ports.
    NodePorts,
    /// CPU, memory and so on.
    NodeResourcesFit,
    /// Volumes that only one may use.
    VolumeRestrictions,
    /// How many volumes a node can attach.
    NodeVolumeLimits,
    /// Volumes that are bound, can be bound or made.
    VolumeBinding,
    /// The zone of a volume.
    VolumeZone,
    /// Topology spread constraints.
    PodTopologySpread,
    /// Pod affinity and anti-affinity.
    InterPodAffinity,
}

impl Filter {
    /// The plugin's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::NodeName => "NodeName",
            Self::NodeUnschedulable => "NodeUnschedulable",
            Self::TaintToleration => "TaintToleration",
            Self::NodeAffinity => "NodeAffinity",
            Self::NodePorts => "NodePorts",
            Self::NodeResourcesFit => "NodeResourcesFit",
            Self::VolumeRestrictions => "VolumeRestrictions",
            Self::NodeVolumeLimits => "NodeVolumeLimits",
            Self::VolumeBinding => "VolumeBinding",
            Self::VolumeZone => "VolumeZone",
            Self::PodTopologySpread => "PodTopologySpread",
            Self::InterPodAffinity => "InterPodAffinity",
        }
    }
}

/// Why a pod does not fit a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "misfit", rename_all = "kebab-case")]
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
    /// A claim is not there.
    ClaimMissing {
        /// The claim.
        claim: String,
        /// The filter that says so.
        filter: Filter,
    },
    /// A claim is of no use to the pod.
    ClaimUnusable {
        /// The claim.
        claim: String,
        /// Why.
        why: String,
        /// The filter that says so.
        filter: Filter,
    },
    /// A claim should be bound by now, and is not.
    ClaimUnbound {
        /// The claim.
        claim: String,
        /// The filter that says so.
        filter: Filter,
    },
    /// A claim that one pod may use at a time is in use.
    ClaimInUse {
        /// The claim.
        claim: String,
    },
    /// A claim's volume is being made for another node.
    ClaimPromised {
        /// The claim.
        claim: String,
        /// The node.
        node: String,
    },
    /// Another pod on the node mounts a disk that they cannot share.
    DiskInUse,
    /// The node can attach no more volumes of a driver.
    TooManyVolumes {
        /// The driver.
        driver: String,
        /// The most it can attach.
        most: u64,
    },
    /// A volume is not there.
    VolumeMissing {
        /// The volume.
        volume: String,
        /// The filter that says so.
        filter: Filter,
    },
    /// A volume does not reach the node.
    VolumeElsewhere {
        /// The volume.
        volume: String,
    },
    /// There is no volume for a claim here, and none can be made.
    NoVolume {
        /// The claim.
        claim: String,
    },
    /// There is not enough storage left for a claim.
    NoStorage {
        /// The claim.
        claim: String,
        /// Bytes asked for.
        wanted: u64,
    },
    /// A volume is in another zone or region.
    OtherZone {
        /// The volume.
        volume: String,
        /// The label that differs.
        key: String,
    },
    /// The node lacks the label that pods are spread over.
    SpreadKey {
        /// The label.
        key: String,
    },
    /// Too many pods are in the node's domain already.
    Spread {
        /// The label whose values are the domains.
        key: String,
        /// Pods in the node's domain, this one counted when the constraint is about it.
        here: u64,
        /// The fewest in any domain.
        fewest: u64,
        /// By how much they may differ.
        most: u64,
    },
    /// None of the pods that it must be near is.
    NotNear {
        /// The label that the nodes must share.
        key: String,
    },
    /// A pod that it must be apart from is here.
    NotApart {
        /// The label that the nodes share.
        key: String,
    },
    /// A pod is here that must be apart from it.
    Refused {
        /// The label that the nodes share.
        key: String,
    },
}

impl Misfit {
    /// The filter that says so.
    pub fn filter(&self) -> Filter {
        match self {
            Self::Unschedulable => Filter::NodeUnschedulable,
            Self::NodeName { .. } => Filter::NodeName,
            Self::Taint { .. } => Filter::TaintToleration,
            Self::Selector { .. } | Self::Affinity { .. } => Filter::NodeAffinity,
            Self::HostPort { .. } => Filter::NodePorts,
            Self::TooManyPods { .. } | Self::Short { .. } => Filter::NodeResourcesFit,
            Self::ClaimMissing { filter, .. }
            | Self::ClaimUnusable { filter, .. }
            | Self::ClaimUnbound { filter, .. }
            | Self::VolumeMissing { filter, .. } => *filter,
            Self::ClaimInUse { .. } | Self::DiskInUse => Filter::VolumeRestrictions,
            Self::TooManyVolumes { .. } => Filter::NodeVolumeLimits,
            Self::ClaimPromised { .. }
            | Self::VolumeElsewhere { .. }
            | Self::NoVolume { .. }
            | Self::NoStorage { .. } => Filter::VolumeBinding,
            Self::OtherZone { .. } => Filter::VolumeZone,
            Self::SpreadKey { .. } | Self::Spread { .. } => Filter::PodTopologySpread,
            Self::NotNear { .. } | Self::NotApart { .. } | Self::Refused { .. } => Filter::InterPodAffinity,
        }
    }

    /// The smallest change that would do away with it, as what follows "would fit".
    pub fn remedy(&self) -> String {
        match self {
            Self::Unschedulable => "once it is uncordoned".to_owned(),
            Self::NodeName { wants } => format!("if it did not name node {wants}"),
            Self::Taint { taint } => format!("with a toleration of {taint}"),
            Self::Selector { key, wants, .. } => format!("without nodeSelector {key}={wants}"),
            Self::Affinity { .. } => "without its node affinity".to_owned(),
            Self::HostPort { port } => format!("without host port {}/{}", port.port, port.protocol),
            Self::TooManyPods { .. } => "once a pod goes from it".to_owned(),
            Self::Short { resource, wanted, free, .. } => {
                let less = amount(resource, wanted.saturating_sub(*free));
                match resource.as_str() {
                    "memory" => format!("with {less} less"),
                    name => format!("with {less} less {name}"),
                }
            }
            Self::ClaimMissing { claim, .. } => format!("once there is a claim {claim}"),
            Self::ClaimUnusable { claim, .. } => format!("with another claim than {claim}"),
            Self::ClaimUnbound { claim, .. } => format!("once claim {claim} is bound"),
            Self::ClaimInUse { claim } => format!("once no other pod uses claim {claim}"),
            Self::ClaimPromised { claim, .. } => format!("if claim {claim} were not being provisioned elsewhere"),
            Self::DiskInUse => "once no other pod on it mounts the same disk".to_owned(),
            Self::TooManyVolumes { driver, .. } => format!("with fewer volumes of {driver}"),
            Self::VolumeMissing { volume, .. } => format!("if there were a volume {volume}"),
            Self::VolumeElsewhere { volume } => format!("if volume {volume} reached it"),
            Self::NoVolume { claim } => format!("with a volume for claim {claim}"),
            Self::NoStorage { claim, .. } => format!("with storage left for claim {claim}"),
            Self::OtherZone { volume, key } => format!("if it had the {key} of volume {volume}"),
            Self::SpreadKey { key } => format!("if it had a label {key}"),
            Self::Spread { key, here, fewest, most } => {
                format!("with {} fewer of these pods in its {key}", here.saturating_sub(fewest + most))
            }
            Self::NotNear { key } => format!("once a pod that it must be near is in its {key}"),
            Self::NotApart { key } => format!("once no pod that it must be apart from is in its {key}"),
            Self::Refused { key } => format!("once no pod that must be apart from it is in its {key}"),
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
            Self::ClaimMissing { claim, .. } => write!(f, "there is no claim {claim}"),
            Self::ClaimUnusable { claim, why, .. } => write!(f, "claim {claim} cannot be used: {why}"),
            Self::ClaimUnbound { claim, .. } => write!(f, "claim {claim} is not bound to a volume"),
            Self::ClaimInUse { claim } => write!(f, "claim {claim} is in use by another pod, and only one may use it"),
            Self::ClaimPromised { claim, node } => {
                write!(f, "the volume of claim {claim} is being made for node {node}")
            }
            Self::DiskInUse => f.write_str("a pod on it mounts a disk that they cannot share"),
            Self::TooManyVolumes { driver, most } => write!(f, "it attaches no more than {most} volumes of {driver}"),
            Self::VolumeMissing { volume, .. } => write!(f, "there is no volume {volume}"),
            Self::VolumeElsewhere { volume } => write!(f, "volume {volume} does not reach it"),
            Self::NoVolume { claim } => write!(f, "there is no volume for claim {claim} here, and none can be made"),
            Self::NoStorage { claim, wanted } => {
                write!(
                    f,
                    "claim {claim} asks for {}, and no storage of that size is left here",
                    amount("memory", *wanted)
                )
            }
            Self::OtherZone { volume, key } => write!(f, "volume {volume} has another {key}"),
            Self::SpreadKey { key } => write!(f, "it has no label {key}, over which the pod is spread"),
            Self::Spread { key, here, fewest, most } => write!(
                f,
                "topology spread over {key}: there would be {here} here and {fewest} elsewhere, {most} more at most"
            ),
            Self::NotNear { key } => write!(f, "no pod that it must be near is in its {key}"),
            Self::NotApart { key } => write!(f, "a pod that it must be apart from is in its {key}"),
            Self::Refused { key } => write!(f, "a pod that must be apart from it is in its {key}"),
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
