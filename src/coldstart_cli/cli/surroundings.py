"""What surrounds a command: the codes that it ends with, the variables of the environment that it reads."""

from __future__ import annotations

import signal
from collections.abc import Mapping

EXIT_CODES: Mapping[int, str] = {
    0: "it did what was asked",
    1: "the job failed, a leak was found, or an enforced budget was broken",
    2: "a bad request, or what it needs is locked by another process",
    3: "some jobs of a sweep failed",
    128 + signal.SIGHUP: "its terminal was closed (HUP); the same command goes on",
    128 + signal.SIGINT: "stopped by Ctrl-C (INT); the same command goes on",
    128 + signal.SIGPIPE: "the reader of its output is gone (PIPE)",
    128 + signal.SIGTERM: "stopped by TERM; the same command goes on",
}

VARIABLES: Mapping[str, str] = {
    "COLDSTART_CACHE": "folder of downloads, rendered data and frozen features, in place of those below",
    "XDG_CACHE_HOME": "where it is set, the cache is its folder coldstart",
    "HOME": "else the cache is .cache/coldstart in it",
    "USERNAME": "names the cache in the folder of temporary files, where neither can be written and a system "
    "has no user numbers",
    "COLDSTART_TOKEN": "what requests to serve must carry; a list of processes shows token=, not this",
    "OMP_NUM_THREADS": "threads of a bundle's own program (export inside=true), not of training",
    "GOMP_SPINCOUNT": "rounds that idle threads spin; 1500 where it is not set",
    "CXX": "the C++ compiler of hardware.compile=true; g++ or clang++ where it is not set",
    "TORCHINDUCTOR_CACHE_DIR": "where compiled steps are kept, in place of compiled in the cache folder",
    "HF_HUB_OFFLINE": "1: no model is looked for on the hub",
    "HF_TOKEN": "read by huggingface_hub and trackio, for a hub account",
    "MLFLOW_TRACKING_URI": "read by logger=mlflow where logger.mlflow.tracking_uri is null",
    "WANDB_API_KEY": "read by logger=wandb with mode=online",
    "RANK": "set by torchrun, as the next three: which process of how many this is, in all and here",
    "WORLD_SIZE": "see RANK",
    "LOCAL_RANK": "see RANK",
    "LOCAL_WORLD_SIZE": "see RANK",
}
