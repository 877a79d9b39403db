"""The old parsers, asked over JSON lines: one request a line on stdin, one answer a line on stdout.

{"op": "im" | "ec3", "text": T}          what the parser makes of a text, as its own JSON
{"op": "im-json", "text": T}             the same of a document in JSON
{"op": "accepts" | "check", "text": T}   whether IM's parser, or its check() too, lets the document pass
{"op": "time", "text": T}                seconds of IM's parser and of its check()
{"op": "shipped", "folder": F, ..}       like merge, of the templates in a folder
{"op": "merge", "templates": {NAME: TEXT}, "files": {NAME: TEXT}, "names": [..], "adds": [..]}
                                         what `ec3 launch --dry-run -p` would print
{"op": "launch", ...the same}            what it does print, run as a program with credentials
"""
import contextlib, importlib.machinery, importlib.util, io, json, os, subprocess, sys, tempfile, time

answers = sys.stdout
sys.stdout = io.StringIO()

import yaml
from radl import radl_json as im_json, radl_parse as im_parse
from radl.radl import RADL as ImRadl

program = os.path.join(os.path.dirname(sys.executable), "ec3")
loader = importlib.machinery.SourceFileLoader("ec3cli", program)
ec3 = importlib.util.module_from_spec(importlib.util.spec_from_loader("ec3cli", loader))
loader.exec_module(ec3)
from IM2.radl import radl_json as ec3_json, radl_parse as ec3_parse

said = []
ec3.CLI.display = staticmethod(lambda *a, **_: said.append(str(a[0])))

# One parser for all texts: making its tables takes longer than reading a text.
def kept(module, *args, **kwargs):
    parser = module.RADLParser(*args, **kwargs)
    def fresh(*_, **__):
        parser.lexer.lexstatestack = []
        return parser
    fresh.reserved = parser.reserved
    module.RADLParser = fresh

kept(im_parse, lextab="radl")
kept(ec3_parse)

def of_im(text):
    radl = im_parse.parse_radl(text)
    data = json.loads(im_json.dump_radl(radl, enter="", indent=""))
    return radl, data

def plays(data):
    for part in data:
        if isinstance(part.get("recipes"), str):
            part["recipes"] = yaml.safe_load(part["recipes"])
    return data

def write(folder, request):
    os.makedirs(folder, exist_ok=True)
    for name, text in {**{n + ".radl": t for n, t in request["templates"].items()}, **request["files"]}.items():
        with open(os.path.join(folder, name), "w") as out:
            out.write(text)

def answer(request):
    op = request["op"]
    if op == "im":
        radl, data = of_im(request["text"])
        return {"json": data}
    if op == "plays":
        return {"json": plays(of_im(request["text"])[1])}
    if op == "ec3":
        return {"json": json.loads(ec3_json.dump_radl(ec3_parse.parse_radl(request["text"]), enter="", indent=""))}
    if op == "im-json":
        radl = im_json.parse_radl(request["text"])
        return {"json": json.loads(im_json.dump_radl(radl, enter="", indent=""))}
    if op == "accepts":
        of_im(request["text"])
        return {}
    if op == "check":
        of_im(request["text"])[0].check()
        return {}
    if op == "time":
        start = time.time()
        radl = im_parse.parse_radl(request["text"])
        parsed = time.time()
        radl.check()
        return {"parse": parsed - start, "check": time.time() - parsed}
    if op == "shipped":
        ec3.TEMPLATE_PATHS = [request["folder"]]
        radl = ec3.CmdLaunch.generate_radl(request["names"], request["adds"], "")
        return {"text": ec3.dump_radl(radl)}
    if op == "launch":
        with tempfile.TemporaryDirectory() as folder:
            write(os.path.join(folder, "templates"), request)
            with open(os.path.join(folder, "auth"), "w") as out:
                out.write("type = InfrastructureManager; username = u; password = geheim-4711\n")
            command = [sys.executable, program, "launch", "c", *request["names"]]
            command += ["-n", "--dry-run", "-p", "-a", os.path.join(folder, "auth")]
            for piece in request["adds"]:
                command += ["--add", piece]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
            if done.returncode:
                raise ValueError(done.stdout + done.stderr)
            return {"text": done.stdout}
    if op == "merge":
        with tempfile.TemporaryDirectory() as folder:
            write(folder, request)
            ec3.TEMPLATE_PATHS = [folder]
            radl = ec3.CmdLaunch.generate_radl(request["names"], request["adds"], "")
            return {"text": ec3.dump_radl(radl)}
    raise ValueError(op)

for line in sys.stdin:
    said.clear()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            reply = {"ok": True, **answer(json.loads(line))}
        text = json.dumps(reply, default=str)
    except (Exception, SystemExit) as error:
        text = json.dumps({"ok": False, "error": "%s: %s %s" % (type(error).__name__, error, " ".join(said))})
    answers.write(text + "\n")
    answers.flush()
    sys.stdout.truncate(0)
    sys.stdout.seek(0)
