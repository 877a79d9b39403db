//! `marea functions apply|list|run|logs|delete`: what a person does with functions.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::Access;
use super::client::Gateway;
use crate::cli::socket::Format;
use crate::functions::fdl::{self, Fdl, Function, Remark};
use crate::functions::service::Service;

/// Used wrongly: the input is at fault.
const WRONG_INPUT: u8 = 2;

/// Make or change the functions of FDL files.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marea functions apply cowsay.yaml
  marea functions apply --check cowsay.yaml                 only read it
  marea functions apply --cluster lab functions.yaml        only those of one cluster

Exit status: 0 done, 1 the gateway failed, 2 a file is wrong; then nothing was sent.")]
pub struct ApplyArgs {
    /// The files.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Only the functions for this cluster.
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Read and check the files, and send nothing.
    #[arg(long)]
    pub check: bool,
    #[command(flatten)]
    access: Access,
}

/// List the functions of a cluster.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// How it is printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    #[command(flatten)]
    access: Access,
}

/// Run a function.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marea functions run cowsay --input moo.txt --wait > out.txt
  echo moo | marea functions run cowsay --input -")]
pub struct RunArgs {
    /// The function.
    pub name: String,
    /// The file that is its input; `-` is the standard input.
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Wait for the result and print it.
    #[arg(long)]
    pub wait: bool,
    #[command(flatten)]
    access: Access,
}

/// List a function's runs, or show what one of them wrote.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The function.
    pub name: String,
    /// The run.
    pub job: Option<String>,
    #[command(flatten)]
    access: Access,
}

/// Delete functions.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marea functions delete cowsay
  marea functions delete cowsay.yaml")]
pub struct DeleteArgs {
    /// Names of functions, or FDL files (which end in .yaml or .yml).
    #[arg(required = true, value_name = "NAME|FILE")]
    pub what: Vec<String>,
    #[command(flatten)]
    access: Access,
}

/// One file's functions, read whole.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) path: String,
    fdl: Fdl,
    pub(super) services: Vec<(Function, Service)>,
}

/// Reads a file and its scripts. What is wrong is told, all of it.
fn load(path: &Path, cluster: Option<&str>) -> Result<Loaded, Vec<String>> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| vec![format!("{name}: {error}")])?;
    let at = |remark: Remark| format!("{name}:{remark}");
    let fdl = fdl::parse(&text).map_err(|wrong| wrong.into_iter().map(at).collect::<Vec<_>>())?;
    let (mut services, mut wrong) = (Vec::new(), Vec::new());
    for function in fdl.functions.iter().filter(|f| cluster.is_none_or(|only| only == f.cluster)) {
        let script = path.parent().unwrap_or(Path::new(".")).join(&function.script);
        let (line, column) = function.line_of("script");
        if function.script.is_empty() {
            let message = format!("{}: script: is required: the path of the script", function.name);
            wrong.push(at(Remark { line, column, message }));
            continue;
        }
        match std::fs::read_to_string(&script) {
            Ok(script) => match function.service(&script) {
                Ok(service) => services.push((function.clone(), service)),
                Err(remark) => wrong.push(at(remark)),
            },
            Err(error) => {
                let message = format!(
                    "{}: script: cannot read {}: {error}; the path is relative to the file",
                    function.name,
                    script.display()
                );
                wrong.push(at(Remark { line, column, message }));
            }
        }
    }
    if wrong.is_empty() { Ok(Loaded { path: name, fdl, services }) } else { Err(wrong) }
}

impl Loaded {
    fn gateway(&self, function: &Function, access: &Access) -> anyhow::Result<Gateway> {
        let own = function.own_cluster();
        Gateway::of(access, own.as_ref().or_else(|| self.fdl.clusters.get(&function.cluster)))
    }
}

pub(super) fn load_all(files: &[PathBuf], cluster: Option<&str>) -> std::io::Result<Option<Vec<Loaded>>> {
    let (mut loaded, mut failed) = (Vec::new(), false);
    for file in files {
        match load(file, cluster) {
            Ok(one) => {
                for warning in &one.fdl.warnings {
                    writeln!(std::io::stderr(), "warning: {}:{warning}", one.path)?;
                }
                loaded.push(one);
            }
            Err(wrong) => {
                failed = true;
                for line in wrong {
                    writeln!(std::io::stderr(), "error: {line}")?;
                }
            }
        }
    }
    Ok((!failed).then_some(loaded))
}

/// Applies files.
pub async fn apply(args: ApplyArgs) -> anyhow::Result<ExitCode> {
    let Some(loaded) = load_all(&args.files, args.cluster.as_deref())? else { return Ok(ExitCode::from(WRONG_INPUT)) };
    for file in &loaded {
        for (function, service) in &file.services {
            if args.check {
                writeln!(std::io::stdout(), "{} for {}: right", service.name, function.cluster)?;
                continue;
            }
            let gateway = file.gateway(function, &args.access)?;
            let done = put(&gateway, service).await.with_context(|| format!("{}: {}", file.path, service.name))?;
            writeln!(std::io::stdout(), "{} on {}: {done}", service.name, gateway.endpoint())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn put(gateway: &Gateway, service: &Service) -> anyhow::Result<&'static str> {
    let path = ["system", "services", &service.name];
    let (status, text) = gateway.send(gateway.request(Method::GET, &path), &[StatusCode::NOT_FOUND]).await?;
    let all = ["system", "services"];
    if status == StatusCode::NOT_FOUND {
        gateway.send(gateway.request(Method::POST, &all).json(service), &[]).await?;
        return Ok("made");
    }
    let there: Service = serde_json::from_str(&text).context("the gateway's answer is no service")?;
    if same(&there, service) {
        return Ok("is as the file says");
    }
    gateway.send(gateway.request(Method::PUT, &all).json(service), &[]).await?;
    Ok("changed")
}

/// True when applying would change nothing. The values of secrets are not given back, so a service that has any
/// is written again.
fn same(there: &Service, wanted: &Service) -> bool {
    let mut there = there.clone();
    there.token.clone_from(&wanted.token);
    there.namespace.clone_from(&wanted.namespace);
    if !wanted.storage_providers.minio.contains_key("default") {
        there.storage_providers.minio.remove("default");
    }
    wanted.environment.secrets.is_empty() && there == *wanted
}

/// Lists functions.
pub async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let gateway = Gateway::of(&args.access, None)?;
    let services = gateway.get(&["system", "services"]).await?;
    let mut out = std::io::stdout();
    if args.format == Format::Json {
        writeln!(out, "{services:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = |service: &Value, key: &str| service[key].as_str().unwrap_or("-").to_owned();
    writeln!(out, "{:<40} {:<8} {:<8} IMAGE", "NAME", "CPU", "MEMORY")?;
    for service in services.as_array().into_iter().flatten() {
        let (name, cpu, memory) = (text(service, "name"), text(service, "cpu"), text(service, "memory"));
        writeln!(out, "{name:<40} {cpu:<8} {memory:<8} {}", text(service, "image"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a function.
pub async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let gateway = Gateway::of(&args.access, None)?;
    let input = match &args.input {
        None => Vec::new(),
        Some(path) if path.as_os_str() == "-" => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes)?;
            bytes
        }
        Some(path) => std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?,
    };
    let how = if args.wait { "run" } else { "job" };
    let (status, text) = gateway.send(gateway.request(Method::POST, &[how, &args.name]).body(input), &[]).await?;
    let mut out = std::io::stdout();
    if args.wait && status == StatusCode::OK {
        out.write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
    if status == StatusCode::ACCEPTED {
        writeln!(std::io::stderr(), "marea: {}", answer["message"].as_str().unwrap_or("the run is not over"))?;
    }
    let jobs = answer["jobs"].as_array().cloned().unwrap_or_default();
    for job in jobs.iter().chain([&answer["job"]]).filter_map(Value::as_str) {
        writeln!(out, "{job}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows runs.
pub async fn logs(args: LogsArgs) -> anyhow::Result<ExitCode> {
    let gateway = Gateway::of(&args.access, None)?;
    let mut out = std::io::stdout();
    if let Some(job) = &args.job {
        let path = ["system", "logs", &args.name, job];
        let (_, text) = gateway.send(gateway.request(Method::GET, &path), &[]).await?;
        out.write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{:<64} {:<10} {:<21} FINISHED", "JOB", "STATUS", "CREATED")?;
    let mut page = String::new();
    loop {
        let request = gateway.request(Method::GET, &["system", "logs", &args.name]).query(&[("page", &page)]);
        let (_, text) = gateway.send(request, &[]).await?;
        let answer: Value = serde_json::from_str(&text).context("the gateway's answer is no JSON")?;
        for (job, run) in answer["jobs"].as_object().into_iter().flatten() {
            let text = |key: &str| run[key].as_str().unwrap_or("-").to_owned();
            let (status, created) = (text("status"), text("creation_time"));
            writeln!(out, "{job:<64} {status:<10} {created:<21} {}", text("finish_time"))?;
        }
        match answer["next_page"].as_str() {
            Some(next) if !next.is_empty() => next.clone_into(&mut page),
            _ => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// Deletes functions.
pub async fn delete(args: DeleteArgs) -> anyhow::Result<ExitCode> {
    let mut targets = Vec::new();
    for what in &args.what {
        let is_file = [".yaml", ".yml"].iter().any(|end| what.ends_with(end));
        if !is_file {
            targets.push((what.clone(), Gateway::of(&args.access, None)?));
            continue;
        }
        let Some(loaded) = load_all(&[PathBuf::from(what)], None)? else { return Ok(ExitCode::from(WRONG_INPUT)) };
        for file in &loaded {
            for (function, service) in &file.services {
                targets.push((service.name.clone(), file.gateway(function, &args.access)?));
            }
        }
    }
    for (name, gateway) in targets {
        let request = gateway.request(Method::DELETE, &["system", "services", &name]);
        let (status, _) = gateway.send(request, &[StatusCode::NOT_FOUND]).await?;
        let done = if status == StatusCode::NOT_FOUND { "is not there" } else { "deleted" };
        writeln!(std::io::stdout(), "{name} on {}: {done}", gateway.endpoint())?;
    }
    Ok(ExitCode::SUCCESS)
}
