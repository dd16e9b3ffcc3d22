"""Which models meet, on the tensor names that the usual libraries write."""

import pytest

from crawler.architecture import describe
from crawler.fixed_tables import is_fixed_table
from storage.errors import ModelUnreadable
from tests.support import architectures
from tests.support.headers import specs_of


def described(shapes, *, adapter=False, dtype="F32"):
    return describe(specs_of(shapes, dtype=dtype), adapter=adapter)


def key(shapes):
    return described(shapes).key


def inside(shapes):
    return {tensor.name for tensor in described(shapes).tensors if tensor.in_key}


def outside(shapes):
    return {tensor.name for tensor in described(shapes).tensors if not tensor.in_key}


def without(shapes, part):
    return {name: shape for name, shape in shapes.items() if part not in name}


def test_a_decoder_is_its_stack_of_blocks():
    shapes = architectures.llama()
    assert outside(shapes) == {"~embed_tokens.weight", "~lm_head.weight"}
    assert "3.mlp.down_proj.weight" in inside(shapes)
    assert len(inside(shapes)) == 4 * 7


def test_gpt2s_masks_and_positions_do_not_count():
    assert outside(architectures.gpt2()) == {"~wte.weight"}
    assert len(inside(architectures.gpt2())) == 3 * 4


@pytest.mark.parametrize("vocabulary", [300, 1000, 20_000])
def test_a_resized_vocabulary_keeps_the_key(vocabulary):
    assert key(architectures.llama(vocabulary=vocabulary)) == key(architectures.llama())


@pytest.mark.parametrize("change", [{"layers": 5}, {"width": 96}, {"kv": 16}, {"wide": 160}])
def test_other_depths_and_widths_are_other_architectures(change):
    assert key(architectures.llama(**change)) != key(architectures.llama())


def test_a_wrapped_bert_meets_the_bare_one_everywhere():
    bare, wrapped = described(architectures.bert()), described(architectures.bert("bert."))
    assert bare.key == wrapped.key
    assert [(t.name, t.in_key) for t in bare.tensors] == [(t.name, t.in_key) for t in wrapped.tensors]
    assert {"~embeddings.word_embeddings.weight", "~pooler.dense.weight"} == outside(architectures.bert("bert."))


def test_an_encoder_fine_tuned_out_of_an_autoencoder_meets_its_parent():
    assert key(architectures.vit(prefix="")) == key(architectures.mae()) == key(architectures.vit(labels=1000))
    beside = {name for name in outside(architectures.mae()) if name.startswith("~decoder.decoder_layers.0.")}
    assert len(beside) == 6


def test_encoder_and_decoder_of_one_model_stay_apart():
    shapes = architectures.t5()
    assert any("EncDecAttention" in name for name in inside(shapes))
    assert all(name.startswith("~encoder.block.") for name in outside(shapes) if "Attention" in name)
    encoder_only = {name: shape for name, shape in shapes.items() if not name.startswith("decoder.")}
    assert key(encoder_only) != key(shapes)


def test_a_convolutional_net_is_all_its_tensors_but_the_head():
    shapes = architectures.resnet()
    assert outside(shapes) == {"~fc.weight"}
    assert {"layer1.0.conv2.weight", "layer4.0.downsample.0.weight"} <= inside(shapes)


@pytest.mark.parametrize("labels", [2, 37, 1000])
def test_a_replaced_head_keeps_the_key_of_a_convolutional_net(labels):
    plain = architectures.resnet()
    assert key(architectures.resnet(labels=labels)) == key(plain)
    assert key(architectures.resnet(prefix="resnet.", labels=labels)) == key(plain)


def test_a_net_of_heads_alone_is_still_recognised():
    shapes = {"fc.0.weight": (64, 32), "fc.2.weight": (48, 64)}
    assert inside(shapes) == {"0.weight", "2.weight"}


def test_a_unet_is_all_its_tensors():
    shapes = architectures.unet()
    assert "down_blocks.2.attentions.1.transformer_blocks.0.attn2.to_k.weight" in inside(shapes)
    assert not outside(shapes)


def test_a_recurrent_net_without_blocks_is_all_its_tensors():
    assert inside(architectures.lstm()) == set(architectures.lstm())


def test_the_blocks_of_a_mixture_are_its_layers_not_its_experts():
    shapes = architectures.mixture_of_experts()
    assert "2.mlp.experts.3.down_proj.weight" in inside(shapes)
    assert {"~0.mlp.up_proj.weight", "~embed_tokens.weight"} <= outside(shapes)


def test_blocks_of_several_makes_are_one_stack():
    names = inside(architectures.hybrid())
    assert {"0.mamba.in_proj.weight", "3.self_attn.q_proj.weight", "7.self_attn.v_proj.weight"} <= names


def test_adapters_form_architectures_of_their_own():
    shapes = architectures.lora(rank=64)
    assert described(shapes, adapter=True).key != described(shapes).key
    assert len(described(architectures.lora(rank=2), adapter=True).tensors) == 12
    with pytest.raises(ModelUnreadable):
        described(architectures.lora(rank=2))


def test_dtype_and_sharding_are_no_part_of_the_key():
    shapes = architectures.bert()
    specs = specs_of(shapes, dtype="BF16")
    scattered = [
        *specs_of(dict(list(shapes.items())[1::2]), file="2"),
        *specs_of(dict(list(shapes.items())[::2]), file="1"),
    ]
    assert describe(specs).key == describe(scattered).key == key(shapes)
    assert (describe(specs).dtype, describe(scattered).dtype) == ("BF16", "F32")


def test_parameters_count_every_tensor():
    assert described({"a.weight": (32, 32), "b": (7,), "c": (), "mask": (1, 5)}).parameters == 1024 + 7 + 1 + 5


@pytest.mark.parametrize("dtype", ["I8", "U8", "BOOL", "F8_E8M0", "F6_E2M3", "C64"])
def test_what_cannot_be_compared_is_no_architecture(dtype):
    with pytest.raises(ModelUnreadable) as caught:
        described({"0.weight": (64, 64), "1.weight": (64, 64)}, dtype=dtype)
    assert caught.value.reason == "no_comparable_tensors"


def test_two_tensors_of_one_name_are_refused():
    with pytest.raises(ModelUnreadable) as caught:
        describe([*specs_of({"a": (32, 32)}, file="1"), *specs_of({"a": (32, 32)}, file="2")])
    assert caught.value.reason == "duplicate_tensor"


def test_names_outside_the_key_that_would_meet_keep_their_prefixes():
    shapes = {**architectures.bert("bert."), "pooler.dense.weight": (32, 32)}
    assert {"~~bert.pooler.dense.weight", "~~pooler.dense.weight"} <= outside(shapes)


def test_names_made_to_meet_are_refused():
    shapes = {**architectures.bert("bert."), "pooler.dense.weight": (32, 32), "~bert.pooler.dense.weight": (32, 32)}
    with pytest.raises(ModelUnreadable) as caught:
        described(shapes)
    assert caught.value.reason == "ambiguous_names"


def test_absurd_names_cost_nothing():
    absurd = {"0." * 200 + str(i): (16, 16) for i in range(300)} | {"x" * 600: (16, 16)}
    assert inside({**absurd, "0." * 31 + "w": (16, 16)}) == {"w"}


FIXED = [
    "model.layers.0.self_attn.rotary_emb.inv_freq", "rotary_emb.cos_cached", "h.0.attn.masked_bias", "wpe.weight",
    "embeddings.position_ids", "vit.embeddings.position_embeddings", "layers.0.blocks.1.attn.relative_position_index",
    "layers.0.blocks.1.attn_mask", "model.encoder.embed_positions.weight", "pos_embed", "decoder.decoder_pos_embed",
    "spectrogram_extractor.stft.conv_real.weight", "logmel_extractor.melW",
    "text_model.embeddings.position_embedding.weight", "transformer.Rotary_Emb.freqs", "positional_embedding",
]  # fmt: skip
LEARNED = [
    "model.layers.0.self_attn.q_proj.weight", "embeddings.word_embeddings.weight", "encoder.pos_conv_embed.conv.weight",
    "embeddings.token_type_embeddings.weight", "melody.weight", "windowed.proj.weight", "composer.weight",
    "stem.weight", "patch_embed.proj.weight", "mel_linear.weight",
]  # fmt: skip


@pytest.mark.parametrize("name", FIXED)
def test_tables_are_told_by_their_names(name):
    assert is_fixed_table(name)


@pytest.mark.parametrize("name", LEARNED)
def test_learned_layers_are_no_tables(name):
    assert not is_fixed_table(name)
