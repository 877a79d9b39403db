//! A BMC that speaks Redfish: JSON over HTTPS. A session is opened where it has them (else each request carries the
//! password), the one system is found, and which kinds of reset it knows is asked, not guessed.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::secret::Keeper;
use super::sight::{MeansError, Sight};
use crate::model::machine::{Off, Power};

/// How a BMC is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Such as `https://10.0.1.11`.
    pub url: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: Keeper,
    /// The system's path, such as `/redfish/v1/Systems/1`; none where the BMC has only one.
    pub system: Option<String>,
    /// Certificates to trust beside the usual ones (PEM): the site's own authority, or the BMC's own certificate.
    pub ca: Option<PathBuf>,
    /// Trusts whoever answers. Then the password is safe from nobody in between.
    pub insecure: bool,
    /// How long it may take to answer.
    pub timeout: Duration,
}

/// One system behind a BMC.
#[derive(Debug)]
pub struct Redfish {
    settings: Settings,
    client: Client,
    known: Mutex<Known>,
}

/// What was found out and is used again.
#[derive(Debug, Default)]
struct Known {
    ticket: Option<Ticket>,
    system: Option<String>,
    watts: Watts,
}

/// Where watts are read.
#[derive(Debug, Clone, Default)]
enum Watts {
    #[default]
    NotSought,
    /// This BMC measures none.
    Nowhere,
    /// A path, and the place in what is found there.
    At(String, &'static str),
}

#[derive(Debug, Clone)]
enum Ticket {
    Token(String),
    /// It has no sessions.
    Basic,
}

impl Redfish {
    /// Prepares to talk; nothing is asked yet. The error says what is wrong with the settings.
    pub fn new(settings: Settings) -> Result<Self, String> {
        // A second installation is refused and harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .timeout(settings.timeout)
            .connect_timeout(settings.timeout.min(Duration::from_secs(5)))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(path) = &settings.ca {
            let pem = std::fs::read(path).map_err(|e| format!("ca {}: {e}", path.display()))?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|e| format!("ca {}: {e}", path.display()))?;
            if certificates.is_empty() {
                return Err(format!("ca {}: there is no certificate in it", path.display()));
            }
            for certificate in certificates {
                builder = builder.add_root_certificate(certificate);
            }
        }
        if settings.insecure {
            builder = builder.danger_accept_invalid_certs(true);
        }
        let client = builder.build().map_err(|e| format!("{}: {e}", settings.url))?;
        Ok(Self { settings, client, known: Mutex::default() })
    }

    /// Powers on.
    pub async fn on(&self) -> Result<(), MeansError> {
        self.reset(&["On", "ForceOn", "PushPowerButton"]).await
    }

    /// Asks for a shutdown, or cuts the power.
    pub async fn off(&self, how: Off) -> Result<(), MeansError> {
        match how {
            Off::Graceful => self.reset(&["GracefulShutdown", "PushPowerButton"]).await,
            Off::Hard => self.reset(&["ForceOff"]).await,
        }
    }

    /// Off for a moment and on again.
    pub async fn cycle(&self) -> Result<(), MeansError> {
        self.reset(&["PowerCycle", "ForceRestart"]).await
    }

    /// What the BMC says of the power.
    pub async fn see(&self) -> Result<Sight, MeansError> {
        let path = self.system().await?;
        let system = self.get(&path).await?;
        match system.get("PowerState").and_then(Value::as_str) {
            // On its way off it still draws power; on its way on it does so already.
            Some("On" | "PoweringOff" | "PoweringOn" | "Paused") => Ok(Sight { power: Power::On, watts: None }),
            Some("Off") => Ok(Sight { power: Power::Off, watts: None }),
            Some(other) => Err(MeansError::Failed(format!("{}: PowerState is `{other}`", self.settings.url))),
            None => Err(MeansError::Failed(format!("{}{path} has no PowerState", self.settings.url))),
        }
    }

    /// What the BMC measures, where it does.
    pub async fn watts(&self) -> Option<u32> {
        let mut place = self.known.lock().await.watts.clone();
        if let Watts::NotSought = place {
            place = self.find_watts().await.ok()?;
            self.known.lock().await.watts = place.clone();
        }
        let Watts::At(path, pointer) = place else { return None };
        let value = self.get(&path).await.ok()?;
        let watts = value.pointer(pointer)?.as_f64()?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand watts at most")]
        (watts.is_finite() && watts >= 0.0).then_some(watts.round() as u32)
    }

    /// The path and the place in it where watts are read: newer BMCs have them apart from the rest.
    async fn find_watts(&self) -> Result<Watts, MeansError> {
        let system = self.get(&self.system().await?).await?;
        let Some(chassis) = path(&system, "/Links/Chassis/0") else { return Ok(Watts::Nowhere) };
        let chassis = self.get(&chassis).await?;
        for (link, pointer) in
            [("/EnvironmentMetrics", "/PowerWatts/Reading"), ("/Power", "/PowerControl/0/PowerConsumedWatts")]
        {
            let Some(found) = path(&chassis, link) else { continue };
            if self.get(&found).await.is_ok_and(|value| value.pointer(pointer).is_some_and(Value::is_number)) {
                return Ok(Watts::At(found, pointer));
            }
        }
        Ok(Watts::Nowhere)
    }

    /// The system's path.
    async fn system(&self) -> Result<String, MeansError> {
        if let Some(system) = &self.settings.system {
            return Ok(system.clone());
        }
        if let Some(system) = self.known.lock().await.system.clone() {
            return Ok(system);
        }
        let all = self.get("/redfish/v1/Systems").await?;
        let members = all.get("Members").and_then(Value::as_array).cloned().unwrap_or_default();
        let paths: Vec<String> = members.iter().filter_map(|member| path(member, "")).collect();
        match &paths[..] {
            [only] => {
                self.known.lock().await.system = Some(only.clone());
                Ok(only.clone())
            }
            [] => Err(MeansError::Failed(format!("{} has no system", self.settings.url))),
            many => Err(MeansError::Refused(format!(
                "{} has {} systems; say which is this machine: system = {}",
                self.settings.url,
                many.len(),
                many.join(" or ")
            ))),
        }
    }

    /// Does the first of these kinds of reset that the system knows.
    async fn reset(&self, kinds: &[&str]) -> Result<(), MeansError> {
        let system = self.get(&self.system().await?).await?;
        let action = system.pointer("/Actions/#ComputerSystem.Reset").cloned().unwrap_or_default();
        let target = action.get("target").and_then(Value::as_str);
        let target = target.ok_or_else(|| MeansError::Failed(format!("{}: no reset there", self.settings.url)))?;
        let mut known = words(action.get("ResetType@Redfish.AllowableValues"));
        if let (true, Some(info)) = (known.is_empty(), action.get("@Redfish.ActionInfo").and_then(Value::as_str)) {
            let info = self.get(info).await?;
            let parameters = info.get("Parameters").and_then(Value::as_array).cloned().unwrap_or_default();
            let parameter = parameters.iter().find(|p| p.get("Name").and_then(Value::as_str) == Some("ResetType"));
            known = words(parameter.and_then(|p| p.get("AllowableValues")));
        }
        let kind = kinds.iter().find(|kind| known.iter().any(|k| k == *kind));
        let kind = kind.ok_or_else(|| {
            MeansError::Refused(format!(
                "{} knows none of {}; it knows {}",
                self.settings.url,
                kinds.join(", "),
                known.join(", ")
            ))
        })?;
        self.send(Method::POST, target, Some(json!({ "ResetType": kind }))).await.map(drop)
    }

    async fn get(&self, path: &str) -> Result<Value, MeansError> {
        let response = self.send(Method::GET, path, None).await?;
        response
            .json()
            .await
            .map_err(|e| MeansError::Failed(format!("{}{path}: no JSON: {}", self.settings.url, e.without_url())))
    }

    /// Asks; a session that has ended is opened anew, once.
    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Response, MeansError> {
        for turn in 0..2 {
            let ticket = self.ticket().await?;
            let mut request = self.client.request(method.clone(), self.url(path));
            if let Some(body) = &body {
                request = request.json(body);
            }
            let response = self.with(request, &ticket)?.send().await.map_err(|e| self.unheard(e))?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && turn == 0 && matches!(ticket, Ticket::Token(_)) {
                self.known.lock().await.ticket = None;
                continue;
            }
            return self.judge(path, response).await;
        }
        Err(self.wrong_password())
    }

    fn with(&self, request: RequestBuilder, ticket: &Ticket) -> Result<RequestBuilder, MeansError> {
        Ok(match ticket {
            Ticket::Token(token) => request.header("X-Auth-Token", token),
            Ticket::Basic => {
                let password = self.settings.password.read().map_err(MeansError::Refused)?;
                request.basic_auth(&self.settings.user, Some(password.reveal()))
            }
        })
    }

    async fn judge(&self, path: &str, response: Response) -> Result<Response, MeansError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status == StatusCode::UNAUTHORIZED {
            return Err(self.wrong_password());
        }
        let text = response.text().await.unwrap_or_default();
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        let said = said.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
        let reason = format!("{}{path} answered {status}: {said}", self.settings.url);
        if status == StatusCode::FORBIDDEN || status == StatusCode::BAD_REQUEST || status == StatusCode::NOT_FOUND {
            return Err(MeansError::Refused(reason));
        }
        Err(MeansError::Failed(reason))
    }

    fn wrong_password(&self) -> MeansError {
        MeansError::Refused(format!(
            "the BMC at {} does not take the password of `{}`",
            self.settings.url, self.settings.user
        ))
    }

    /// The session, opened if there is none.
    async fn ticket(&self) -> Result<Ticket, MeansError> {
        let mut known = self.known.lock().await;
        if let Some(ticket) = &known.ticket {
            return Ok(ticket.clone());
        }
        let password = self.settings.password.read().map_err(MeansError::Refused)?;
        let body = json!({ "UserName": self.settings.user, "Password": password.reveal() });
        let request = self.client.post(self.url("/redfish/v1/SessionService/Sessions")).json(&body);
        let response = request.send().await.map_err(|e| self.unheard(e))?;
        let token = response.headers().get("X-Auth-Token").and_then(|token| token.to_str().ok()).map(str::to_owned);
        let ticket = match (response.status(), token) {
            (status, Some(token)) if status.is_success() => Ticket::Token(token),
            // Where there are no sessions the request as such may be refused before anything is looked up.
            (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED, _) => Ticket::Basic,
            (StatusCode::UNAUTHORIZED, _) if response.headers().contains_key("WWW-Authenticate") => Ticket::Basic,
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST, _) => {
                return Err(self.wrong_password());
            }
            (status, _) => {
                return Err(MeansError::Failed(format!("{} opened no session: {status}", self.settings.url)));
            }
        };
        known.ticket = Some(ticket.clone());
        Ok(ticket)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.settings.url.trim_end_matches('/'))
    }

    fn unheard(&self, error: reqwest::Error) -> MeansError {
        if error.is_timeout() {
            return MeansError::Late(self.settings.timeout.as_secs());
        }
        let error = error.without_url();
        // The innermost cause names what happened: a certificate that is not trusted, say.
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
        let text = causes.last().map(ToString::to_string).unwrap_or_default();
        MeansError::Failed(format!("{}: {text}", self.settings.url))
    }
}

/// The path that a link holds.
fn path(value: &Value, at: &str) -> Option<String> {
    value.pointer(at)?.get("@odata.id")?.as_str().map(str::to_owned)
}

fn words(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array);
    list.map(|l| l.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()).unwrap_or_default()
}
