//! `marea bootstrap`: from a RADL file and powered-off machines to a Ready cluster.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::functions::first;
use super::providers;
use super::radl::texts::{self, ReadingArgs};
use crate::bootstrap::folder::Folder;
use crate::bootstrap::infrastructure;
use crate::bootstrap::plan::{BundleIndex, Piece, Plan, PlanError, plan};
use crate::bootstrap::progress::Progress;
use crate::bootstrap::service::Service;
use crate::bootstrap::{Bootstrap, Report};
use crate::bundle::build::{Line, read_index};
use crate::config::{Loaded, ProviderKind};
use crate::contextualize;
use crate::model::cluster::{ClusterSpec, RecipeUse};
use crate::model::context::Contextualization;
use crate::model::machine::Machine;
use crate::provider::Provider;
use crate::provider::im::fragment::{fragments, terms};
use crate::provider::im::infrastructure::Infrastructure;
use crate::provider::local::MachineSpec;
use crate::radl;
use crate::recipe::{Sources, embedded};
use crate::remote::Access;

/// Make a Ready cluster from a RADL file and machines that may be off.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marea bootstrap radl/elastic-local.radl --plan      what would be done
  marea bootstrap radl/elastic-local.radl             do it; again: nothing to do
  marea bootstrap site.radl --config marea.toml       on machines of your own
  marea bootstrap site.radl --functions thumbs.yaml   and make the functions of an FDL file

A bootstrap that failed or was killed goes on where it was when it is run again.")]
pub struct BootstrapArgs {
    /// RADL files, read as one document
    #[arg(required = true, value_name = "TEMPLATE")]
    pub templates: Vec<PathBuf>,
    /// Who powers the machines, in place of the config's word
    #[arg(long, value_enum, value_name = "NAME")]
    pub provider: Option<ProviderName>,
    /// The config
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A folder of recipes of your own; one of a known name takes its place
    #[arg(long, value_name = "DIR")]
    pub recipes: Option<PathBuf>,
    /// FDL files whose functions the new cluster gets; may be given more than once
    #[arg(long, value_name = "FDL")]
    pub functions: Vec<PathBuf>,
    /// Print the steps and do nothing
    #[arg(long)]
    pub plan: bool,
    /// How the RADL is read
    #[command(flatten)]
    pub reading: ReadingArgs,
}

/// A provider's name on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ProviderName {
    /// Machines on this computer
    Local,
    /// Machines with commands of their own
    Command,
    /// Machines with a BMC that speaks IPMI
    Ipmi,
    /// Machines with a BMC that speaks Redfish
    Redfish,
    /// Machines that wake by LAN
    Wol,
    /// Machines that are always on, or switched by a person
    Ssh,
    /// Virtual machines of a cloud, through the Infrastructure Manager
    Im,
}

/// The recipe that a document with playbooks needs on its front-end.
const ANSIBLE: &str = "ansible";

/// Something that is wrong with the input: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Wrong(String);

fn wrong(error: impl std::fmt::Display) -> anyhow::Error {
    Wrong(error.to_string()).into()
}

/// Bootstraps the cluster of the state folder.
pub async fn run(args: BootstrapArgs, state: &Path, bundle: &Path) -> anyhow::Result<ExitCode> {
    match act(args, state, bundle).await {
        Err(error) if error.is::<Wrong>() => {
            writeln!(std::io::stderr(), "{error}")?;
            Ok(ExitCode::from(2))
        }
        other => other,
    }
}

async fn act(args: BootstrapArgs, state: &Path, bundle: &Path) -> anyhow::Result<ExitCode> {
    let mut config = Loaded::read(args.config.as_deref()).map_err(wrong)?;
    let written = config.config.provider;
    config.config.provider = match args.provider {
        Some(ProviderName::Local) => ProviderKind::Local,
        Some(ProviderName::Command) => ProviderKind::Command,
        Some(ProviderName::Ipmi) => ProviderKind::Ipmi,
        Some(ProviderName::Redfish) => ProviderKind::Redfish,
        Some(ProviderName::Wol) => ProviderKind::Wol,
        Some(ProviderName::Ssh) => ProviderKind::Ssh,
        Some(ProviderName::Im) => ProviderKind::Im,
        None => config.config.provider,
    };
    let service = service(&config, written)?;
    let sources = sources(args.recipes.as_deref())?;
    let (spec, context, radl) = specification(&args.templates, &args.reading, &sources)?;
    let is_im = config.config.provider == ProviderKind::Im;
    // What it configures there, the Infrastructure Manager configures with its own Ansible.
    let context = if is_im { Contextualization::default() } else { context };
    let mut spec = config.amend(spec).map_err(wrong)?;
    if !context.is_empty() && !spec.front_end.recipes.iter().any(|recipe| recipe.name == ANSIBLE) {
        let (name, version, parameters) = (ANSIBLE.to_owned(), None, std::collections::BTreeMap::new());
        spec.front_end.recipes.push(RecipeUse { name, version, parameters });
    }
    config.policy(&spec).map_err(wrong)?;
    // Read before anything is done: a mistake in them is no reason for half a cluster.
    let functions = first::read(&args.functions, &spec).map_err(wrong)?;
    let mut machines = config.machines(&spec).map_err(wrong)?;
    let bundle = std::path::absolute(bundle)?;
    let index = index(&bundle)?;
    let made = |machines: &[Machine]| {
        plan(&spec, machines, &sources, &index).map_err(|error| match error {
            // The document is right; the world lacks something.
            PlanError::Missing { .. } => anyhow::Error::new(error),
            PlanError::Recipes(_) | PlanError::Template(_) | PlanError::Version { .. } | PlanError::NoPool(_) => {
                wrong(error)
            }
        })
    };
    let plan = made(&machines)?;
    let ansible = contextualize::plan::plan(&context, &machines, &spec.name);
    if args.plan {
        write!(std::io::stdout().lock(), "{plan}{ansible}{functions}")?;
        return Ok(ExitCode::SUCCESS);
    }
    if config.config.provider == ProviderKind::Local && !rustix::process::geteuid().is_root() {
        anyhow::bail!(
            "the provider `local` makes machines on this computer, which takes root: run it as root, or use --provider command"
        );
    }
    let progress = Progress::new();
    let folder = Folder::open(state)?;
    let _lock = folder.lock()?;
    let (provider, access, plan) = if is_im {
        let (provider, access) = virtual_machines(&config, &radl, &spec, &mut machines, &folder, &progress).await?;
        // Only now is it known where they are.
        (provider, access, made(&machines)?)
    } else {
        let (provider, access) = provider(&config, &spec, &machines, &folder, &bundle, &progress).await?;
        (provider, access, plan)
    };
    let boot_timeout = u64::try_from(config.policy(&spec).map_err(wrong)?.boot_timeout_ms / 1000).unwrap_or(300);
    let bootstrap = Bootstrap { spec, plan, ansible, provider, access, folder, bundle, boot_timeout, service };
    let report = bootstrap.run(&progress).await;
    let report = report.context("the cluster is not whole yet; mend what is said and run the same command again")?;
    let code = tell(&report, &bootstrap.plan, bootstrap.service.is_some(), state, &progress)?;
    if report.failures.is_empty() {
        functions.apply(&bootstrap).await.context("the cluster is Ready, but not all functions are there")?;
    }
    Ok(code)
}

fn tell(report: &Report, plan: &Plan, service: bool, state: &Path, progress: &Progress) -> anyhow::Result<ExitCode> {
    let mut err = std::io::stderr();
    for (name, error) in &report.failures {
        writeln!(err, "\n{name}: {error}\n  whole log: {}", state.join("log").join(format!("{name}.log")).display())?;
    }
    let seconds = progress.seconds();
    if !report.failures.is_empty() {
        let (failed, all) = (report.failures.len(), plan.hosts.len());
        writeln!(
            err,
            "\n{failed} of {all} machines failed; mend what is said above and run the same command again: what is done is not done twice"
        )?;
        return Ok(ExitCode::from(1));
    }
    if report.ran == 0 && report.configured.is_empty() && !report.service_changed {
        writeln!(
            err,
            "nothing to do: {} steps on {} machines were done before ({seconds:.1} s)",
            report.skipped,
            plan.hosts.len()
        )?;
    } else {
        writeln!(
            err,
            "the cluster is Ready: {} steps run, {} done before, {seconds:.1} s",
            report.ran, report.skipped
        )?;
        if !report.configured.is_empty() {
            writeln!(err, "configured by Ansible: {}", report.configured.join(", "))?;
        }
        if !report.powered_off.is_empty() {
            writeln!(err, "powered off until there is work: {}", report.powered_off.join(", "))?;
        }
        let kubeconfig = state.join("admin.kubeconfig");
        if service {
            let front_end = plan.hosts.first().map_or("front", |h| &h.machine.name);
            writeln!(
                err,
                "the daemon runs on {front_end} (marea status there); kubectl --kubeconfig {}",
                kubeconfig.display()
            )?;
        } else {
            writeln!(err, "next: marea run; kubectl --kubeconfig {}", kubeconfig.display())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What the daemon on the front-end is given. With provider `local` it runs on this computer, where the power is.
fn service(config: &Loaded, written: ProviderKind) -> anyhow::Result<Option<Service>> {
    let provider = config.config.provider;
    if provider == ProviderKind::Local || !config.config.service.install {
        return Ok(None);
    }
    if written != provider {
        return Err(wrong(
            "the daemon on the front-end reads the config too, and that names another provider: set `provider = \"command\"` there",
        ));
    }
    let mut files = config.config.service.files.clone();
    if provider == ProviderKind::Im {
        files.push(config.im().map_err(wrong)?.auth);
    }
    for file in &files {
        if !file.is_absolute() || !file.is_file() {
            return Err(wrong(format!("[service] files: {} is not an absolute path of a file", file.display())));
        }
    }
    let program = std::env::current_exe()?;
    Ok(Some(Service { program, config: config.text().to_owned(), files }))
}

/// The recipes: those inside this program, and the user's over them.
fn sources(folder: Option<&Path>) -> anyhow::Result<Sources> {
    let mut sources = embedded::sources();
    let Some(folder) = folder else { return Ok(sources) };
    let entries = std::fs::read_dir(folder).map_err(|e| wrong(format!("--recipes {}: {e}", folder.display())))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).map_err(|e| wrong(format!("{}: {e}", path.display())))?;
            sources.0.insert(name, text);
        }
    }
    Ok(sources)
}

async fn provider(
    config: &Loaded,
    spec: &ClusterSpec,
    machines: &[Machine],
    folder: &Folder,
    bundle: &Path,
    progress: &Progress,
) -> anyhow::Result<(Arc<dyn Provider>, Access)> {
    match config.config.provider {
        ProviderKind::Local => {
            let provider = providers::local(config, folder.path())?;
            progress.say("local", "root file system");
            provider.ensure_base(|step| drop(writeln!(std::io::stderr(), "local: {step}"))).await?;
            let mut specs = Vec::new();
            for machine in machines {
                let pool = std::iter::once(&spec.front_end).chain(&spec.pools).find(|p| p.name == machine.pool);
                let pool = pool.with_context(|| format!("machine `{}` has no pool", machine.name))?;
                specs.push(MachineSpec {
                    name: machine.name.clone(),
                    address: machine.address.parse()?,
                    cpus: pool.cpus,
                    memory: pool.memory,
                    bundle: Some(bundle.to_owned()),
                });
            }
            provider.create_all(specs).await?;
            // The provider made each host's key and wrote it down: even the first contact is strict.
            let access = Access {
                key: Some(provider.ssh_key()),
                known_hosts: provider.known_hosts(),
                accept_new: false,
                ..providers::access(config, folder.path())
            };
            Ok((Arc::new(provider), access))
        }
        ProviderKind::Command
        | ProviderKind::Ipmi
        | ProviderKind::Redfish
        | ProviderKind::Wol
        | ProviderKind::Ssh
        | ProviderKind::Im => {
            let provider = providers::declared(config, folder.path()).map_err(wrong)?;
            Ok((provider, providers::access(config, folder.path())))
        }
    }
}

/// Makes the infrastructure, or finds it, and has all machines in it.
async fn virtual_machines(
    config: &Loaded,
    radl: &str,
    spec: &ClusterSpec,
    machines: &mut [Machine],
    folder: &Folder,
    progress: &Progress,
) -> anyhow::Result<(Arc<dyn Provider>, Access)> {
    let at = config.im().map_err(wrong)?;
    let (document, _) = radl::parse(radl);
    let before = Infrastructure::read(folder.path()).map_err(anyhow::Error::msg)?;
    let mut known = match before {
        Some(known) => known,
        None => Infrastructure { mark: folder.owner()?, ..Infrastructure::default() },
    };
    known.fragments = fragments(&document);
    known.terms = terms(&document);
    for pool in std::iter::once(&spec.front_end).chain(&spec.pools) {
        // What recipes of ours made of a machine would go with it: it is stopped, and not removed.
        if let Some(fragment) = known.fragments.get_mut(&pool.name) {
            fragment.reuse |= !pool.recipes.is_empty();
        }
    }
    known.machines = machines.iter().map(|machine| (machine.name.clone(), machine.pool.clone())).collect();
    let client = providers::im_client(config).map_err(wrong)?;
    infrastructure::make(&mut known, &client, &spec.front_end.name, folder, progress).await?;
    let provider = providers::im(config, &known).map_err(wrong)?;
    let limit = std::time::Duration::from_millis(u64::try_from(at.boot_patience_ms).unwrap_or(3_600_000));
    let network = at.network.as_deref();
    let key = infrastructure::come_up(&provider, &mut known, machines, network, limit, folder, progress).await?;
    let access = providers::access(config, folder.path());
    let access = Access { key: access.key.clone().or(key), ..access };
    Ok((Arc::new(provider), access))
}

/// Reads the documents; what is wrong with them is told as `marea check` does.
fn specification(
    templates: &[PathBuf],
    reading: &ReadingArgs,
    sources: &Sources,
) -> anyhow::Result<(ClusterSpec, Contextualization, String)> {
    let texts = texts::gather(templates, reading).map_err(|e| wrong(format!("error: {e}")))?;
    let known = |name: &str| sources.0.contains_key(&format!("{name}.toml"));
    let beside = |name: &str| texts.beside(name);
    let loaded = radl::load_as(&texts.input(reading, &beside), &known);
    let mut err = std::io::stderr();
    let styled = err.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    write!(err, "{}", loaded.human(styled))?;
    if loaded.has_errors() {
        return Err(wrong("nothing was done: mend the errors above"));
    }
    let text = loaded.im_text();
    Ok((loaded.spec.context("the document describes no cluster")?, loaded.context, text))
}

/// What the bundle holds, as a plan needs it.
fn index(bundle: &Path) -> anyhow::Result<BundleIndex> {
    let lines = read_index(bundle).context("there is no bundle: run `marea bundle build`")?;
    let mut index = BundleIndex::default();
    for Line { path, sha256, size, version, reference } in lines {
        let piece = Piece { path, sha256, size, reference, version };
        if let Some(name) = piece.path.strip_prefix("bin/") {
            index.programs.insert(name.to_owned(), piece);
        } else if let Some(name) = piece.path.strip_prefix("images/") {
            index.images.insert(name.trim_end_matches(".tar").to_owned(), piece);
        }
    }
    Ok(index)
}
