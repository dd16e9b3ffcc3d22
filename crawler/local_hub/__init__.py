"""The local Hub: a folder of models, served on loopback as the Hugging Face Hub would serve it."""

from crawler.local_hub.options import Fault, HubOptions, LoggedRequest
from crawler.local_hub.server import LocalHub

__all__ = ["Fault", "HubOptions", "LocalHub", "LoggedRequest"]
