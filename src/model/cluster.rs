//! A cluster specification: what a RADL file says once it is checked. One front-end, pools of workers,
//! and the recipes that each of them gets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::node::Taint;

/// What a document asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSpec {
    /// Name of the cluster: the RADL `description`'s id, else the file's stem.
    pub name: String,
    /// The machine that is never powered off. Its `min` and `max` are 1.
    pub front_end: Pool,
    /// Workers, in the order of the document.
    pub pools: Vec<Pool>,
}

/// Machines declared alike: one RADL `system`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// The RADL system's id.
    pub name: String,
    /// Machines that stay on (`ec3_min_instances`, at least the count of `deploy`).
    pub min: u32,
    /// Machines there are (`ec3_max_instances`).
    pub max: u32,
    /// CPU cores (`cpu.count`).
    pub cpus: u32,
    /// Bytes of memory (`memory.size`).
    pub memory: u64,
    /// Extended resources (`gpu.count` with `gpu.vendor` becomes `nvidia.com/gpu`, say).
    #[serde(default)]
    pub extended: BTreeMap<String, u64>,
    /// Node labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Node taints.
    #[serde(default)]
    pub taints: Vec<Taint>,
    /// Recipes, in the order of `disk.0.applications`.
    pub recipes: Vec<RecipeUse>,
}

impl Pool {
    /// True when its machines become no nodes: their runs are udocker's.
    pub fn is_no_nodes(&self) -> bool {
        self.recipes.iter().any(|recipe| recipe.name == super::machine::UDOCKER)
    }
}

/// One application of a system: which recipe, which version, which parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeUse {
    /// The recipe's name.
    pub name: String,
    /// The version asked for, when one is.
    #[serde(default)]
    pub version: Option<String>,
    /// Further features of the application, as parameters by name.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
}
