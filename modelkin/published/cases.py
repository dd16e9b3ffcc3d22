"""The cases as data: repositories by name, and the trees that their makers, or the MoTHer paper's readers, tell of.

Horwitz, Shul, Hoshen, "On the Origin of Llamas: Model Tree Heritage Recovery" (arXiv 2405.18432) recovers trees of
Llama 2 and Stable Diffusion, and its own graph of Vision Transformers, VTHR. Where two histories are told, both stand
here as readings, each with its source; an answer is held against each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from storage.errors import UsageError

Parents = Mapping[str, str | None]
"""The parent of every model by name, None of a root."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One account of a tree, and who gives it."""

    source: str
    parents: Parents


@dataclass(frozen=True, slots=True)
class PublishedCase:
    """What is asked of the Hub, and what is known of it. Either names or an owner is given."""

    name: str
    title: str
    repositories: tuple[str, ...] = ()
    owner: str = ""
    readings: tuple[Reading, ...] = ()  # none: the truth is what the models' cards declare
    mirrors: Mapping[str, str] = field(default_factory=dict)  # another copy -> the name it is known by
    paper: str = ""  # what the paper states of its own method, where that is certain

    @property
    def asked(self) -> tuple[str, ...]:
        """All repositories to ask for by name, mirrors included."""
        return (*self.repositories, *self.mirrors)


_LLAMA, _CHAT = "meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-7b-chat-hf"
_CODE, _INSTRUCT = "codellama/CodeLlama-7b-hf", "codellama/CodeLlama-7b-Instruct-hf"
_PYTHON = "codellama/CodeLlama-7b-Python-hf"
_LLAMA_TREE: Parents = {_LLAMA: None, _CHAT: _LLAMA, _CODE: _LLAMA, _INSTRUCT: _CODE}

_SD1, _SD2, _SD3, _SD4 = (f"CompVis/stable-diffusion-v1-{number}" for number in (1, 2, 3, 4))
_SD5 = "runwayml/stable-diffusion-v1-5"
_SD_TREE: Parents = {_SD1: None, _SD2: _SD1, _SD3: _SD2, _SD4: _SD2}

CASES: tuple[PublishedCase, ...] = (
    PublishedCase(
        name="llama2",
        title="Llama 2 7B, its chat model, and Code Llama",
        repositories=(_LLAMA, _CHAT, _CODE, _INSTRUCT, _PYTHON),
        readings=(
            Reading("the makers of Code Llama: Python continues Code Llama", {**_LLAMA_TREE, _PYTHON: _CODE}),
            Reading("Python straight from Llama 2", {**_LLAMA_TREE, _PYTHON: _LLAMA}),
        ),
    ),
    PublishedCase(
        name="stable-diffusion",
        title="Stable Diffusion 1.1 to 1.5, their UNets",
        repositories=(_SD1, _SD2, _SD3, _SD4, _SD5),
        readings=(
            Reading("the cards: 1.3, 1.4 and 1.5 were resumed from 1.2", {**_SD_TREE, _SD5: _SD2}),
            Reading("by number: 1.5 after 1.4", {**_SD_TREE, _SD5: _SD4}),
        ),
        mirrors={"stable-diffusion-v1-5/stable-diffusion-v1-5": _SD5},
    ),
    PublishedCase(
        name="vthr",
        title="the Vision Transformers of the paper's authors, organisation MoTHer-VTHR",
        owner="MoTHer-VTHR",
        paper="edges right in the whole graph: 0.89 (FT), 0.96 (LoRA-F), 1.00 (LoRA-V)",
    ),
)


def case_named(name: str) -> PublishedCase:
    """The case of this name. Raises `UsageError` naming those there are."""
    for case in CASES:
        if case.name == name:
            return case
    raise UsageError(f"there is no case {name!r}; there are {', '.join(case.name for case in CASES)}")
