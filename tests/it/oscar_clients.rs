//! OSCAR's own clients, unmodified, from PyPI: `oscar-python` 2.2.0 and `scar` 4.3.1, in an environment that is made
//! once and kept. Shared by the tests with a fake Kubernetes and those on a real cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

const PINS: [&str; 2] = ["oscar-python==2.2.0", "scar==4.3.1"];

/// The environment with the clients: a minute of downloads the first time, then found.
pub fn environment() -> PathBuf {
    let base = std::env::var("MAREA_TEST_CACHE").unwrap_or_else(|_| "/var/cache/marea/test".to_owned());
    let folder = PathBuf::from(base).join(format!("python-{}", PINS.join("-").replace("==", "-")));
    let made = folder.join("made");
    if !made.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        let run = |command: &mut Command| {
            let out = command.output().unwrap();
            assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
        };
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        run(Command::new(folder.join("bin/pip")).args(["install", "-q"]).args(PINS));
        std::fs::write(made, "").unwrap();
    }
    folder
}

/// A FAKE AWS, for `scar ls`, which asks AWS for functions of its own before it asks the cluster: there are none.
async fn aws() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().fallback(async |headers: axum::http::HeaderMap| {
        if headers.contains_key("x-amz-target") {
            return "{\"ResourceTagMappingList\": []}";
        }
        "<GetUserResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><GetUserResult><User><UserId>u</UserId>\
         </User></GetUserResult></GetUserResponse>"
    });
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

/// `scar`, with a home folder of its own in which the function `cow` is described.
pub struct Scar {
    pub home: tempfile::TempDir,
    url: String,
    password: String,
    aws: String,
}

impl Scar {
    /// Writes what it reads.
    pub async fn new(url: &str, password: &str, script: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            let path = home.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("cow.sh", script.to_owned());
        write(".aws/credentials", "[default]\naws_access_key_id = a\naws_secret_access_key = b\n".to_owned());
        write(
            "cow.yaml",
            format!(
                "functions:\n  oscar:\n  - lab:\n      name: cow\n      memory: 32Mi\n      cpu: '0.1'\n      image: marea.local/busybox:1\n      \
                 script: cow.sh\n      endpoint: {url}\n      auth_user: oscar\n      auth_password: {password}\n      ssl_verify: false\n      \
                 input: [{{storage_provider: minio, path: cow/in}}]\n      output: [{{storage_provider: minio, path: cow/out}}]\n"
            ),
        );
        Self { home, url: url.to_owned(), password: password.to_owned(), aws: aws().await }
    }

    /// Runs it; what it says.
    pub async fn run(&self, args: &[&str]) -> String {
        let program = tokio::task::spawn_blocking(environment).await.unwrap().join("bin/scar");
        let mut command = tokio::process::Command::new(program);
        command
            .args(args)
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            .envs([("AWS_ENDPOINT_URL", self.aws.as_str()), ("AWS_DEFAULT_REGION", "us-east-1")]);
        let out = command.output().await.unwrap();
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
    }

    /// Makes the function, lists it, and runs `meanwhile` before it removes it.
    pub async fn story(&self, meanwhile: impl AsyncFnOnce()) {
        let text = self.run(&["ls"]).await;
        assert!(text.contains("scar.cfg' created"), "the first run writes its config and no more: {text}");
        let text = self.run(&["init", "-f", "cow.yaml"]).await;
        assert!(text.contains("successfully created"), "{text}");
        let text = self.run(&["init", "-f", "cow.yaml"]).await;
        assert!(text.contains("A service with the provided name already exists"), "{text}");
        // `ls` knows clusters from its own config alone.
        let config = self.home.path().join(".scar/scar.cfg");
        let mut settings: Value = serde_json::from_str(&std::fs::read_to_string(&config).unwrap()).unwrap();
        settings["oscar"] = json!({
            "lab": { "endpoint": self.url, "auth_user": "oscar", "auth_password": self.password, "ssl_verify": false }
        });
        std::fs::write(&config, settings.to_string()).unwrap();
        let text = self.run(&["ls"]).await;
        assert!(text.contains("cow") && text.contains("marea.local/busybox:1"), "{text}");
        meanwhile().await;
        let text = self.run(&["rm", "-f", "cow.yaml"]).await;
        assert!(text.contains("successfully deleted"), "{text}");
    }
}

/// Runs a script of `oscar-python`, which ends with the word `done`.
pub async fn oscar_python(script: &str, arguments: &[&str], folder: &Path) {
    let python = tokio::task::spawn_blocking(environment).await.unwrap().join("bin/python");
    let mut command = tokio::process::Command::new(python);
    let out = command.args(["-c", script]).args(arguments).arg(folder).output().await.unwrap();
    let (text, wrong) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && text.ends_with("done\n"), "{text}\n{wrong}");
}
