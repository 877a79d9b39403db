//! The network of a static program: names are resolved without the C library's plug-ins, which a static program cannot
//! load.

use std::net::SocketAddr;
use std::sync::Arc;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::OnceCell;

/// A client for stores.
pub(super) fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().dns_resolver(Arc::new(Names::default()))
}

/// `/etc/hosts` and `/etc/resolv.conf`, with its search domains.
#[derive(Clone, Default)]
struct Names(Arc<OnceCell<TokioResolver>>);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.clone();
        Box::pin(async move {
            let resolver = names.0.get_or_try_init(|| async { resolver() }).await?;
            let found = resolver.lookup_ip(name.as_str()).await?;
            let addresses: Vec<SocketAddr> = found.iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// An image without `/etc/resolv.conf` has its `/etc/hosts` at least.
fn resolver() -> Result<TokioResolver, NetError> {
    let hosts_only = || TokioResolver::builder_with_config(ResolverConfig::default(), TokioRuntimeProvider::default());
    TokioResolver::builder_tokio().unwrap_or_else(|_| hosts_only()).build()
}
