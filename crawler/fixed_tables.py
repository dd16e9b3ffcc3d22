"""Tensors that are computed, not learned, and so say nothing about who was trained from whom."""

import re

_ANYWHERE = (
    "inv_freq", "freqs_cis", "rotary", "sinusoid", "sin_cached", "cos_cached", "position_ids", "relative_position",
    "attn_mask", "attention_mask", "causal_mask", "masked_bias", "stft",
)  # fmt: skip
"""Anywhere in a name."""

_COMPONENTS = (
    r"mel(w|_(basis|filters?|fb|scale|weights?))?", r"fbank", r"fb", r"filter_?bank", r"(hann_)?window", r"dct(_mat)?",
    r"wpe", r"embed_positions?", r"(\w+_)?pos(ition(al)?)?_?(emb|embed|embedding|encoding|enc|table)s?",
)  # fmt: skip
"""A whole component of a name."""

_FIXED_TABLE = re.compile(rf"{'|'.join(_ANYWHERE)}|(^|\.)({'|'.join(_COMPONENTS)})(\.|$)", re.ASCII | re.IGNORECASE)


def is_fixed_table(name: str) -> bool:
    """Whether a tensor's name tells a table of positions, rotations, masks, windows or spectral bases.

    Two strangers share such tables bit by bit, which would make them relatives. Learned position embeddings are among
    them: names do not tell them apart, they are few weights, and leaving them out costs nothing.
    """
    return _FIXED_TABLE.search(name) is not None
