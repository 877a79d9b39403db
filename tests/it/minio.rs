//! A real MinIO on loopback, made by `marea bundle build` from the pinned list and kept for the next run.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use marea::s3::{Endpoint, Keys, Store};

/// A server of its own for one test; it ends with it.
pub struct Minio {
    pub url: String,
    pub port: u16,
    pub folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
    child: Child,
}

pub const ACCESS: &str = "marea-test";
pub const SECRET: &str = "marea-test-secret";
pub const REGION: &str = "us-east-1";

impl Minio {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With more in its environment, such as a webhook.
    pub async fn with(environment: &[(&str, &str)]) -> Self {
        Self::at("127.0.0.1", environment).await
    }

    /// On an address of its own.
    pub async fn at(host: &str, environment: &[(&str, &str)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let port = TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let url = format!("http://{host}:{port}");
        let environment: Vec<_> = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let child = spawn(folder.path(), &url, &environment);
        let minio = Self { url, port, folder, environment, child };
        minio.ready().await;
        minio
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again with the same data on the same port.
    pub async fn again(&mut self) {
        self.kill();
        self.child = spawn(self.folder.path(), &self.url, &self.environment);
        self.ready().await;
    }

    /// As its root sees it.
    pub fn store(&self) -> Store {
        store(&self.url)
    }

    async fn ready(&self) {
        for _ in 0..600 {
            let asked = reqwest::get(format!("{}/minio/health/cluster", self.url)).await;
            if asked.is_ok_and(|r| r.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("MinIO does not come up: {}", fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
    }
}

impl Drop for Minio {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The root's view of the store at `url`.
pub fn store(url: &str) -> Store {
    let endpoint = Endpoint { url: url.to_owned(), region: REGION.into(), verify: true };
    Store::new(&endpoint, Some(Keys { access: ACCESS.into(), secret: SECRET.into() })).unwrap()
}

fn spawn(folder: &Path, url: &str, environment: &[(String, String)]) -> Child {
    let log = fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    Command::new(program())
        .args(["server", "--address", url.trim_start_matches("http://"), "--console-address", "127.0.0.1:0"])
        .arg(folder.join("data"))
        .env("HOME", folder)
        .env("MINIO_ROOT_USER", ACCESS)
        .env("MINIO_ROOT_PASSWORD", SECRET)
        .env("MINIO_REGION", REGION)
        .env("MINIO_BROWSER", "off")
        .env("MINIO_UPDATE", "off")
        .envs(environment.iter().map(|(k, v)| (k, v)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// The compiled server: four minutes of a processor the first time, then found.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| bundle("minio", &["minio"]).join("bin/minio"))
}

/// A bundle of nothing but these pieces of the pinned list, and what they are made from.
pub fn bundle(name: &str, pieces: &[&str]) -> PathBuf {
    let folder = cache().join(name);
    fs::create_dir_all(&folder).unwrap();
    let manifest = folder.join("bundle.toml");
    let mut list: toml::Table = fs::read_to_string("recipes/bundle.toml").unwrap().parse().unwrap();
    for kind in ["module", "program", "image", "python"] {
        let all = list.get_mut(kind).unwrap().as_array_mut().unwrap();
        // The image of MinIO is not asked for where the program is.
        let wanted = |one: &toml::Value| {
            pieces.iter().any(|piece| one["name"].as_str() == Some(piece)) && !(kind == "image" && name == "minio")
        };
        all.retain(wanted);
    }
    fs::write(&manifest, list.to_string()).unwrap();
    // Another test program may be making it just now.
    for _ in 0..600 {
        let mut build = Command::new(env!("CARGO_BIN_EXE_marea"));
        build.arg("--bundle").arg(&folder).args(["bundle", "build", "--manifest"]).arg(&manifest);
        let out = build.output().unwrap();
        if out.status.success() {
            return folder;
        }
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(text.contains("is being built by another"), "{text}");
        std::thread::sleep(Duration::from_secs(2));
    }
    panic!("somebody else is making the bundle {name} for twenty minutes");
}

/// Where tests keep what takes long to make.
fn cache() -> PathBuf {
    let shared = PathBuf::from("/var/cache/marea/test");
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).to_path_buf();
    if fs::create_dir_all(&shared).is_ok() && fs::File::create(shared.join(".writable")).is_ok() { shared } else { own }
}
