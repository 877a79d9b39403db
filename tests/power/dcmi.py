"""A BMC that measures (PyPI `pyghmi`, which speaks IPMI 2.0 as a BMC does), for what ipmi_sim lacks: DCMI's power reading.
dcmi.py PORT PASSWORD SCRIPT WATTS-FILE: its power is the script's (see tests/bmc.rs); no file, no DCMI."""
import pathlib
import struct
import subprocess
import sys

from pyghmi.ipmi.bmc import Bmc

port, password, script, watts = sys.argv[1:]


def power(*words):
    return subprocess.run([script, *words], capture_output=True, text=True).stdout


class Measuring(Bmc):
    def get_power_state(self):
        return "on" if "power:1" in power("get", "power") else "off"

    def power_on(self):
        power("set", "power", "1")

    def power_off(self):
        power("set", "power", "0")

    def power_shutdown(self):
        power("set", "shutdown", "1")

    def handle_raw_request(self, request, session):
        # DCMI 1.5: group extension 0xdc, Get Power Reading.
        if (request["netfn"], request["command"]) != (0x2C, 0x02):
            return super().handle_raw_request(request, session)
        if not pathlib.Path(watts).exists():
            return session.send_ipmi_response(code=0xC1)
        now = int(pathlib.Path(watts).read_text())
        reading = struct.pack("<BHHHHIIB", 0xDC, now, now, now, now, 1_700_000_000, 1000, 0x40)
        session.send_ipmi_response(data=list(reading))


bmc = Measuring({"admin": password}, port=int(port), address="::ffff:127.0.0.1")
bmc.listen()
