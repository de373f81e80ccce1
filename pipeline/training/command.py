"""What the commands that train have in common: their device, and how they end."""

import os
import sys
from collections.abc import Callable

import torch
import torch.distributed

from pipeline.errors import UserError

GO_ON = "start the same command again to go on"


def own_device() -> torch.device:
    """This process's own GPU, or the CPU; joins the other processes when there are any (torchrun)."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if "WORLD_SIZE" in os.environ:
        torch.distributed.init_process_group("nccl" if cuda else "gloo")
    return device


def run(command: Callable[[], object]) -> None:
    """Run a command: a UserError becomes one line and exit status 1, Ctrl-C one line and 130.

    The line of an interrupt is the KeyboardInterrupt's own, where it has one.
    """
    try:
        command()
    except UserError as error:
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt as stop:
        print(str(stop) or f"Stopped; {GO_ON}.", file=sys.stderr)
        raise SystemExit(130) from None
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
