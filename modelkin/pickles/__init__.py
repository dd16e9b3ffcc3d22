"""Legacy checkpoints of torch (`pytorch_model.bin`): where their tensors lie, told by torch in a process of its own.

A pickle is a program, so it is never run here. `torch_process.py` loads it by `torch.load(weights_only=True,
mmap=True)` under limits of memory and time and prints a table of contents; `crawler.torch_contents` holds that table
against the file. The weights themselves are then read by ranges like those of any other format, never by torch.
"""

from modelkin.pickles.reader import PickleReader

__all__ = ["PickleReader"]
