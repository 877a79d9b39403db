//! A plan: for every machine, the steps that make it part of the cluster, in order. Made by a pure
//! function of the specification, the machines, the recipes and the bundle's index, so that `--plan` shows
//! exactly what would run; secrets stand in it as placeholders.

pub mod script;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::model::cluster::{ClusterSpec, Pool};
use crate::model::machine::{Machine, Role};
use crate::recipe::merge::{Resolved, resolve};
use crate::recipe::template::{TemplateError, render};
use crate::recipe::{Finding, On, Sources, Step, Value};

/// Where the bundle lies on every machine.
pub const BUNDLE_ON_MACHINE: &str = "/var/lib/marea/bundle";

/// Where it lies in the home of an ordinary user, on a machine that nobody here is root on.
pub const BUNDLE_AT_HOME: &str = ".marea/bundle";

/// What the bundle holds, as far as a plan needs it.
#[derive(Debug, Clone, Default)]
pub struct BundleIndex {
    /// Programs by name.
    pub programs: BTreeMap<String, Piece>,
    /// Images by name.
    pub images: BTreeMap<String, Piece>,
}

/// One file of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Piece {
    /// Path inside the bundle.
    pub path: String,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// Its length in bytes.
    pub size: u64,
    /// The name that an image is imported under; empty for a program.
    pub reference: String,
    /// Its version; empty when it is not known.
    pub version: String,
}

/// What the whole fleet is to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// One for each machine, the front-end first.
    pub hosts: Vec<HostPlan>,
    /// Texts that replace placeholders just before a script is sent.
    pub secrets: Secrets,
}

/// What one machine is to do.
#[derive(Debug, Clone)]
pub struct HostPlan {
    /// The machine.
    pub machine: Machine,
    /// The bundle's files that its steps read.
    pub pieces: BTreeSet<Piece>,
    /// Its steps, in order.
    pub steps: Vec<PlannedStep>,
    /// What undoes each recipe, in the order of the recipes.
    removals: Vec<String>,
    /// It becomes no node, and nobody here is root on it.
    at_home: bool,
}

impl HostPlan {
    /// A digest of all that the machine is to be: equal digests mean that nothing changed.
    pub fn digest(&self) -> String {
        digest(self.steps.iter().map(|s| s.digest.as_str()))
    }

    /// The script that takes all of it away again, the last recipe first. It holds no secret.
    pub fn removal(&self) -> String {
        self.placed(&script::removal(self.removals.iter().rev().map(String::as_str)))
    }

    /// A script as it is run there: on a machine that nobody here is root on, with Marea's folders in its user's home.
    pub fn placed(&self, script: &str) -> String {
        if self.at_home { script::at_home(script) } else { script.to_owned() }
    }

    /// True when its scripts are run as whoever connects.
    pub fn is_at_home(&self) -> bool {
        self.at_home
    }
}

/// A step of one machine, ready to send.
#[derive(Debug, Clone)]
pub struct PlannedStep {
    /// `RECIPE/STEP`: the same on every machine.
    pub key: String,
    /// What is run.
    pub script: String,
    /// Succeeds when the step is done.
    pub check: String,
    /// Digest of what is run: another text is another step, unless `once`.
    pub digest: String,
    /// A step that is done stays done.
    pub once: bool,
    /// Runs on the front-end just before; its output is given to the script.
    pub fetch: Option<String>,
    /// Keys of the front-end's steps that must be done before.
    pub after: Vec<String>,
    /// Seconds that it may take.
    pub timeout: u64,
}

/// Placeholders and what they stand for. Its `Debug` shows no value.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<String, String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Secrets {
    /// Puts the secrets in their places.
    pub fn reveal(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (placeholder, value)| text.replace(placeholder, value))
    }

    /// Takes every secret out of `text`.
    pub fn hide(&self, text: &str) -> String {
        self.0
            .iter()
            .filter(|(_, v)| !v.is_empty())
            .fold(text.to_owned(), |text, (placeholder, value)| text.replace(value, placeholder))
    }
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Something is wrong with recipes or with what is asked of them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Recipes(Vec<Finding>),
    /// A template did not render.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The bundle lacks something.
    #[error("recipe `{recipe}` needs the {what} `{name}`, which the bundle does not hold; run `marea bundle build`")]
    Missing {
        /// Who needs it.
        recipe: String,
        /// `program` or `image`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The bundle holds another version.
    #[error(
        "recipe `{recipe}` is to be version {asked}, and the bundle holds `{name}` {held}: change the document, or build another bundle"
    )]
    Version {
        /// Whose.
        recipe: String,
        /// What is asked for.
        asked: String,
        /// The program.
        name: String,
        /// What there is.
        held: String,
    },
    /// A machine belongs to no pool.
    #[error("machine `{0}` belongs to no pool of the specification")]
    NoPool(String),
}

#[derive(Serialize)]
struct Context<'a> {
    cluster: &'a ClusterSpec,
    machine: &'a Machine,
    machines: &'a [Machine],
    front_end: &'a Machine,
    pool: &'a Pool,
    parameters: &'a BTreeMap<String, Value>,
    bundle: &'static str,
    images: &'a BTreeMap<String, Piece>,
}

/// Makes the plan.
pub fn plan(
    spec: &ClusterSpec,
    machines: &[Machine],
    sources: &Sources,
    bundle: &BundleIndex,
) -> Result<Plan, PlanError> {
    let front_end = machines
        .iter()
        .find(|m| m.role == Role::FrontEnd)
        .ok_or_else(|| PlanError::NoPool(spec.front_end.name.clone()))?;
    let mut secrets = Secrets::default();
    let mut hosts = Vec::new();
    let mut order: Vec<&Machine> = machines.iter().collect();
    order.sort_by_key(|m| m.role);
    for machine in order {
        let pool = std::iter::once(&spec.front_end).chain(&spec.pools).find(|p| p.name == machine.pool);
        let pool = pool.ok_or_else(|| PlanError::NoPool(machine.name.clone()))?;
        let mut host = HostPlan {
            machine: machine.clone(),
            pieces: BTreeSet::new(),
            steps: Vec::new(),
            removals: Vec::new(),
            at_home: pool.is_no_nodes() && machine.user != "root",
        };
        for one in resolve(sources, &pool.recipes).map_err(PlanError::Recipes)? {
            let shown = hide(&one, &mut secrets);
            let context = Context {
                cluster: spec,
                machine,
                machines,
                front_end,
                pool,
                parameters: &shown,
                bundle: BUNDLE_ON_MACHINE,
                images: &bundle.images,
            };
            Recipes { sources, bundle, secrets: &secrets, role: machine.role, one: &one, context: &context }
                .add(&mut host)?;
        }
        hosts.push(host);
    }
    Ok(Plan { hosts, secrets })
}

/// The parameters as templates see them: each secret is a placeholder.
fn hide(one: &Resolved, secrets: &mut Secrets) -> BTreeMap<String, Value> {
    let mut shown = one.parameters.clone();
    for (name, value) in &mut shown {
        if one.recipe.parameters.get(name).is_some_and(|p| p.secret) {
            let recipe = one.recipe.name.get_ref();
            let text = match &*value {
                Value::Flag(v) => v.to_string(),
                Value::Number(v) => v.to_string(),
                Value::Text(v) => v.clone(),
            };
            // Pools may set the same parameter to different values.
            let mut placeholder = format!("<secret {recipe}.{name}>");
            let mut other = 1;
            while secrets.0.get(&placeholder).is_some_and(|known| *known != text) {
                other += 1;
                placeholder = format!("<secret {recipe}.{name} {other}>");
            }
            secrets.0.insert(placeholder.clone(), text);
            *value = Value::Text(placeholder);
        }
    }
    shown
}

struct Recipes<'a> {
    sources: &'a Sources,
    bundle: &'a BundleIndex,
    secrets: &'a Secrets,
    role: Role,
    one: &'a Resolved,
    context: &'a Context<'a>,
}

impl Recipes<'_> {
    fn here(&self, on: On) -> bool {
        match on {
            On::All => true,
            On::FrontEnd => self.role == Role::FrontEnd,
            On::Worker => self.role == Role::Worker,
        }
    }

    fn name(&self) -> &str {
        self.one.recipe.name.get_ref()
    }

    fn piece<'b>(
        &self,
        from: &'b BTreeMap<String, Piece>,
        what: &'static str,
        name: &str,
    ) -> Result<&'b Piece, PlanError> {
        from.get(name).ok_or_else(|| PlanError::Missing { recipe: self.name().to_owned(), what, name: name.to_owned() })
    }

    fn add(&self, host: &mut HostPlan) -> Result<(), PlanError> {
        let recipe = &self.one.recipe;
        let mut paths = Vec::new();
        let mut links = Vec::new();
        for a in recipe.artifacts.iter().filter(|a| self.here(a.on)) {
            let piece = self.piece(&self.bundle.programs, "program", a.name.get_ref())?;
            // The first program is the thing itself; the others only go with it.
            if let Some(Value::Text(asked)) = self.one.parameters.get("version")
                && links.is_empty()
                && !piece.version.is_empty()
                && asked.trim_start_matches('v') != piece.version.trim_start_matches('v')
            {
                let (recipe, name) = (self.name().to_owned(), a.name.get_ref().clone());
                return Err(PlanError::Version { recipe, asked: asked.clone(), name, held: piece.version.clone() });
            }
            host.pieces.insert(piece.clone());
            paths.push(a.path.clone());
            links.push(script::Link {
                target: format!("{BUNDLE_ON_MACHINE}/{}", piece.path),
                path: a.path.clone(),
                sha256: piece.sha256.clone(),
            });
        }
        if !links.is_empty() {
            host.steps.push(self.finish("programs", script::link(&links), script::linked(&links), None));
        }
        for step in recipe.steps.iter().filter(|s| self.here(s.on)) {
            for file in &step.files {
                paths.push(render(&format!("{}.toml, path", self.name()), file.path.get_ref(), self.context)?);
            }
            let planned = self.step(step, host)?;
            host.steps.push(planned);
        }
        let undo =
            recipe.remove.as_ref().map(|r| render(&format!("{}.toml, remove", self.name()), r.get_ref(), self.context));
        host.removals.push(script::undo(&undo.transpose()?.unwrap_or_default(), &paths));
        Ok(())
    }

    fn step(&self, step: &Step, host: &mut HostPlan) -> Result<PlannedStep, PlanError> {
        let title = step.name.get_ref();
        let at = |part: &str| format!("{}.toml, step `{title}`, {part}", self.name());
        let mut body = String::new();
        let mut check = String::new();
        for file in &step.files {
            let (name, text) = match (&file.template, &file.content) {
                (Some(t), _) => (t.get_ref().clone(), self.sources.0.get(t.get_ref()).cloned().unwrap_or_default()),
                (None, content) => (at("content"), content.clone().unwrap_or_default()),
            };
            let text = render(&name, &text, self.context)?;
            let path = render(&at("path"), file.path.get_ref(), self.context)?;
            body.push_str(&script::write_file(&path, &file.mode, &text));
            // A step that is done once stays done when its files change: `unless` alone proves it.
            if !step.once {
                check.push_str(&script::file_is(&path, &self.secrets.reveal(&text)));
            }
        }
        for image in &step.images {
            let kind = self.one.recipe.images.iter().find(|i| i.name.get_ref() == image.get_ref());
            if !kind.is_none_or(|i| self.here(i.on)) {
                continue;
            }
            let piece = self.piece(&self.bundle.images, "image", image.get_ref())?;
            host.pieces.insert(piece.clone());
            // Without a container runtime there is nothing to import it into: the recipe says where it goes.
            if self.context.pool.is_no_nodes() {
                continue;
            }
            body.push_str(&script::import(&format!("{BUNDLE_ON_MACHINE}/{}", piece.path), &piece.sha256));
            if !piece.reference.is_empty() {
                check.push_str(&script::imported(&piece.reference));
            }
        }
        if let Some(run) = &step.run {
            body.push_str(&render(&at("run"), run.get_ref(), self.context)?);
            body.push('\n');
        }
        if let Some(unless) = &step.unless {
            check.push_str(&render(&at("unless"), unless.get_ref(), self.context)?);
            check.push('\n');
        }
        let mut planned = self.finish(title, body, check, Some(step));
        if let Some(fetch) = &step.fetch {
            planned.fetch = Some(render(&at("fetch"), fetch.get_ref(), self.context)?);
        }
        Ok(planned)
    }

    fn finish(&self, title: &str, body: String, check: String, step: Option<&Step>) -> PlannedStep {
        let secret = self.secrets.reveal(&body);
        let recipe = &self.one.recipe;
        let after = step.and_then(|s| s.after.as_ref()).map_or_else(Vec::new, |after| {
            match after.get_ref().strip_prefix("front-end/") {
                Some(name) => vec![format!("{}/{name}", self.name())],
                None => recipe
                    .steps
                    .iter()
                    .filter(|s| s.on != On::Worker)
                    .map(|s| format!("{}/{}", self.name(), s.name.get_ref()))
                    .collect(),
            }
        });
        PlannedStep {
            key: format!("{}/{title}", self.name()),
            digest: digest([secret.as_str(), check.as_str()]),
            script: body,
            check,
            once: step.is_some_and(|s| s.once),
            fetch: None,
            after,
            timeout: step.map_or(120, |s| s.timeout),
        }
    }
}

/// The first 32 hexadecimal digits of a SHA-256 over `parts`, each ended by a zero byte.
pub fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut text: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    text.truncate(32);
    text
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for host in &self.hosts {
            let m = &host.machine;
            let bytes: u64 = host.pieces.iter().map(|p| p.size).sum();
            writeln!(
                f,
                "# {} ({}, pool {}) at {}@{}:{}",
                m.name,
                script::role(m.role),
                m.pool,
                m.user,
                m.address,
                m.port
            )?;
            writeln!(
                f,
                "#   {} steps; reads {} files of the bundle, {} MB",
                host.steps.len(),
                host.pieces.len(),
                bytes / 1_000_000
            )?;
            for (n, step) in host.steps.iter().enumerate() {
                writeln!(f, "## {}. {} (at most {} s)", n + 1, step.key, step.timeout)?;
                if !step.after.is_empty() {
                    writeln!(f, "#   waits for the front-end: {}", step.after.join(", "))?;
                }
                if let Some(fetch) = &step.fetch {
                    writeln!(f, "#   given <secret: made on the front-end when the step runs>, by:")?;
                    fetch.lines().try_for_each(|l| writeln!(f, "#     {l}"))?;
                }
                if !step.check.trim().is_empty() {
                    writeln!(f, "#   done when:")?;
                    step.check.lines().try_for_each(|l| writeln!(f, "#     {l}"))?;
                }
                writeln!(f, "{}", step.script)?;
            }
        }
        Ok(())
    }
}
