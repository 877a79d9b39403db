"""The real Infrastructure Manager (PyPI `IM`), its settings by arguments: im.py PORT FOLDER.
With tls.pem and tls.key in the folder it speaks TLS."""
import pathlib
import sys

from IM.config import Config

port, folder = sys.argv[1:]
Config.REST_PORT = int(port)
Config.REST_ADDRESS = "127.0.0.1"
Config.REST_ROOT_PATH = "/"
Config.DATA_DB = f"sqlite://{folder}/inf.dat"
Config.LOG_FILE = f"{folder}/im.log"
Config.LOG_LEVEL = "ERROR"
Config.REST_SSL = pathlib.Path(folder, "tls.pem").exists()
Config.REST_SSL_CERTFILE, Config.REST_SSL_KEYFILE = f"{folder}/tls.pem", f"{folder}/tls.key"
Config.REST_SSL_CA_CERTS = None
# What a cloud says is believed for so many seconds.
Config.VM_INFO_UPDATE_FREQUENCY = 1
# Between attempts to have a cloud make a machine.
Config.DELAY_BETWEEN_VM_RETRIES = 1
# How often configuring is looked at.
Config.CHECK_CTXT_PROCESS_INTERVAL = 1
Config.CONFMAMAGER_CHECK_STATE_INTERVAL = 1
Config.UPDATE_CTXT_LOG_INTERVAL = 1

from IM import im_service  # noqa: E402  (it reads the settings above)

sys.argv = ["im_service"]
im_service.main()
