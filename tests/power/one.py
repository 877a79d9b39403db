"""A FAKE OpenNebula: its XML-RPC as far as the Infrastructure Manager asks, with room for so many machines: one.py PORT ROOM."""
import sys
from xmlrpc.server import SimpleXMLRPCServer

port, room = map(int, sys.argv[1:])
machines = {}


def allocate(_session, _template):
    if len(machines) >= room:
        return [False, "user [2] : limit of %d reached for VMS quota in VM." % room, 0]
    number = max(machines, default=0) + 1
    machines[number] = "running"
    return [True, number, 0]


def info(_session, number):
    if number not in machines:
        return [False, "no such VM", 0]
    return [True, "<VM><ID>%d</ID><NAME>vm</NAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE><STIME>0</STIME>"
            "<TEMPLATE><CPU>4</CPU><MEMORY>4096</MEMORY></TEMPLATE></VM>" % number, 0]


def action(_session, _what, number):
    machines.pop(number, None)
    return [True, number, 0]


server = SimpleXMLRPCServer(("127.0.0.1", port), logRequests=False, allow_none=True)
server.register_introspection_functions()
server.register_function(lambda _session: [True, "4.10.0", 0], "one.system.version")
# No network is known there, and none is needed.
server.register_function(lambda *_: [False, "none", 0], "one.vnpool.info")
server.register_function(allocate, "one.vm.allocate")
server.register_function(info, "one.vm.info")
server.register_function(action, "one.vm.action")
server.serve_forever()
