//! Making a Job of an event. Its name follows from the event, so that making it again finds it made; that it
//! is made is written down before anything else happens. A crash between the two is met by the same name.

use super::Core;
use super::cluster::Making;
use super::flight::Flight;
use super::word::Made;
use crate::clock;
use crate::functions::objects::job::Run;
use crate::functions::service::Service;
use crate::functions::store::{Change, Kind};
use crate::kubernetes::KubernetesError;

/// Makes the Job, and the Secret of a long event before it.
pub(super) async fn make(core: &Core, service: &Service, flight: &Flight, body: &[u8]) -> Made {
    let run = Run {
        service,
        id: flight.id,
        body,
        attempt: flight.attempt,
        sync: flight.kind == Kind::Run,
        namespace: &core.cluster.namespace,
        image: &core.settings.image,
        has_store: core.secrets.minio.is_some(),
    };
    let job = match run.job() {
        Ok(job) => job,
        Err(reason) => return Made::Never(format!("no Job can be written for it: {reason}")),
    };
    if let Some(secret) = run.event_secret() {
        match core.cluster.make_secret(&secret).await {
            Ok(()) | Err(Making::Exists) => {}
            Err(error) => return sort(error),
        }
    }
    match core.cluster.make_job(&job).await {
        Ok(()) | Err(Making::Exists) => {}
        Err(error) => return sort(error),
    }
    match core.store.change(vec![Change::Made { seq: flight.seq, attempt: flight.attempt, at: clock::now() }]).await {
        Ok(()) => Made::There,
        // The Job is there and will be found by its name.
        Err(fault) => Made::Later(fault.to_string()),
    }
}

fn sort(error: Making) -> Made {
    match error {
        Making::Wrong(reason) => Made::Never(format!("Kubernetes refused its Job: {reason}")),
        Making::Other(KubernetesError::Refused { reason, .. }) if reason.contains("exceeded quota") => {
            Made::Full(reason)
        }
        Making::Exists => Made::There,
        Making::Other(error) => Made::Later(error.to_string()),
    }
}
