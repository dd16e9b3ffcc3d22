"""Tensor names and shapes of well-known kinds of model, small, written down as their libraries save them."""

from tests.support.headers import Shapes


def llama(layers=4, width=64, vocabulary=256, kv=32, wide=128) -> Shapes:
    shapes = {"model.embed_tokens.weight": (vocabulary, width), "model.norm.weight": (width,)}
    for i in range(layers):
        block = f"model.layers.{i}"
        shapes |= {
            f"{block}.self_attn.q_proj.weight": (width, width),
            f"{block}.self_attn.k_proj.weight": (kv, width),
            f"{block}.self_attn.v_proj.weight": (kv, width),
            f"{block}.self_attn.o_proj.weight": (width, width),
            f"{block}.self_attn.rotary_emb.inv_freq": (width // 2,),
            f"{block}.mlp.gate_proj.weight": (wide, width),
            f"{block}.mlp.up_proj.weight": (wide, width),
            f"{block}.mlp.down_proj.weight": (width, wide),
            f"{block}.input_layernorm.weight": (width,),
        }
    return shapes | {"lm_head.weight": (vocabulary, width)}


def gpt2(layers=3, width=64) -> Shapes:
    shapes = {"wte.weight": (512, width), "wpe.weight": (128, width), "ln_f.weight": (width,)}
    for i in range(layers):
        shapes |= {
            f"h.{i}.attn.bias": (1, 1, 128, 128),
            f"h.{i}.attn.c_attn.weight": (width, 3 * width),
            f"h.{i}.attn.c_proj.weight": (width, width),
            f"h.{i}.mlp.c_fc.weight": (width, 4 * width),
            f"h.{i}.mlp.c_proj.weight": (4 * width, width),
        }
    return shapes


def bert(prefix="", layers=3, width=64) -> Shapes:
    shapes = {
        f"{prefix}embeddings.word_embeddings.weight": (1000, width),
        f"{prefix}embeddings.position_embeddings.weight": (128, width),
        f"{prefix}embeddings.token_type_embeddings.weight": (2, width),
        f"{prefix}pooler.dense.weight": (width, width),
    }
    return shapes | encoder_layers(f"{prefix}encoder.layer", layers, width)


def encoder_layers(prefix, layers, width) -> Shapes:
    shapes = {}
    for i in range(layers):
        block = f"{prefix}.{i}"
        shapes |= {f"{block}.attention.attention.{kind}.weight": (width, width) for kind in ("query", "key", "value")}
        shapes |= {
            f"{block}.attention.output.dense.weight": (width, width),
            f"{block}.intermediate.dense.weight": (4 * width, width),
            f"{block}.output.dense.weight": (width, 4 * width),
            f"{block}.layernorm_before.weight": (width,),
        }
    return shapes


def vit(prefix="vit.", labels=10, layers=6, width=64) -> Shapes:
    return {
        f"{prefix}embeddings.cls_token": (1, 1, width),
        f"{prefix}embeddings.position_embeddings": (1, 197, width),
        f"{prefix}embeddings.patch_embeddings.projection.weight": (width, 3, 16, 16),
        **encoder_layers(f"{prefix}encoder.layer", layers, width),
        "classifier.weight": (labels, width),
        "classifier.bias": (labels,),
    }


def mae(layers=6, width=64, decoder_layers=4, decoder_width=32) -> Shapes:
    shapes = {name: shape for name, shape in vit(layers=layers, width=width).items() if "classifier" not in name}
    return {
        **shapes,
        "decoder.decoder_pos_embed": (1, 197, decoder_width),
        "decoder.decoder_embed.weight": (decoder_width, width),
        **encoder_layers("decoder.decoder_layers", decoder_layers, decoder_width),
        "decoder.decoder_pred.weight": (768, decoder_width),
    }


def t5(layers=3, width=64) -> Shapes:
    shapes = {"shared.weight": (2048, width), "lm_head.weight": (2048, width)}
    shapes["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"] = (32, 16)
    for i in range(layers):
        for side, parts in (("encoder", ("SelfAttention",)), ("decoder", ("SelfAttention", "EncDecAttention"))):
            for n, part in enumerate(parts):
                for kind in "qkvo":
                    shapes[f"{side}.block.{i}.layer.{n}.{part}.{kind}.weight"] = (width, width)
            last = len(parts)
            shapes[f"{side}.block.{i}.layer.{last}.DenseReluDense.wi.weight"] = (2 * width, width)
            shapes[f"{side}.block.{i}.layer.{last}.DenseReluDense.wo.weight"] = (width, 2 * width)
    return shapes


def resnet(prefix="", labels=1000) -> Shapes:
    shapes = {f"{prefix}conv1.weight": (16, 3, 7, 7)}
    width = 16
    for stage in range(1, 5):
        out = 16 * 2 ** (stage - 1)
        for block in range(2):
            shapes[f"{prefix}layer{stage}.{block}.conv1.weight"] = (out, width if block == 0 else out, 3, 3)
            shapes[f"{prefix}layer{stage}.{block}.conv2.weight"] = (out, out, 3, 3)
            shapes[f"{prefix}layer{stage}.{block}.bn1.weight"] = (out,)
        if out != width:
            shapes[f"{prefix}layer{stage}.0.downsample.0.weight"] = (out, width, 1, 1)
        width = out
    return shapes | {"fc.weight" if not prefix else "classifier.1.weight": (labels, width)}


def unet() -> Shapes:
    shapes = {
        "conv_in.weight": (32, 4, 3, 3),
        "time_embedding.linear_1.weight": (128, 32),
        "conv_out.weight": (4, 32, 3, 3),
    }
    for stage, width in enumerate((32, 64, 128)):
        for side in ("down_blocks", "up_blocks"):
            for n in range(2):
                block = f"{side}.{stage}"
                shapes[f"{block}.resnets.{n}.conv1.weight"] = (width, width, 3, 3)
                attention = f"{block}.attentions.{n}.transformer_blocks.0"
                shapes[f"{attention}.attn1.to_q.weight"] = (width, width)
                shapes[f"{attention}.attn2.to_k.weight"] = (width, 96)
                shapes[f"{attention}.ff.net.0.proj.weight"] = (8 * width, width)
    return shapes


def lstm() -> Shapes:
    shapes = {"encoder.weight": (500, 32), "decoder.weight": (500, 32)}
    for layer in range(2):
        shapes |= {f"rnn.weight_ih_l{layer}": (128, 32), f"rnn.weight_hh_l{layer}": (128, 32)}
    return shapes


def mixture_of_experts(layers=3, experts=4, width=32) -> Shapes:
    shapes = {"model.embed_tokens.weight": (512, width), "lm_head.weight": (512, width)}
    shapes |= {f"model.layers.0.self_attn.{kind}_proj.weight": (width, width) for kind in "qkvo"}
    shapes["model.layers.0.mlp.up_proj.weight"] = (4 * width, width)  # the first block is dense
    for i in range(1, layers + 1):
        shapes |= {f"model.layers.{i}.self_attn.{kind}_proj.weight": (width, width) for kind in "qkvo"}
        shapes[f"model.layers.{i}.mlp.gate.weight"] = (experts, width)
        for expert in range(experts):
            for kind in ("gate", "up", "down"):
                shapes[f"model.layers.{i}.mlp.experts.{expert}.{kind}_proj.weight"] = (width, width)
    return shapes


def hybrid(layers=8, width=32) -> Shapes:
    """Attention in every fourth block, state-space layers in the others."""
    shapes = {"model.embed_tokens.weight": (512, width)}
    for i in range(layers):
        kinds = ("self_attn.q_proj", "self_attn.v_proj") if i % 4 == 3 else ("mamba.in_proj", "mamba.out_proj")
        shapes |= {f"model.layers.{i}.{kind}.weight": (width, width) for kind in (*kinds, "feed_forward.up_proj")}
    return shapes


def lora(rank=8, layers=3, width=64) -> Shapes:
    shapes = {}
    for i in range(layers):
        for kind in ("q_proj", "v_proj"):
            module = f"base_model.model.model.layers.{i}.self_attn.{kind}"
            shapes |= {f"{module}.lora_A.weight": (rank, width), f"{module}.lora_B.weight": (width, rank)}
    return shapes


ALL = {
    "llama": llama(), "gpt2": gpt2(), "bert": bert(), "vit": vit(), "mae": mae(), "t5": t5(), "resnet": resnet(),
    "unet": unet(), "lstm": lstm(), "mixture of experts": mixture_of_experts(), "hybrid": hybrid(),
}  # fmt: skip
