//! First functions: those that a cluster gets from its bootstrap. Their files are read before anything is done, and
//! sent when the gateway answers. Where a file says that its cluster is does not count: the cluster is this one.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use super::apply::{Loaded, load_all, put};
use super::client::Gateway;
use crate::bootstrap::Bootstrap;
use crate::bootstrap::gateway::{Door, port};
use crate::model::cluster::ClusterSpec;

/// A gateway that was just started lists its services first.
const READY: Duration = Duration::from_secs(60);

/// Functions that were read and found right.
#[derive(Debug)]
pub struct Functions(Vec<Loaded>);

/// Reads the files. What is wrong in one is told on standard error, all of it.
pub fn read(files: &[PathBuf], spec: &ClusterSpec) -> Result<Functions, String> {
    if files.is_empty() {
        return Ok(Functions(Vec::new()));
    }
    if port(spec).is_none() {
        return Err("error: --functions: the front-end gets no recipe `functions`, so nothing would run them; add \
             `disk.0.applications contains ( name = 'functions' )` to its system"
            .to_owned());
    }
    let loaded = load_all(files, None).map_err(|error| error.to_string())?;
    let loaded = loaded.ok_or("nothing was done: mend the errors above")?;
    for file in &loaded {
        let clusters: BTreeSet<&str> = file.services.iter().map(|(function, _)| function.cluster.as_str()).collect();
        if clusters.len() > 1 {
            let names = clusters.into_iter().collect::<Vec<_>>().join(", ");
            return Err(format!(
                "error: {}: its functions are for several clusters ({names}), and a bootstrap makes one: give each \
                 cluster a file of its own, or use `marea functions apply --cluster NAME` afterwards",
                file.path
            ));
        }
    }
    Ok(Functions(loaded))
}

impl Functions {
    /// Makes or changes them on the new cluster.
    pub async fn apply(&self, bootstrap: &Bootstrap) -> anyhow::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let door = Door::open(bootstrap).await?;
        let done = self.send(&Gateway::behind(&door.socket, &door.user, &door.password)?).await;
        door.close().await?;
        done
    }

    async fn send(&self, gateway: &Gateway) -> anyhow::Result<()> {
        gateway.ready(READY).await?;
        for file in &self.0 {
            for (_, service) in &file.services {
                let done = put(gateway, service).await.with_context(|| format!("{}: {}", file.path, service.name))?;
                writeln!(std::io::stderr(), "function {}: {done}", service.name)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.0 {
            writeln!(f, "\n# functions of {}, sent to the gateway when all is Ready", file.path)?;
            for (_, service) in &file.services {
                writeln!(f, "{} in {}", service.name, service.image)?;
            }
        }
        Ok(())
    }
}
