"""A Redfish BMC: sushy-tools' emulator with a driver of ours, whose power is a script that really starts and stops
something. The emulator itself knows neither sessions nor watts: those two are added here, as DMTF's schema has them.
Usage: redfish.py PORT CERTIFICATE KEY PASSWORD SCRIPT... (one system a script); with SESSIONS=no: Basic only."""
import os
import secrets
import subprocess
import ssl
import sys

import flask
from sushy_tools import error
from sushy_tools.emulator import main
from sushy_tools.emulator.resources.systems import fakedriver

port, certificate, key, password, *scripts = sys.argv[1:]
SYSTEMS = {f"00000000-0000-0000-0000-{n:012}": script for n, script in enumerate(scripts, 1)}
app = main.app


class ScriptDriver(fakedriver.FakeDriver):
    def _script(self, identity, *words):
        if identity not in SYSTEMS:
            raise error.NotFound(f"no system {identity}")
        return subprocess.run([SYSTEMS[identity], *words], check=True, capture_output=True, text=True).stdout.strip()

    def get_power_state(self, identity):
        return "On" if self._script(identity, "get", "power") == "power:1" else "Off"

    def set_power_state(self, identity, state):
        orders = {"On": ["power 1"], "ForceOn": ["power 1"], "ForceOff": ["power 0"], "GracefulShutdown": ["shutdown 1"],
                  "ForceRestart": ["power 0", "power 1"]}
        for order in orders.get(state) or self._no(state):
            self._script(identity, "set", *order.split())

    def _no(self, state):
        raise error.BadRequest(f"no reset of type {state}")


app.configure(extra_config={
    "SUSHY_EMULATOR_FAKE_DRIVER": True,
    "SUSHY_EMULATOR_STATE_DIR": os.environ["STATE"],
    "SUSHY_EMULATOR_FAKE_SYSTEMS": [{"uuid": uuid, "name": f"s{uuid[-1]}", "power_state": "Off", "nics": []} for uuid in SYSTEMS],
})
fakedriver.FakeDriver = ScriptDriver
main.fakedriver.FakeDriver = ScriptDriver
TOKENS = {}


@app.before_request
def judge():
    open(os.path.join(os.environ["STATE"], "requests"), "a").write(f"{flask.request.method} {flask.request.path}\n")
    if flask.request.path.rstrip("/") in ("/redfish", "/redfish/v1", "/redfish/v1/SessionService/Sessions"):
        return None
    # A test ends all sessions by this file.
    ended = os.path.join(os.environ["STATE"], "end-sessions")
    if os.path.exists(ended):
        os.remove(ended)
        TOKENS.clear()
    basic = flask.request.authorization
    if basic and (basic.username, basic.password) == ("admin", password):
        return None
    if flask.request.headers.get("X-Auth-Token") in TOKENS:
        return None
    return flask.jsonify({"error": {"message": "not logged in"}}), 401


@app.route("/redfish/v1/SessionService/Sessions", methods=["POST"])
def open_session():
    if os.environ.get("SESSIONS") == "no":
        return flask.jsonify({"error": {"message": "no sessions"}}), 404
    asked = flask.request.json
    if (asked.get("UserName"), asked.get("Password")) != ("admin", password):
        return flask.jsonify({"error": {"message": "wrong user or password"}}), 401
    token = secrets.token_hex(16)
    TOKENS[token] = True
    return flask.jsonify({"@odata.id": "/redfish/v1/SessionService/Sessions/1"}), 201, {"X-Auth-Token": token}


@app.after_request
def measured(response):
    """The chassis links to its power, as real ones do."""
    path = flask.request.path.rstrip("/")
    if path.startswith("/redfish/v1/Chassis/") and path.count("/") == 4 and response.status_code == 200:
        chassis = response.get_json(force=True)
        chassis["Power"] = {"@odata.id": path + "/Power"}
        response.set_data(flask.json.dumps(chassis))
    return response


@app.route("/redfish/v1/Chassis/<chassis>/Power")
def power(chassis):
    """The watts are what a test writes into a file."""
    try:
        watts = float(open(os.path.join(os.environ["STATE"], "watts")).read())
    except FileNotFoundError:
        return flask.jsonify({"PowerControl": [{}]})
    return flask.jsonify({"PowerControl": [{"PowerConsumedWatts": watts}]})


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
app.run(host="127.0.0.1", port=int(port), ssl_context=context, threaded=True)
